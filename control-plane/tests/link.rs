//! What goes over a host's stream, and what happens at its bounds.

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use muster::{
    access::Act,
    commands::{CommandEvent, DEFAULT_TTL_US},
    error::ErrorKind,
    events::EventKind,
    metrics::{Asked, Budget, Selection, SeriesQuery, fresh_summary, query, steps::Steps},
    servers::AgentStatus,
};
use muster_shared::{
    command::{CommandBody, CommandState},
    facts::Facts,
    metric::{self, Columns, Series, SeriesKind, names},
    sign,
    wire::{self, agent_message, command_update, control_message},
};
use ring::digest;
use support::{Agent, Link, PATIENCE, Plane, code};
use tokio::time::{sleep, timeout};
use tonic::Code;

/// What a small host reports: two counters of CPU time and three gauges.
fn declarations() -> Vec<wire::SeriesDeclaration> {
    let series = |name: &str, mode: Option<&str>, scale| Series {
        name: name.to_owned(),
        labels: mode.map(|mode| BTreeMap::from([("mode".to_owned(), mode.to_owned())])).unwrap_or_default(),
        scale,
        kind: if mode.is_some() { SeriesKind::Counter } else { SeriesKind::Gauge },
    };
    [
        series(names::HOST_CPU_SECONDS_TOTAL, Some("user"), -6),
        series(names::HOST_CPU_SECONDS_TOTAL, Some("idle"), -6),
        series(names::HOST_MEMORY_TOTAL_BYTES, None, 0),
        series(names::HOST_MEMORY_AVAILABLE_BYTES, None, 0),
        series(names::HOST_LOAD_1M, None, -2),
    ]
    .iter()
    .zip(1..)
    .map(|(series, id)| series.declare(id))
    .collect()
}

/// A frame of `ticks` seconds from `first_us`: a quarter of the CPU busy, half of the memory free.
fn frame(seq: u64, first_us: i64, ticks: i64) -> wire::Frame {
    let seconds: Vec<i64> = (0..ticks).map(|tick| first_us / 1_000_000 + tick).collect();
    let column = |value: &dyn Fn(i64) -> i64| seconds.iter().map(|second| Some(value(*second))).collect::<Vec<_>>();
    let columns = Columns {
        ticks_us: seconds.iter().map(|second| second * 1_000_000).collect(),
        values: vec![
            (1, column(&|second| second * 250_000)),
            (2, column(&|second| second * 750_000)),
            (3, column(&|_| 1000)),
            (4, column(&|_| 500)),
            (5, column(&|_| 150)),
        ],
    };
    let (encoding, payload) = metric::encode(&columns);
    wire::Frame {
        epoch: 1,
        seq,
        declarations: if seq == 1 { declarations() } else { Vec::new() },
        encoding: encoding.into(),
        payload: payload.into(),
        first_us: columns.ticks_us[0],
        last_us: *columns.ticks_us.last().expect("a tick"),
        ticks: columns.ticks_us.len() as u32,
        backfill: false,
    }
}

fn whole_second(us: i64) -> i64 {
    us - us % 1_000_000
}

/// The sequences acknowledged until `last` is.
async fn acknowledged(link: &mut Link, last: u64) -> Vec<u64> {
    let mut all = Vec::new();
    while !all.contains(&last) {
        if let Some(control_message::Kind::FrameAck(ack)) = link.next().await.expect("open") {
            all.extend(ack.ranges.iter().flat_map(|range| range.first..=range.last));
        }
    }
    all
}

async fn status(plane: &Plane, agent: &Agent) -> AgentStatus {
    plane.app.servers.get(plane.org, agent.server()).await.expect("there").agent.status
}

