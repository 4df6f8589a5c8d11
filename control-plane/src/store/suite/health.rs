//! Health: turns, what is kept of checks, and attempts over SSH.

use super::*;
use crate::{
    agent_binary::AgentBinaries,
    clock::Clock,
    connection_test::ConnectionTest,
    events::EventKind,
    health::{Certificate, Checks, EVERY_US, Evidence, Probe, Probed, SampleSeen, Seen, Signal, check, due},
    metrics::Heads,
    servers::{AgentStatus, ConnectionOutcome, HealthStatus},
    ssh::{Connector, Entrance},
    store::{CheckedServer, test_database::on_each},
};

const HOUR_US: i64 = 60 * MINUTE_US;

fn checks(fleet: &Fleet, clock: &Clock) -> Checks {
    let connector = Connector::default();
    let binaries = AgentBinaries::new(std::path::Path::new("/nonexistent"));
    Checks::new(
        (fleet.store.clone(), fleet.servers.clone(), fleet.events.clone()),
        Heads::new(fleet.store.clone()),
        Entrance::new(connector.clone(), fleet.servers.clone(), clock.clone()),
        ConnectionTest::new(connector, binaries, fleet.servers.clone(), clock.clone()),
        clock.clone(),
    )
}

async fn read(fleet: &Fleet, id: ServerId) -> Server {
    fleet.servers.get(fleet.org, id).await.expect("read")
}

fn checked(fleet: &Fleet, server: &Server, seen: Seen, now_us: i64) -> CheckedServer {
    CheckedServer { org: fleet.org, id: server.id, now_us, check: check(server, seen, now_us) }
}

#[tokio::test]
async fn every_server_has_its_turn_once_in_two_minutes() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let clock = Clock::standing_at(NOW_US);
        let checks = checks(&fleet, &clock);
        let ids = [fleet.create("web").await.id, fleet.create("db").await.id];
        let all: Vec<_> = ids.into_iter().map(|id| (fleet.org, id)).collect();
        let mut unchecked = fleet.store.unchecked_servers(10).await.expect("read");
        unchecked.sort();
        assert_eq!(unchecked, all);
        assert!(fleet.store.servers_to_check(NOW_US, None, 10).await.expect("read").is_empty());
        assert!(checks.check(&all).await.expect("checked").is_empty(), "no key is known: no probe");
        assert!(fleet.store.unchecked_servers(10).await.expect("read").is_empty());
        assert!(fleet.store.servers_to_check(NOW_US, None, 10).await.expect("read").is_empty(), "not so soon");
        assert_eq!(fleet.store.servers_to_check(NOW_US + EVERY_US, None, 10).await.expect("read").len(), 2);
        assert_eq!(fleet.store.servers_to_check(NOW_US + EVERY_US, None, 1).await.expect("read").len(), 1);
        let server = read(&fleet, ids[0]).await;
        let health = server.health(NOW_US + 1);
        assert_eq!((health.status, health.since_us), (HealthStatus::Unknown, server.created_at_us));
        assert!(health.next_check_at_us > NOW_US && health.next_check_at_us <= NOW_US + EVERY_US);
    })
    .await;
}

#[tokio::test]
async fn a_change_is_kept_and_told_and_its_beginning_stays() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let clock = Clock::standing_at(NOW_US);
        let checks = checks(&fleet, &clock);
        let id = fleet.create("web").await.id;
        let check = async || checks.check(&[(fleet.org, id)]).await.expect("checked");
        check().await;
        let mut events = fleet.events.subscribe();
        clock.advance(MINUTE_US);
        let broken_us = clock.now_us();
        let record = async |outcome, at_us| {
            let recorded = fleet.servers.record_connection(fleet.org, id, outcome, "in words", at_us);
            recorded.await.expect("recorded");
        };
        record(ConnectionOutcome::AuthFailed, broken_us).await;
        clock.advance(MINUTE_US);
        check().await;
        let kind = async |events: &mut crate::events::Subscription| {
            events.next().await.expect("open").expect("none missed").kind.word()
        };
        assert_eq!(kind(&mut events).await, EventKind::ServerChanged.word());
        assert_eq!(kind(&mut events).await, EventKind::HealthChanged.word());
        let first = read(&fleet, id).await.health_record.expect("checked");
        assert_eq!((first.status, first.since_us), (HealthStatus::AuthFailed, broken_us));
        assert!(first.reason.contains("credentials"), "{}", first.reason);
        let kept: String = sqlx::query_scalar("SELECT evidence FROM server_health WHERE server_id = $1")
            .bind(id.to_string())
            .fetch_one(fleet.store.read())
            .await
            .expect("kept");
        let kept: Vec<Evidence> = serde_json::from_str(&kept).expect("JSON");
        assert_eq!(kept[0].signal, Signal::Ssh);
        assert_eq!((kept[0].word.as_deref(), kept[0].at_us), (Some("auth_failed"), Some(broken_us)));
        clock.advance(EVERY_US);
        record(ConnectionOutcome::AuthFailed, clock.now_us()).await;
        check().await;
        fleet.events.publish(fleet.org, id, EventKind::AgentOffline);
        assert_eq!(kind(&mut events).await, EventKind::AgentOffline.word(), "the same again is no news");
        let again = read(&fleet, id).await.health_record.expect("checked");
        assert_eq!((again.since_us, again.checked_at_us), (broken_us, clock.now_us()));
        assert_eq!(read(&fleet, id).await.health(clock.now_us() + 1).since_us, broken_us);
    })
    .await;
}

