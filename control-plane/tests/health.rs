//! Health of servers with agents, as their streams come and go.

mod support;

use muster::{
    api::rest::stats::stats,
    events::{EventKind, Subscription},
    servers::{HealthStatus, Server},
};
use muster_shared::id::ServerId;
use support::{PATIENCE, Plane};
use tokio::time::timeout;

async fn server(plane: &Plane, id: ServerId) -> Server {
    plane.app.servers.get(plane.org, id).await.expect("read")
}

/// Waits until the record of `id` says `status`.
async fn becomes(plane: &Plane, events: &mut Subscription, id: ServerId, status: HealthStatus) -> Server {
    let waiting = async {
        loop {
            let server = server(plane, id).await;
            if server.health_record.as_ref().is_some_and(|record| record.status == status) {
                return server;
            }
            loop {
                match events.next().await.expect("open") {
                    Ok(event) if event.server_id == Some(id) && matches!(event.kind, EventKind::HealthChanged) => break,
                    Ok(_) => {}
                    Err(_missed) => break,
                }
            }
        }
    };
    timeout(PATIENCE, waiting).await.expect("in time")
}

#[tokio::test]
async fn a_stream_decides_at_once_and_the_beginning_survives_a_restart() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let id = agent.server();
    let mut events = plane.app.events.subscribe();
    let link = agent.connect().await.expect("a stream");
    let healthy = becomes(&plane, &mut events, id, HealthStatus::Healthy).await;
    let record = healthy.health_record.as_ref().expect("checked");
    assert!(record.certificate.is_some_and(|one| one.not_after_us > plane.app.clock.now_us()));
    let since_us = record.since_us;
    drop(link);
    let gone = becomes(&plane, &mut events, id, HealthStatus::Unreachable).await;
    let gone = gone.health(plane.app.clock.now_us());
    assert!(gone.reason.contains("stream is down") && gone.since_us >= since_us, "{gone:?}");
    let link = agent.connect().await.expect("a stream");
    let back = becomes(&plane, &mut events, id, HealthStatus::Healthy).await;
    let since_us = back.health_record.expect("checked").since_us;
    assert!(since_us >= gone.since_us);

    let (org, folder) = plane.into_folder().await;
    drop(link);
    let plane = Plane::start_in(folder, |_| {}).await;
    assert_eq!(plane.org, org);
    agent.address = plane.address;
    let checked_before = server(&plane, id).await.health_record.expect("kept").checked_at_us;
    let _link = agent.connect().await.expect("a stream");
    let checked = async {
        loop {
            let record = server(&plane, id).await.health_record.expect("kept");
            if record.checked_at_us > checked_before {
                return record;
            }
            tokio::task::yield_now().await;
        }
    };
    let record = timeout(PATIENCE, checked).await.expect("checked in time");
    assert_eq!((record.status, record.since_us), (HealthStatus::Healthy, since_us));
    plane.stopped().await;
}

#[tokio::test]
async fn a_silent_hosts_figures_are_not_made_up() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let _link = agent.connect().await.expect("a stream");
    let token = std::fs::read_to_string(plane.folder.path().join("owner.token")).expect("the owner's token");
    let owner = plane.app.access.authenticate(token.trim(), plane.app.clock.now_us()).await.expect("the owner");
    let stats = stats(&plane.app, &owner, &agent.server().to_string()).await.expect("stats");
    assert_eq!((stats.cpu_usage_percent, stats.disk_usage_percent, stats.sampled_at), (None, None, None));
    assert_eq!((stats.size, stats.max_environments), (None, None));
    assert_eq!(stats.forecast.expect("the owner's").status, "history_too_short");
    plane.stopped().await;
}