#[tokio::test]
async fn frames_are_stored_once_then_acknowledged_and_make_a_summary() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let start_us = whole_second(plane.app.clock.now_us()) - 60_000_000;
    for seq in 1..=5 {
        link.send(agent_message::Kind::Frame(frame(seq, start_us + (seq as i64) * 10_000_000, 10))).await;
    }
    acknowledged(&mut link, 5).await;
    link.send(agent_message::Kind::Frame(frame(3, start_us + 30_000_000, 10))).await;
    assert_eq!(acknowledged(&mut link, 3).await, [3], "a repeated frame is acknowledged again");
    let stored = plane.app.store.newest_frames(plane.org, agent.server(), 100).await.expect("read");
    assert_eq!(stored.len(), 5, "and stored once");
    let summary = plane.app.heads.summary(plane.org, agent.server()).await.expect("read").expect("a summary");
    assert_eq!((summary.cpu_usage_percent, summary.memory_usage_percent, summary.load_1m), (25.0, 50.0, 1.5));
    assert_eq!(summary.at_us, start_us + 59_000_000);
    let (history, server) = (&plane.app.metric_store, agent.server());
    let select = |metric: &str| Selection::new([metric.to_owned()], []).expect("a metric");
    let (range, mut budget) = ((start_us, start_us + 100_000_000), Budget::of(1000));
    let load =
        history.samples((plane.org, server), &select(names::HOST_LOAD_1M), range, &mut budget).await.expect("read");
    let points: Vec<_> = load.values().flatten().collect();
    assert_eq!((load.len(), points.len()), (1, 50));
    assert!(points.iter().all(|(_, value)| *value == 150));
    let asked = SeriesQuery {
        selection: select(names::HOST_CPU_SECONDS_TOTAL),
        steps: Steps::new(start_us, start_us + 59_000_000, Some(10_000_000)).expect("a range"),
        group: None,
        top: None,
    };
    let servers = [Asked { server, labels: [].into() }];
    let cpu = query(history, plane.org, &servers, &asked).await.expect("read");
    let user = cpu.iter().find(|series| series.labels["mode"] == "user").expect("a series");
    let known = |value: &&f64| !value.is_nan();
    assert!(user.avg.iter().filter(known).all(|rate| (rate - 0.25).abs() < 1e-9), "{user:?}");
    let count = user.avg.iter().filter(known).count();
    assert!((5..=6).contains(&count), "and the seconds that were not sampled are a gap: {user:?}");
    plane.stopped().await;
}

#[tokio::test]
async fn what_the_database_does_not_take_is_not_acknowledged() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let mut held = plane.hold_database().await;
    link.send(agent_message::Kind::Frame(frame(1, whole_second(plane.app.clock.now_us()), 10))).await;
    let early = timeout(Duration::from_secs(2), acknowledged(&mut link, 1)).await;
    assert!(early.is_err(), "acknowledged while nothing could be stored");
    sqlx::query("ROLLBACK").execute(&mut held).await.expect("let go");
    acknowledged(&mut link, 1).await;
    plane.stopped().await;
}

#[tokio::test]
async fn a_number_used_by_another_host_or_another_spool_is_another_frame() {
    let plane = Plane::start().await;
    let start_us = whole_second(plane.app.clock.now_us()) - 60_000_000;
    for host in 1..=2 {
        let mut agent = plane.enrolled().await;
        for epoch in 1..=2 {
            let mut link = agent.connect().await.expect("connected");
            let mut frame = frame(1, start_us + 10_000_000 * epoch, 10);
            frame.epoch = epoch.cast_unsigned();
            link.send(agent_message::Kind::Frame(frame)).await;
            acknowledged(&mut link, 1).await;
        }
        let stored = plane.app.store.newest_frames(plane.org, agent.server(), 9).await.expect("read");
        assert_eq!(stored.len(), 2, "host {host}");
    }
    plane.stopped().await;
}

#[tokio::test]
async fn poison_is_quarantined_and_what_follows_is_stored() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let start_us = whole_second(plane.app.clock.now_us()) - 60_000_000;
    let before = plane.counted("muster_ingest_poison_total{reason=\"payload\"}");
    let mut poison = frame(1, start_us, 10);
    poison.payload = vec![0xff; 64].into();
    link.send(agent_message::Kind::Frame(poison)).await;
    let mut good = frame(2, start_us + 10_000_000, 10);
    good.declarations = declarations();
    link.send(agent_message::Kind::Frame(good)).await;
    let mut acknowledged = acknowledged(&mut link, 2).await;
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, [1, 2], "poison is not asked for again");
    let stored = plane.app.store.newest_frames(plane.org, agent.server(), 9).await.expect("read");
    assert_eq!(stored.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(plane.counted("muster_ingest_poison_total{reason=\"payload\"}"), before + 1.0);
    plane.stopped().await;
}

