//! Samples in the database, in Prometheus and in VictoriaMetrics: one suite, and one answer.

#![allow(clippy::print_stdout, reason = "what was compared is what the run shows")]

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use muster::{
    error::{Error, ErrorKind},
    store::{DatabaseUrl, Store},
};
use muster_shared::{
    id::OrgId,
    metric::{Columns, Series, SeriesKind},
};
use muster_tests::{
    binaries,
    control_plane::{ControlPlane, Settings, free_port},
    engine::{Engine, Kind},
    fleet::{Fleet, Host, Pace, now_us},
    gateway::Gateway,
    metric_world::{CPU, GAUGE, HOSTILE, LOAD, METRICS, PASSING, World, row, series},
    patience::SOON,
    wait,
};
use serde_json::{Value, json};

const SECOND_US: i64 = 1_000_000;
const HOUR_S: i64 = 3_600;
/// Hours of samples, so that some questions are about long ranges.
const HOURS: i64 = 9;
const ENGINES: [Kind; 2] = [Kind::VictoriaMetrics, Kind::Prometheus];

/// Whatever is where, and whenever it came: questions have one answer.
async fn keeps(engine: Option<Kind>) -> Result<()> {
    let mut world = World::new(engine, HOURS).await?;
    let mut compared = 0;
    // A gap of twenty minutes, frames over the edges of hours, and an agent that began a new spool.
    let mut frames = world.frames(1, 5..4_205);
    frames.extend(world.frames(1, 5_405..9_005));
    frames.extend(world.frames(2, 9_011..HOURS * HOUR_S - 20));
    world.store_frames(&frames).await?;
    compared += world.check(HOURS).await?;
    for hours in [1, 4, HOURS] {
        world.pass(hours).await?;
        compared += world.check(HOURS).await?;
    }
    // What comes hours late, into the gap, before and after everything around it is in the database no more.
    let late = world.frames(2, 4_215..4_815);
    world.store_frames(&late).await?;
    compared += world.check(HOURS).await?;
    world.pass(HOURS).await?;
    compared += world.check(HOURS).await?;
    world.pass(HOURS + 3).await?;
    ensure!(world.frames_here().await? == 2, "what it said last, and no more");
    compared += world.check(HOURS).await?;
    let later = world.frames(2, 4_815..5_395);
    world.store_frames(&later).await?;
    // Sent again, since an acknowledgement was lost.
    world.store_frames(&frames[..3]).await?;
    compared += world.check(HOURS).await?;
    world.repeat().await?;
    compared += world.check(HOURS).await?;
    println!("{engine:?}: {compared} values are those of the samples");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_keeps_samples() -> Result<()> {
    keeps(None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn victoria_metrics_keeps_samples() -> Result<()> {
    keeps(Some(Kind::VictoriaMetrics)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_keeps_samples() -> Result<()> {
    keeps(Some(Kind::Prometheus)).await
}

/// A control plane that kept samples itself is told of an engine.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_kept_before_is_part_of_the_answers() -> Result<()> {
    for kind in ENGINES {
        let mut world = World::new(None, HOURS).await?;
        let frames = world.frames(1, 0..3 * HOUR_S);
        world.store_frames(&frames).await?;
        world.pass(2).await?;
        world.keep_in(kind).await?;
        world.check(HOURS).await?;
        let frames = world.frames(1, 3 * HOUR_S..HOURS * HOUR_S);
        world.store_frames(&frames).await?;
        world.pass(HOURS + 3).await?;
        ensure!(world.frames_here().await? == 2, "what is in no block is in the engine");
        world.check(HOURS).await?;
    }
    Ok(())
}

/// Questions that would be something else if they were taken at their word.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_for_more_than_is_theirs() -> Result<()> {
    for kind in ENGINES {
        let mut world = World::new(Some(kind), 3).await?;
        let frames = world.frames(1, 0..HOUR_S);
        world.store_frames(&frames).await?;
        world.pass(5).await?;
        let hour = (0, HOUR_S, 60);
        let own = world.ask(&[LOAD], hour).await?;
        ensure!(own.len() == 1 && own[0].labels["name"] == HOSTILE, "{own:?}");
        let other = world.ask_as(OrgId::generate(), &METRICS, &[], hour).await?;
        ensure!(other.is_empty(), "{other:?}");
        let org = OrgId::generate();
        for labels in
            [("name", HOSTILE), ("name", "\"} or {server_id!=\""), ("server_id", ".*"), ("a=\"\"} or {b", "c")]
        {
            let found = world.ask_as(org, &[LOAD], &[labels], hour).await?;
            ensure!(found.is_empty(), "{labels:?}: {found:?}");
        }
        for metric in ["host_load_1m\"} or {a=\"", ".*", "muster_sample_offset_microseconds", "up\\"] {
            let found = world.ask(&[metric], hour).await?;
            ensure!(found.is_empty(), "{metric}: {found:?}");
        }
    }
    Ok(())
}

fn kind_of(asked: &Result<Vec<muster::metrics::Stepped>>) -> Option<ErrorKind> {
    asked.as_ref().err()?.downcast_ref::<Error>().map(|error| error.kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_engine_is_away_the_newest_hour_is_answered() -> Result<()> {
    for kind in ENGINES {
        let mut world = World::new(Some(kind), 6).await?;
        let frames = world.frames(1, 0..5 * HOUR_S);
        world.store_frames(&frames).await?;
        world.pass(5).await?;
        let (newest, whole, old) = ((5 * HOUR_S - 1_800, 5 * HOUR_S, 10), (0, 5 * HOUR_S, 60), (0, HOUR_S, 60));
        let before = world.ask(&[CPU, GAUGE], newest).await?;
        world.engine().context("an engine")?.terminate().await?;
        assert_eq!(format!("{before:?}"), format!("{:?}", world.ask(&[CPU, GAUGE], newest).await?));
        let part = world.ask(&[GAUGE], whole).await?;
        ensure!(part[0].avg[0].is_nan() && part[0].avg[299] > 0.0, "what the database has, and no more");
        assert_eq!(kind_of(&world.ask(&[GAUGE], old).await), Some(ErrorKind::Unavailable));
        world.engine().context("an engine")?.start_again().await?;
        // Who could not reach it a moment ago looks again when the clock says so.
        world.pass(6).await?;
        ensure!(world.ask(&[GAUGE], old).await?[0].avg[0] > 0.0, "it is back");
    }
    Ok(())
}

/// A control plane whose database has a host's frames of the last hours, and what starts it.
struct Prepared {
    control_plane: ControlPlane,
    server: String,
}

fn value(series: &Series, id: u32, second: i64) -> i64 {
    match series.kind {
        SeriesKind::Counter => 1_000_000 + second * second.rem_euclid(7) + second * 9_999,
        SeriesKind::Gauge => i64::from(id) * 1_000 + second.rem_euclid(977),
    }
}

/// The hosts' own samples, the same for every control plane: one frame is missing, and the last are of this minute.
async fn prepared(settings: Settings, start_us: i64, seconds: i64) -> Result<Prepared> {
    let mut control_plane = settings.start().await?;
    let server = Host::enrol(&control_plane, "host-0", 1).await?.server_id().to_owned();
    control_plane.terminate().await?;
    let store = Store::open(&DatabaseUrl::sqlite_in(control_plane.directory())).await?;
    let (declared, mut frames) = (series(), Vec::new());
    for second in (0..seconds).step_by(10).filter(|second| !(2_000..2_400).contains(second)) {
        let ticks = second..second + 10;
        let ticks_us = ticks.clone().map(|second| start_us + second * SECOND_US + second % 89 * 7_001).collect();
        let values = declared.iter().map(|(id, series)| {
            let had = |second: &i64| second % 5 != 0 || *id != 1;
            (*id, ticks.clone().map(|second| Some(value(series, *id, second)).filter(|_| had(&second))).collect())
        });
        let seq = second.unsigned_abs() / 10 + 1;
        frames.push(row(server.parse()?, (1, seq), &Columns { ticks_us, values: values.collect() }));
    }
    for some in frames.chunks(300) {
        store.insert_frames(some).await?;
    }
    store.close().await;
    control_plane.start_again().await?;
    Ok(Prepared { control_plane, server })
}

/// What is asked of each, with the server's id and the start to be filled in.
fn questions(server: &str, start_s: i64, seconds: i64) -> Vec<String> {
    let end_s = start_s + seconds;
    let of_server = |metric: &str, from: i64, to: i64, step: &str| {
        format!("/api/v1/monitoring/servers/{server}/series?metric={metric}&from={from}&to={to}&step={step}")
    };
    let of_fleet = |metric: &str, step: &str, more: &str| {
        format!("/api/v1/monitoring/series?metric={metric}&from={start_s}&to={end_s}&step={step}&{more}")
    };
    vec![
        // Single seconds, over a gap, old and new.
        of_server(GAUGE, start_s + 1_900, start_s + 2_500, "1s"),
        of_server(CPU, start_s + 1_900, start_s + 2_500, "1s"),
        of_server(CPU, end_s - 300, end_s, "1s"),
        of_server(CPU, start_s, end_s, "60s"),
        of_server(GAUGE, start_s, end_s, "60s"),
        of_server(LOAD, start_s, end_s, "1h"),
        of_server(CPU, start_s, end_s, "1h"),
        of_fleet(PASSING, "5m", "group_by=server,container"),
        of_fleet(PASSING, "60s", "group_by=container&aggregate=max&top=1"),
        of_fleet("host_network_receive_bytes_total", "60s", "group_by=server&aggregate=sum"),
    ]
}

/// Numbers may differ in their last digits, since an engine adds floats where we add integers.
fn assert_same(one: &Value, other: &Value, place: &str) -> usize {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{place}");
            one.iter().map(|(key, value)| assert_same(value, &other[key], &format!("{place}.{key}"))).sum()
        }
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len(), "{place}");
            let pairs = one.iter().zip(other).enumerate();
            pairs.map(|(at, (one, other))| assert_same(one, other, &format!("{place}[{at}]"))).sum()
        }
        (Value::Number(number), Value::Number(same)) => {
            let (number, same) = (number.as_f64().expect("a number"), same.as_f64().expect("a number"));
            assert!((number - same).abs() <= 1e-12 * number.abs(), "{place}: {number}, {same}");
            1
        }
        _ => {
            assert_eq!(one, other, "{place}");
            1
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_has_the_same_answer_from_every_store() -> Result<()> {
    let seconds = 8 * HOUR_S;
    let start_us = (now_us() / SECOND_US / 60 * 60 - seconds) * SECOND_US;
    let embedded = prepared(Settings::new(), start_us, seconds).await?;
    let sealed = "SELECT COUNT(*) FROM metric_blocks";
    wait::until("hours in blocks", SOON, || async {
        Ok((embedded.control_plane.database().number(sealed).await? > 10).then_some(()))
    })
    .await?;
    let (start_s, mut expected) = (start_us / SECOND_US, Vec::new());
    for path in questions(&embedded.server, start_s, seconds) {
        expected.push(embedded.control_plane.rest().get(&path).await?);
    }
    for kind in ENGINES {
        let engine = Engine::keeping(kind).await?;
        let settings = Settings::new().argument("--metric-store-url").argument(engine.url());
        let prepared = prepared(settings, start_us, seconds).await?;
        let left = "SELECT COUNT(*) FROM metric_frames";
        wait::until("old frames in the engine only", 3 * SOON, || async {
            let frames = prepared.control_plane.database().number(left).await?;
            ensure!(frames < seconds / 10 / 4, "{frames} frames");
            Ok(Some(()))
        })
        .await?;
        engine.flush().await?;
        let mut compared = 0;
        for (path, expected) in questions(&prepared.server, start_s, seconds).iter().zip(&expected) {
            let answer = prepared.control_plane.rest().get(path).await?;
            ensure!(answer["series"].as_array().is_some_and(|series| !series.is_empty()), "{path}");
            compared += assert_same(expected, &answer, path);
        }
        println!("{kind:?}: {compared} values are the embedded store's");
        let retention = json!({ "raw_retention_seconds": 86_400 });
        let org = prepared.control_plane.server(&prepared.server).await?["organization_id"].clone();
        let path = format!("/api/v1/organizations/{}/metrics-retention", org.as_str().context("an id")?);
        let refused = prepared.control_plane.rest().call(http::Method::PUT, &path, Some(&retention)).await?;
        ensure!(refused.status == http::StatusCode::CONFLICT, "{}", refused.text);
        ensure!(refused.text.contains("metric_store_is_an_engine"), "{}", refused.text);
        ensure!(!refused.text.contains("  "), "{}", refused.text);
        let shown = prepared.control_plane.rest().get(&path).await?;
        ensure!(shown["kept_by"] == "engine" && shown["raw_retention_seconds"].is_null(), "{shown}");
    }
    Ok(())
}

/// While hosts sample, the engine is killed, and the control plane; in the end the engine has every second once.
async fn loses_nothing(kind: Kind) -> Result<()> {
    let mut engine = Engine::keeping(kind).await?;
    let mut control_plane = Settings::new().argument("--metric-store-url").argument(engine.url()).start().await?;
    let mut fleet = Fleet::enrol(&control_plane, 2, 12).await?;
    fleet.start(control_plane.address(), Pace::second());
    fleet.all_online(SOON).await?;
    let waiting = "SELECT COUNT(*) FROM metric_frames WHERE forwarding = 1";
    let forwarded = "SELECT COUNT(*) FROM metric_frames WHERE forwarding = 2";
    let at_least = async |control_plane: &ControlPlane, query: &str, count: i64| {
        let reached = || async { Ok((control_plane.database().number(query).await? >= count).then_some(())) };
        wait::until(query, SOON, reached).await
    };
    at_least(&control_plane, forwarded, 6).await?;
    engine.kill().await?;
    at_least(&control_plane, waiting, 10).await?;
    control_plane.kill().await?;
    control_plane.start_again().await?;
    let before = control_plane.database().number(waiting).await?;
    at_least(&control_plane, waiting, before + 4).await?;
    let metrics = control_plane.rest().call(http::Method::GET, "/metrics", None).await?.text;
    ensure!(metrics.contains("muster_metric_store_waiting_frames"), "{metrics}");
    engine.start_again().await?;
    fleet.settle(SOON).await?;
    // The one that was killed holds its lease for a minute.
    wait::until("nothing to wait", 3 * SOON, || async {
        Ok((control_plane.database().number(waiting).await? == 0).then_some(()))
    })
    .await?;
    engine.flush().await?;
    let counts = engine.query("count_over_time(host_network_receive_bytes_total[1h])", now_us() / 1000).await?;
    let mut counts: Vec<u64> = counts.iter().map(|(_, points)| points[0].1 as u64).collect();
    let mut made: Vec<u64> = fleet.hosts().iter().map(|host| host.history().ticks()).collect();
    counts.sort_unstable();
    made.sort_unstable();
    assert_eq!(counts, made);
    println!("{kind:?}: {made:?} seconds, each once");
    fleet.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_to_victoria_metrics() -> Result<()> {
    loses_nothing(Kind::VictoriaMetrics).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_to_prometheus() -> Result<()> {
    loses_nothing(Kind::Prometheus).await
}

/// Prometheus fails, and does not refuse, what is too old for it: that holds up nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_for_prometheus_holds_up_no_other() -> Result<()> {
    let engine = Engine::keeping(Kind::Prometheus).await?;
    let control_plane = Settings::new().argument("--metric-store-url").argument(engine.url()).start().await?;
    let mut fleet = Fleet::enrol(&control_plane, 1, 12).await?;
    let host = fleet.hosts()[0].clone();
    fleet.start(control_plane.address(), Pace::second());
    let forwarded = "SELECT COUNT(*) FROM metric_frames WHERE forwarding = 2";
    let reached = async |query: &str, count: i64| {
        wait::until(query, 2 * SOON, || async {
            Ok((control_plane.database().number(query).await? >= count).then_some(()))
        })
        .await
    };
    reached(forwarded, 3).await?;
    host.history().sample(now_us() / SECOND_US * SECOND_US - 40 * 86_400 * SECOND_US, 10);
    reached("SELECT COUNT(*) FROM metric_quarantine", 1).await?;
    let before = control_plane.database().number(forwarded).await?;
    reached(forwarded, before + 3).await?;
    fleet.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_is_no_engine_is_told_at_the_start() -> Result<()> {
    let (engine, directory) = (Engine::start(Kind::Prometheus).await?, tempfile::tempdir()?);
    let ended = tokio::process::Command::new(binaries::muster())
        .env_clear()
        .args(["serve", "--listen", &format!("127.0.0.1:{}", free_port()), "--data-dir"])
        .arg(directory.path())
        .args(["--metric-store-url", &format!("{}/nothing", engine.url())])
        .output();
    let ended = tokio::time::timeout(SOON, ended).await.context("it does not end")??;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(!ended.status.success() && said.contains("metric_store_url"), "{said}");
    Ok(())
}

/// An engine as Mimir is reached: over TLS of an authority of its own, with a token, for a tenant, and by other paths.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_a_gateway_is_written_and_asked_as_mimir_is() -> Result<()> {
    let (engine, folder) = (Engine::keeping(Kind::VictoriaMetrics).await?, tempfile::tempdir()?);
    let gateway = Gateway::before(engine.address(), "a token", "fleet").await?;
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).map(|()| path.display().to_string())
    };
    let (push, query) = ("/api/v1/push", "/prometheus/api/v1/query");
    let with = |token: &str| {
        [
            ("--metric-store-url", gateway.url("/prometheus")),
            ("--metric-store-write-url", gateway.url(push)),
            ("--metric-store-bearer-token-file", token.to_owned()),
            ("--metric-store-headers", "X-Scope-OrgID=fleet".to_owned()),
        ]
        .into_iter()
        .fold(Settings::new(), |settings, (name, value)| settings.argument(name).argument(value))
    };
    let token = file("token", "a token\n")?;
    let authority = file("ca.pem", gateway.authority_pem())?;

    let seconds = 4 * HOUR_S;
    let start_us = (now_us() / SECOND_US / 60 * 60 - seconds) * SECOND_US;
    let trusted = with(&token).argument("--metric-store-ca-file").argument(&authority);
    let prepared = prepared(trusted, start_us, seconds).await?;
    wait::until("old frames in the engine only", 3 * SOON, || async {
        let frames = prepared.control_plane.database().number("SELECT COUNT(*) FROM metric_frames").await?;
        Ok((frames < seconds / 10 / 2).then_some(()))
    })
    .await?;
    engine.flush().await?;
    let start_s = start_us / SECOND_US;
    let path = &questions(&prepared.server, start_s, seconds)[0];
    let answer = prepared.control_plane.rest().get(path).await?;
    let averages = answer["series"][0]["avg"].as_array().with_context(|| format!("no values: {answer}"))?;
    // From 1,900 to 2,500, of which 2,000 to 2,400 were never sampled, and of the rest every fifth second has no value.
    ensure!(averages.iter().filter(|value| value.is_number()).count() == 160, "{answer}");
    ensure!(gateway.answered(push, StatusCode::NO_CONTENT) > 0 && gateway.answered(query, StatusCode::OK) > 0);
    for path in [push, query] {
        ensure!(gateway.answered(path, StatusCode::UNAUTHORIZED) == 0, "{path} without its token or tenant");
    }
    Ok(())
}