#[tokio::test]
async fn what_a_check_did_not_see_stays_and_an_older_check_changes_nothing() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let server = fleet.create("web").await;
        let seen = Seen {
            sample: Some(SampleSeen {
                arrived_at_us: NOW_US,
                looked_at_us: NOW_US + 1,
                disk_usage_percent: Some(42.125),
            }),
            certificate: Some(Certificate { not_before_us: NOW_US - HOUR_US, not_after_us: NOW_US + HOUR_US }),
        };
        let store = &fleet.store;
        store.record_checks(&[checked(&fleet, &server, seen, NOW_US + 2)]).await.expect("stored");
        store.record_checks(&[checked(&fleet, &server, Seen::default(), NOW_US + 3)]).await.expect("stored");
        store.record_checks(&[checked(&fleet, &server, Seen::default(), NOW_US)]).await.expect("stored");
        let record = read(&fleet, server.id).await.health_record.expect("checked");
        assert_eq!((record.sample, record.checked_at_us), (seen.sample, NOW_US + 3));
        assert_eq!(record.certificate, seen.certificate);
        assert_eq!(record.disk_use_hour, Some(NOW_US / HOUR_US));
    })
    .await;
}

#[tokio::test]
async fn disk_use_has_one_point_an_hour() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        let theirs = Fleet::new(fleet.store.clone()).await;
        for (minutes, percent) in [(0, 40.0), (20, 50.0), (61, 60.5), (300, 70.0)] {
            let now_us = NOW_US + minutes * MINUTE_US;
            let sample = SampleSeen { arrived_at_us: now_us, looked_at_us: now_us, disk_usage_percent: Some(percent) };
            let seen = Seen { sample: Some(sample), certificate: None };
            let server = read(&fleet, id).await;
            fleet.store.record_checks(&[checked(&fleet, &server, seen, now_us)]).await.expect("stored");
        }
        let hour = NOW_US / HOUR_US;
        let points = fleet.store.disk_use(fleet.org, id, hour).await.expect("read");
        assert_eq!(points, [(hour, 40.0), (hour + 1, 60.5), (hour + 5, 70.0)]);
        assert!(fleet.store.disk_use(theirs.org, id, hour).await.expect("read").is_empty());
        assert_eq!(fleet.store.forget_disk_use(hour + 1).await.expect("forgotten"), 1);
        assert_eq!(fleet.store.disk_use(fleet.org, id, 0).await.expect("read").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_probe_is_claimed_once_and_brings_the_next_turn_forward() {
    on_each(|store| async move {
        let (fleet, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let server = fleet.create("web").await;
        let store = &fleet.store;
        store.record_checks(&[checked(&fleet, &server, Seen::default(), NOW_US)]).await.expect("stored");
        let until_us = NOW_US + MINUTE_US;
        let claim = |org, expected_us| store.claim_probe(org, server.id, server.revision, (expected_us, until_us));
        assert!(!claim(theirs.org, None).await.expect("answered"));
        assert!(claim(fleet.org, None).await.expect("answered"));
        assert!(!claim(fleet.org, None).await.expect("answered"), "somebody has it");
        assert!(claim(fleet.org, Some(until_us)).await.expect("answered"), "its process died");
        let probed = Probed {
            failures: 1,
            revision: Some(server.revision),
            next_at_us: Some(NOW_US + 1),
            looked_at_us: Some(NOW_US),
        };
        store.record_probe(theirs.org, server.id, &Probed::default()).await.expect("nothing to do");
        store.record_probe(fleet.org, server.id, &probed).await.expect("recorded");
        let record = read(&fleet, server.id).await.health_record.expect("checked");
        assert_eq!((record.probe, record.next_check_at_us), (probed, NOW_US + 1));
        assert_eq!(store.servers_to_check(NOW_US, None, 9).await.expect("read"), []);
        assert_eq!(store.servers_to_check(NOW_US + 1, None, 9).await.expect("read"), [(fleet.org, server.id)]);
    })
    .await;
}

#[tokio::test]
async fn only_servers_nobody_is_connected_to_are_tried_and_never_first() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let started_us = NOW_US - HOUR_US;
        let mut server = fleet.create("web").await;
        assert_eq!(due(&server, started_us, NOW_US), None, "a first contact is a person's");
        server.host_key = Some(format!("SHA256:{}", "a".repeat(43)).parse().expect("a fingerprint"));
        assert_eq!(due(&server, started_us, NOW_US), Some(Probe::Look));
        server.facts_collected_at_us = Some(NOW_US - MINUTE_US);
        assert_eq!(due(&server, started_us, NOW_US), Some(Probe::Login));
        server.agent.status = AgentStatus::Online;
        server.agent.last_seen_at_us = Some(NOW_US);
        assert_eq!(due(&server, started_us, NOW_US), None);
        server.agent.status = AgentStatus::Offline;
        assert_eq!(due(&server, started_us, NOW_US), None, "it may come back");
        assert_eq!(due(&server, started_us, NOW_US + MINUTE_US), Some(Probe::Login));
        server.agent.last_seen_at_us = Some(NOW_US - HOUR_US);
        assert_eq!(due(&server, NOW_US - 1, NOW_US), None, "the control plane has just started");
        let checked = checked(&fleet, &server, Seen::default(), NOW_US);
        fleet.store.record_checks(&[checked]).await.expect("stored");
        let mut record = read(&fleet, server.id).await.health_record.expect("checked");
        record.probe = Probed {
            failures: 1,
            revision: Some(server.revision),
            next_at_us: Some(NOW_US + MINUTE_US),
            looked_at_us: None,
        };
        server.health_record = Some(record);
        assert_eq!(due(&server, started_us, NOW_US), None, "not yet");
        assert_eq!(due(&server, started_us, NOW_US + MINUTE_US), Some(Probe::Login));
        server.revision += 1;
        assert_eq!(due(&server, started_us, NOW_US), Some(Probe::Login), "somebody changed its credentials");
        server.ssh = None;
        assert_eq!(due(&server, started_us, NOW_US), None);
    })
    .await;
}