#[tokio::test]
async fn whoever_watches_gets_a_fresh_summary() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    assert!(!link.welcome.live);
    let start_us = whole_second(plane.app.clock.now_us());
    link.send(agent_message::Kind::Frame(frame(1, start_us - 20_000_000, 10))).await;
    acknowledged(&mut link, 1).await;
    let (app, org, server) = (plane.app.clone(), plane.org, agent.server());
    let asked =
        tokio::spawn(
            async move { fresh_summary((&app.sessions, &app.heads, &app.events), &app.clock, org, server).await },
        );
    let told = link.next().await.expect("open");
    assert!(
        matches!(told, Some(control_message::Kind::SetLive(wire::SetLive { live: true })))
            || plane.app.sessions.is_watched(server),
        "{told:?}"
    );
    link.send(agent_message::Kind::Frame(frame(2, start_us, 1))).await;
    let summary = asked.await.expect("answered").expect("read").expect("a summary");
    assert!(summary.at_us >= start_us - 11_000_000);
    drop(link);
    plane.stopped().await;
}

#[tokio::test]
async fn a_watched_host_is_told_and_its_samples_are_announced() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let _watching = plane.app.sessions.watch_live(agent.server());
    let mut happening = plane.app.events.subscribe();
    let link = agent.connect().await.expect("connected");
    assert!(link.welcome.live, "the welcome says so");
    let start_us = whole_second(plane.app.clock.now_us());
    link.send(agent_message::Kind::Frame(frame(1, start_us, 2))).await;
    let announced = async {
        loop {
            let event = happening.next().await.expect("open").expect("kept up");
            if let EventKind::Sample(summary) = event.kind {
                return (event.server_id, summary);
            }
        }
    };
    let (server, summary) = timeout(PATIENCE, announced).await.expect("announced");
    assert_eq!((server, summary.at_us), (Some(agent.server()), start_us + 1_000_000));
    plane.stopped().await;
}

#[tokio::test]
async fn a_command_is_delivered_signed_and_its_result_is_kept() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let now_us = plane.app.clock.now_us();
    let body = CommandBody::RefreshFacts;
    let commands = &plane.app.commands;
    let command = commands.submit(&plane.act(now_us), agent.server(), body, DEFAULT_TTL_US).await.expect("submitted");
    let Some(control_message::Kind::Deliver(deliver)) = link.next().await.expect("open") else { panic!("no command") };
    let signed = deliver.command.expect("signed");
    let keys = [plane.app.identity.signer.public_key()];
    let envelope = sign::verify(&signed, &keys, agent.server(), now_us + 1).expect("valid");
    assert_eq!(envelope.command_id, command.id);
    let facts = Facts { hostname: "told-by-command".into(), ..Facts::default() };
    let steps = [
        command_update::Kind::Received(wire::Received {}),
        command_update::Kind::Started(wire::Started::default()),
        command_update::Kind::Finished(wire::Finished {
            outcome: wire::CommandOutcome::Succeeded.into(),
            result: Some(wire::finished::Result::FactsJson(serde_json::to_string(&facts).expect("json"))),
            ..wire::Finished::default()
        }),
    ];
    for (seq, kind) in (1..).zip(steps) {
        let update = wire::CommandUpdate { command_id: command.id.to_string(), seq, at_us: now_us, kind: Some(kind) };
        link.send(agent_message::Kind::CommandUpdate(update.clone())).await;
        let expected = wire::CommandAck { command_id: command.id.to_string(), seq };
        assert_eq!(link.next().await.expect("open"), Some(control_message::Kind::CommandAck(expected.clone())));
        link.send(agent_message::Kind::CommandUpdate(update)).await;
        assert_eq!(link.next().await.expect("open"), Some(control_message::Kind::CommandAck(expected)), "repeated");
    }
    let watching = commands.watch(plane.org, command.id).await.expect("there");
    let events: Vec<_> = timeout(PATIENCE, watching.collect()).await.expect("ended");
    let updates = events.iter().filter(|event| matches!(event, Ok(CommandEvent::Update(_)))).count();
    assert_eq!(updates, 3, "each step is stored once");
    let ended = commands.get(plane.org, command.id).await.expect("there");
    assert_eq!(ended.state, CommandState::Succeeded);
    let (facts, _) = plane.app.servers.facts(plane.org, agent.server()).await.expect("read").expect("kept");
    assert_eq!(facts.hostname, "told-by-command");
    plane.stopped().await;
}

