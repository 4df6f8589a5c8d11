//! Muster beside real engines of Prometheus' kind: what they scrape from it, and what it writes to them.

#![allow(clippy::print_stdout, reason = "what was compared is what the run shows")]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    engine::{Engine, Kind, Labels},
    fleet::{Fleet, Pace, now_us},
    patience::SOON,
    wait,
};
use serde_json::{Value, json};

const SERVERS: usize = 2;
const SERIES: u32 = 24;
/// What the simulated hosts' own gauges are called.
const GAUGE: &str = "simulated_load";
const COUNTER: &str = "host_network_receive_bytes_total";
const METRICS_TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/grafana/muster.json");

/// Fails unless Prometheus' own linter has nothing to say of `text`.
fn lint(text: &str) -> Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting promtool")?;
    promtool.stdin.take().context("its input")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

/// Names and kinds of the table of metrics.
fn table() -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(METRICS_TABLE)?;
    let rows = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
        Some((name.to_owned(), rest.split('|').nth(1)?.trim().to_owned()))
    });
    Ok(rows.collect())
}

#[test]
fn prometheus_finds_nothing_to_say_of_any_name() -> Result<()> {
    let rows = table()?;
    ensure!(rows.len() > 100, "{} rows", rows.len());
    lint(
        &rows
            .iter()
            .map(|(name, kind)| format!("# HELP {name} x\n# TYPE {name} {kind}\n{name} 1\n"))
            .collect::<String>(),
    )
}

/// A control plane with servers that sample each second.
async fn fleet_on(control_plane: &ControlPlane) -> Result<Fleet> {
    let mut fleet = Fleet::enrol(control_plane, SERVERS, SERIES).await?;
    fleet.start(control_plane.address(), Pace::second());
    fleet.all_online(SOON).await?;
    Ok(fleet)
}

/// A token that may read metrics and nothing else.
async fn reading_token(control_plane: &ControlPlane) -> Result<String> {
    let token = json!({ "name": "prometheus", "scopes": ["org.monitoring.view"] });
    let made = control_plane.rest().post("/api/v1/tokens", &token).await?;
    Ok(made["token"].as_str().context("a token")?.to_owned())
}