#[tokio::test]
async fn a_restart_does_not_make_a_healthy_fleet_unreachable() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (id, _) = fleet.joined("debian").await;
        let server = Server {
            agent: crate::servers::Agent {
                status: AgentStatus::Online,
                last_seen_at_us: Some(NOW_US),
                ..read(&fleet, id).await.agent
            },
            ..read(&fleet, id).await
        };
        fleet.store.record_checks(&[checked(&fleet, &server, Seen::default(), NOW_US)]).await.expect("stored");
        fleet.store.record_seen(&[(id, NOW_US)]).await.expect("stored");
        sqlx::query("UPDATE servers SET agent_status = 'offline' WHERE id = $1")
            .bind(id.to_string())
            .execute(fleet.store.write())
            .await
            .expect("as after a restart");
        let clock = Clock::standing_at(NOW_US + 3 * MINUTE_US);
        let checks = checks(&fleet, &clock);
        checks.check(&[(fleet.org, id)]).await.expect("checked");
        let record = read(&fleet, id).await.health_record.expect("checked");
        assert_eq!((record.status, record.since_us), (HealthStatus::Healthy, NOW_US));
        let due = async |waiting_since_us| {
            fleet.store.servers_to_check(clock.now_us(), waiting_since_us, 9).await.expect("read")
        };
        assert_eq!(due(Some(clock.now_us())).await, [], "it is not asked about either");
        clock.advance(MINUTE_US);
        assert_eq!(due(None).await, [(fleet.org, id)]);
        checks.check(&[(fleet.org, id)]).await.expect("checked");
        let record = read(&fleet, id).await.health_record.expect("checked");
        assert_eq!(record.status, HealthStatus::Unreachable, "it had its minute");
    })
    .await;
}