#[tokio::test]
async fn a_command_waits_for_its_host_and_is_offered_again_after_a_lost_stream() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let now_us = plane.app.clock.now_us();
    let body = CommandBody::RefreshFacts;
    let act = plane.act(now_us);
    let submitted = plane.app.commands.submit(&act, agent.server(), body, DEFAULT_TTL_US);
    let id = submitted.await.expect("submitted").id;
    for attempt in ["when it connects", "when it connects again"] {
        let mut link = agent.connect().await.expect("connected");
        let Some(control_message::Kind::Deliver(deliver)) = link.next().await.expect("open") else {
            panic!("{attempt}")
        };
        let keys = [plane.app.identity.signer.public_key()];
        let envelope = sign::verify(&deliver.command.expect("signed"), &keys, agent.server(), now_us).expect("valid");
        assert_eq!(envelope.command_id, id);
        let mut happening = plane.app.events.subscribe();
        drop(link);
        let offline = async {
            while !matches!(happening.next().await, Some(Ok(event)) if matches!(event.kind, EventKind::AgentOffline)) {}
        };
        timeout(PATIENCE, offline).await.expect("noticed");
    }
    plane.stopped().await;
}

#[tokio::test]
async fn updates_for_another_server_s_command_are_not_stored() {
    let plane = Plane::start().await;
    let (mut victim, mut forger) = (plane.enrolled().await, plane.enrolled().await);
    let mut forging = forger.connect().await.expect("connected");
    let now_us = plane.app.clock.now_us();
    let body = CommandBody::RefreshFacts;
    let act = plane.act(now_us);
    let submitted = plane.app.commands.submit(&act, victim.server(), body, DEFAULT_TTL_US);
    let id = submitted.await.expect("submitted").id;
    let finished = wire::Finished { outcome: wire::CommandOutcome::Succeeded.into(), ..wire::Finished::default() };
    let forged = wire::CommandUpdate {
        command_id: id.to_string(),
        seq: 1,
        at_us: now_us,
        kind: Some(command_update::Kind::Finished(finished)),
    };
    forging.send(agent_message::Kind::CommandUpdate(forged)).await;
    let ack = forging.next().await.expect("open");
    assert!(matches!(ack, Some(control_message::Kind::CommandAck(_))), "it is not asked for again");
    assert_eq!(plane.app.commands.get(plane.org, id).await.expect("there").state, CommandState::Queued);
    let mut link = victim.connect().await.expect("connected");
    assert!(matches!(link.next().await.expect("open"), Some(control_message::Kind::Deliver(_))));
    plane.stopped().await;
}

#[tokio::test]
async fn facts_are_kept_when_they_match_their_hash() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let json = serde_json::to_vec(&Facts { hostname: "box".into(), ..Facts::default() }).expect("json");
    let sha256 = digest::digest(&digest::SHA256, &json).as_ref().to_vec();
    let report =
        wire::FactsReport { json: json.clone(), sha256: sha256.clone(), collected_at_us: plane.app.clock.now_us() };
    link.send(agent_message::Kind::Facts(report.clone())).await;
    assert_eq!(link.next().await.expect("open"), Some(control_message::Kind::FactsAck(wire::FactsAck { sha256 })));
    let (facts, _) = plane.app.servers.facts(plane.org, agent.server()).await.expect("read").expect("kept");
    assert_eq!(facts.hostname, "box");
    link.send(agent_message::Kind::Facts(wire::FactsReport { sha256: vec![0; 32], ..report })).await;
    let ended = link.end().await;
    assert_eq!(code(&ended), "facts_damaged");
    plane.stopped().await;
}

#[tokio::test]
async fn the_newer_stream_takes_over_and_the_server_stays_online() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    assert_eq!(status(&plane, &agent).await, AgentStatus::Pending);
    let mut first = agent.connect().await.expect("connected");
    assert_eq!(status(&plane, &agent).await, AgentStatus::Online);
    let second = agent.connect().await.expect("connected again");
    assert_eq!(code(&first.end().await), "superseded");
    assert_eq!(status(&plane, &agent).await, AgentStatus::Online);
    let mut happening = plane.app.events.subscribe();
    drop(second);
    let offline = async {
        while !matches!(happening.next().await, Some(Ok(event)) if matches!(event.kind, EventKind::AgentOffline)) {}
    };
    timeout(PATIENCE, offline).await.expect("noticed");
    assert_eq!(status(&plane, &agent).await, AgentStatus::Offline);
    plane.stopped().await;
}