#[tokio::test]
async fn prometheus_scrapes_the_fleet_without_a_warning_and_has_its_values() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let mut fleet = fleet_on(&control_plane).await?;
    let token = reading_token(&control_plane).await?;
    let job = |name: &str, parameters: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  metrics_path: /api/v1/metrics/export\n  scrape_interval: 1s\n  \
             params: {{{parameters}}}\n  authorization: {{credentials: {token}}}\n  tls_config: {{ca_file: {}}}\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            control_plane.directory().join("ca.pem").display(),
            control_plane.address()
        )
    };
    let jobs = job("fleet", "") + &job("timed", "timestamps: ['true']");
    let prometheus = Engine::scraping(&format!("scrape_configs:\n{jobs}")).await?;
    wait::until("samples of both jobs", SOON, || async {
        let sampled = prometheus.query(&format!("count_over_time({COUNTER}[1h])"), now_us() / 1000).await?;
        let enough = sampled.len() == 2 * SERVERS && sampled.iter().all(|(_, points)| points[0].1 >= 5.0);
        Ok(enough.then_some(()))
    })
    .await?;
    let now_ms = now_us() / 1000;
    let one =
        |found: Vec<(Labels, Vec<(i64, f64)>)>| found.into_iter().map(|(_, points)| points[0].1).collect::<Vec<_>>();
    assert_eq!(one(prometheus.query("up", now_ms).await?), [1.0, 1.0]);
    assert_eq!(one(prometheus.query("muster_server_up{job=\"fleet\"}", now_ms).await?), [1.0; SERVERS]);
    let memory = one(prometheus.query("host_memory_total_bytes{job=\"fleet\"}", now_ms).await?);
    assert_eq!(memory, [(64u64 << 30) as f64; SERVERS]);
    // With their own times, values are those of the very second.
    for (labels, points) in prometheus.query(&format!("{COUNTER}{{job=\"timed\"}}[1h]"), now_ms).await? {
        assert!(labels.contains_key("server") && labels.contains_key("server_id"), "{labels:?}");
        for (at_ms, value) in points {
            assert_eq!(value, (at_ms / 1000 * 1000) as f64, "{labels:?} at {at_ms}");
        }
    }
    let answer =
        control_plane.rest().with_token(&token).call(http::Method::GET, "/api/v1/metrics/export", None).await?;
    lint(&answer.text)?;
    let name = fleet.hosts()[0].name().to_owned();
    let path = format!("/api/v1/metrics/export?server={name}");
    let one_server = control_plane.rest().call(http::Method::GET, &path, None).await?.text;
    let lines = one_server.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.clone().count(), SERIES as usize + 2, "its series, and two of its own");
    assert!(lines.clone().all(|line| line.contains(&format!("server=\"{name}\""))), "{one_server}");
    let complaints: Vec<_> = prometheus
        .lines()
        .into_iter()
        .filter(|line| line.contains("level=warn") || line.contains("level=error"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    fleet.stop().await;
    Ok(())
}

/// Muster's own answer: of each server and part the mean, least and greatest of each step.
async fn own_answer(control_plane: &ControlPlane, from_ms: i64, to_ms: i64) -> Result<Vec<Value>> {
    let (from, to) = (from_ms / 1000, to_ms / 1000);
    let path = format!("/api/v1/monitoring/series?metric={GAUGE}&from={from}&to={to}&step=10s");
    let answer = control_plane.rest().get(&path).await?;
    Ok(answer["series"].as_array().context("series")?.clone())
}

/// While the fleet samples, the engine goes away and comes back; in the end both have the same.
async fn written_to(kind: Kind) -> Result<()> {
    let mut engine = Engine::start(kind).await?;
    let control_plane = Settings::new().argument("--remote-write-url").argument(engine.write_url()).start().await?;
    let mut fleet = fleet_on(&control_plane).await?;
    let counted = async |engine: &Engine| {
        engine.flush().await?;
        let counts = engine.query(&format!("count_over_time({COUNTER}[1h])"), now_us() / 1000).await?;
        Ok::<_, anyhow::Error>(counts.iter().map(|(_, points)| points[0].1 as u64).collect::<Vec<_>>())
    };
    wait::until("the first samples", SOON, || async {
        let counts = counted(&engine).await?;
        Ok((counts.len() == SERVERS && counts.iter().all(|count| *count >= 5)).then_some(()))
    })
    .await?;
    engine.terminate().await?;
    let away_from_us = now_us();
    wait::until("seconds without an engine", SOON, || async {
        Ok((now_us() - away_from_us > 5_000_000).then_some(()))
    })
    .await?;
    engine.start_again().await?;
    wait::until("seconds with it again", SOON, || async { Ok((now_us() - away_from_us > 15_000_000).then_some(())) })
        .await?;
    fleet.settle(SOON).await?;
    let made: Vec<u64> = fleet.hosts().iter().map(|host| host.history().ticks()).collect();
    wait::until("every sample", SOON, || async {
        let mut counts = counted(&engine).await?;
        let mut made = made.clone();
        counts.sort_unstable();
        made.sort_unstable();
        ensure!(counts == made, "{counts:?} of {made:?}");
        Ok(Some(()))
    })
    .await?;
    // The very samples, counters raw.
    for (labels, points) in engine.query(&format!("{COUNTER}[1h]"), now_us() / 1000).await? {
        assert_eq!(labels["device"], "eth0");
        assert!(points.iter().all(|(at_ms, value)| *value == (at_ms / 1000 * 1000) as f64), "{labels:?}: {points:?}");
    }
    // The same question: what was it in each ten seconds?
    let (from_ms, to_ms) = ((away_from_us / 1_000_000 - 10) / 10 * 10_000, (now_us() / 1_000_000) / 10 * 10_000);
    let own = own_answer(&control_plane, from_ms, to_ms).await?;
    assert_eq!(own.len(), SERVERS * (SERIES as usize - 9), "{own:?}");
    let mut compared = 0;
    for (function, field) in [("avg_over_time", "avg"), ("min_over_time", "min"), ("max_over_time", "max")] {
        for (step, start_ms) in (from_ms..to_ms).step_by(10_000).enumerate() {
            let theirs = engine.query(&format!("{function}({GAUGE}[10s])"), start_ms + 9_999).await?;
            for series in &own {
                let labels: Labels = serde_json::from_value(series["labels"].clone())?;
                let same = theirs
                    .iter()
                    .find(|(theirs, _)| labels.iter().all(|(name, value)| theirs.get(name) == Some(value)));
                let theirs = same.map(|(_, points)| points[0].1);
                match (series[field][step].as_f64(), theirs) {
                    (Some(ours), Some(theirs)) => {
                        assert!((ours - theirs).abs() <= 1e-9 * ours.abs(), "{function} {labels:?}: {ours}, {theirs}");
                        compared += 1;
                    }
                    (ours, theirs) => assert_eq!(ours, theirs, "{function} {labels:?} at {start_ms}"),
                }
            }
        }
    }
    println!("{kind:?}: {made:?} seconds of {SERIES} series arrived, {compared} answers agree");
    assert!(compared > 100, "{compared}");
    fleet.stop().await;
    Ok(())
}

#[tokio::test]
async fn prometheus_has_every_sample_and_answers_the_same() -> Result<()> {
    written_to(Kind::Prometheus).await
}

#[tokio::test]
async fn victoria_metrics_has_every_sample_and_answers_the_same() -> Result<()> {
    written_to(Kind::VictoriaMetrics).await
}

/// Every `expr` in `value`, wherever.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// Words of an expression that begin as metrics do.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| ["host_", "container_", "muster_"].iter().any(|prefix| word.starts_with(prefix)))
}

#[tokio::test]
async fn the_grafana_dashboard_asks_for_our_metrics_and_prometheus_understands_it() -> Result<()> {
    let mut known: Vec<String> = table()?.into_iter().map(|(name, _)| name).collect();
    known.extend(["muster_server_up", "muster_server_sample_timestamp_seconds"].map(str::to_owned));
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(DASHBOARD)?)?;
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() >= 10, "{found:?}");
    let prometheus = Engine::start(Kind::Prometheus).await?;
    for expression in found {
        let named: Vec<_> = metrics_in(&expression).collect();
        assert!(!named.is_empty(), "{expression}");
        for name in named {
            assert!(known.iter().any(|known| known == name), "{name} in {expression} is no metric");
        }
        let filled = expression.replace("$__rate_interval", "1m").replace("$server", ".*");
        prometheus.query(&filled, now_us() / 1000).await.with_context(|| expression.clone())?;
    }
    Ok(())
}