#[tokio::test]
async fn a_stream_that_breaks_the_rules_is_ended() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let open = async |hello: wire::Hello| Link::open(agent.channel().await.expect("a channel"), hello).await;
    let refused = open(wire::Hello { protocol: 99, ..agent.hello() }).await.err().expect("refused");
    assert_eq!((refused.code(), code(&refused)), (Code::FailedPrecondition, "protocol_not_supported"));
    let hostile = wire::Hello { agent_version: "\u{1b}[31m".into(), ..agent.hello() };
    let refused = open(hostile).await.err().expect("refused");
    assert_eq!(code(&refused), "claims_malformed");
    let mut unconfirmed = open(agent.hello()).await.expect("open");
    unconfirmed.send(agent_message::Kind::Frame(frame(1, 0, 1))).await;
    assert_eq!(code(&unconfirmed.end().await), "confirm_expected");
    let mut link = agent.connect().await.expect("connected");
    link.send(agent_message::Kind::Hello(agent.hello())).await;
    assert_eq!(code(&link.end().await), "unexpected_message");
    let mut link = agent.connect().await.expect("connected");
    let oversized = wire::FactsReport { json: vec![0; 6 << 20], ..wire::FactsReport::default() };
    link.send(agent_message::Kind::Facts(oversized)).await;
    assert!(!matches!(link.end().await.code(), Code::Ok), "larger than any message may be");
    agent.connect().await.expect("and none of it costs the host its place");
    plane.stopped().await;
}

#[tokio::test]
async fn a_flooding_host_is_slowed_down_and_counted() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let link = agent.connect().await.expect("connected");
    let before = plane.counted("muster_link_throttled_total");
    let flood = async {
        while plane.counted("muster_link_throttled_total") <= before {
            link.send(agent_message::Kind::Pong(wire::Pong { nonce: 0 })).await;
        }
    };
    timeout(PATIENCE, flood).await.expect("slowed down");
    assert_eq!(status(&plane, &agent).await, AgentStatus::Online, "slowed down, not thrown out");
    plane.stopped().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_refused_and_counted() {
    let plane = Plane::start_with(|config| config.max_connections = 2).await;
    let metric = "muster_edge_refused_total{reason=\"connections\"}";
    let before = plane.counted(metric);
    let config = || {
        let trust = muster_shared::tls::Trust::Roots(vec![plane.ca()]);
        Arc::new(muster_shared::tls::client_config(trust, None).expect("a configuration"))
    };
    let first = support::tls(plane.address, config(), "localhost").await.expect("room");
    let _second = support::tls(plane.address, config(), "localhost").await.expect("room");
    assert!(support::tls(plane.address, config(), "localhost").await.is_err());
    assert_eq!(plane.counted(metric), before + 1.0);
    drop(first);
    let freed = async {
        while support::tls(plane.address, config(), "localhost").await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, freed).await.expect("a place that became free is given again");
    plane.stopped().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let start_us = whole_second(plane.app.clock.now_us()) - 60_000_000;
    link.send(agent_message::Kind::Frame(frame(1, start_us, 10))).await;
    acknowledged(&mut link, 1).await;
    let summary = plane.app.heads.summary(plane.org, agent.server()).await.expect("read");
    plane.stop.cancel();
    assert_eq!(link.end().await.code(), Code::Unavailable, "the stream is told to come back");
    let (org, folder) = plane.into_folder().await;
    let again = Plane::start_in(folder, |_| {}).await;
    assert_eq!(again.org, org);
    agent.address = again.address;
    assert_eq!(status(&again, &agent).await, AgentStatus::Offline);
    assert_eq!(again.app.heads.summary(again.org, agent.server()).await.expect("read"), summary);
    let mut link = agent.connect().await.expect("the same identity, the same authority");
    link.send(agent_message::Kind::Frame(frame(1, start_us, 10))).await;
    acknowledged(&mut link, 1).await;
    let stored = again.app.store.newest_frames(again.org, agent.server(), 9).await.expect("read");
    assert_eq!(stored.len(), 1, "stored once, whoever asks again");
    again.stopped().await;
}

#[tokio::test]
async fn nobody_reads_another_organisation_s_samples() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    link.send(agent_message::Kind::Frame(frame(1, whole_second(plane.app.clock.now_us()), 10))).await;
    acknowledged(&mut link, 1).await;
    let other = muster_shared::id::OrgId::generate();
    assert_eq!(plane.app.heads.summary(other, agent.server()).await.expect("read"), None);
    let denied =
        plane.app.enrollment.revoke_agent(&Act::of_system(other, 1), agent.server()).await.expect_err("not theirs");
    assert_eq!(denied.kind, ErrorKind::NotFound);
    assert_eq!(status(&plane, &agent).await, AgentStatus::Online);
    plane.stopped().await;
}
