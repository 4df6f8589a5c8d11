//! What many agents cost the control plane: processor time per agent-second, memory per agent, what a scrape of all of
//! them costs, how long they take to be back when it was killed, and how long its API takes to answer meanwhile.
//!
//! `cargo test --bench fleet` runs a small fleet to show that it works; `just bench fleet` measures a thousand hosts.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::{
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use muster::metrics::prometheus::MAX_EXPORT_SERIES;
use muster_tests::{
    control_plane::ControlPlane,
    fleet::{Fleet, Pace},
    measure::{self, Usage, percentile_ms},
    rest::Rest,
};
use tokio_util::sync::CancellationToken;

/// Longest until all are online or back.
const ONLINE_LIMIT: Duration = Duration::from_secs(120);
/// Between two questions to the API while the fleet reconnects.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How much is measured.
struct Plan {
    hosts: usize,
    /// How many come first: memory per agent is the slope from these to all.
    few: usize,
    series: u32,
    window: Duration,
    pace: Pace,
    scrapes: usize,
    kills: usize,
}

impl Plan {
    /// `cargo bench` says `--bench`; `cargo test` does not.
    fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            // Ten seconds in a frame, as hosts send while nobody watches.
            let pace = Pace { period: Duration::from_secs(10), ticks: 10 };
            Self { hosts: 1000, few: 100, series: 400, window: Duration::from_secs(120), pace, scrapes: 9, kills: 3 }
        } else {
            let (window, pace) = (Duration::from_secs(4), Pace::second());
            Self { hosts: 20, few: 5, series: 40, window, pace, scrapes: 3, kills: 1 }
        }
    }
}

struct Reconnect {
    ready: Duration,
    all_back: Duration,
    calls: Vec<Duration>,
}

/// Kills the control plane under the fleet, and asks its API all the while until every host is back.
async fn reconnect(control_plane: &mut ControlPlane, fleet: &Fleet) -> Result<Reconnect> {
    let begun = Instant::now();
    control_plane.kill().await?;
    let ready = control_plane.start_again().await?;
    let back = CancellationToken::new();
    let asking = ask_until(back.clone(), control_plane.rest().clone());
    let online = fleet.all_online(ONLINE_LIMIT).await;
    let all_back = begun.elapsed();
    back.cancel();
    let calls = tokio::task::spawn_blocking(|| asking.join()).await?;
    online?;
    Ok(Reconnect { ready, all_back, calls: calls.ok().context("the asking thread panicked")?? })
}

/// Asks from a thread of its own: what counts is how long the control plane takes, not how long an answer waits behind
/// the simulated hosts of this process.
fn ask_until(back: CancellationToken, rest: Rest) -> JoinHandle<Result<Vec<Duration>>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut calls = Vec::new();
            while back.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_some() {
                let asked = Instant::now();
                rest.get("/api/v1/vms?limit=100").await?;
                calls.push(asked.elapsed());
            }
            Ok(calls)
        })
    })
}

/// What it costs to export every host's newest values once.
struct Scraped {
    /// Answers that the fleet takes: one holds so many series at most.
    answers: usize,
    times: Vec<Duration>,
    bytes: usize,
    /// Processor time of the control plane, beside what it takes for the agents meanwhile.
    cpu: Duration,
}

/// Scrapes the whole fleet again and again, by as many answers as it takes, split by the last digit of the hosts' names.
async fn scrape(control_plane: &ControlPlane, plan: &Plan, idle_percent: f64) -> Result<Scraped> {
    let answers = (plan.hosts * (plan.series as usize + 2)).div_ceil(MAX_EXPORT_SERIES);
    let ends = |answer: usize| (0..10).filter(move |digit| digit % answers == answer);
    let paths: Vec<_> = (0..answers)
        .map(|answer| {
            let ends: Vec<_> = ends(answer).map(|digit| format!("name.endsWith(%22{digit}%22)")).collect();
            format!("/api/v1/metrics/export?filter={}", ends.join("%7c%7c"))
        })
        .collect();
    let before = Usage::of(control_plane.process_id()?)?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..plan.scrapes {
        let (begun, mut up) = (Instant::now(), 0);
        bytes = 0;
        for path in &paths {
            let answer = control_plane.rest().call(http::Method::GET, path, None).await?;
            ensure!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text);
            bytes += answer.text.len();
            up += answer
                .text
                .lines()
                .filter(|line| line.starts_with("muster_server_up{") && line.ends_with(" 1"))
                .count();
        }
        times.push(begun.elapsed());
        ensure!(up == plan.hosts, "{up} of {} hosts are exported", plan.hosts);
    }
    let spent = Usage::of(control_plane.process_id()?)?.since(&before);
    let cpu = spent.scheduled.saturating_sub(spent.over.mul_f64(idle_percent / 100.0));
    Ok(Scraped { answers, times, bytes, cpu: cpu / u32::try_from(plan.scrapes)? })
}

#[tokio::main]
async fn main() -> Result<()> {
    measure::raise_descriptor_limit();
    let plan = Plan::from_arguments();
    let mut control_plane = ControlPlane::start().await?;
    let mut fleet = Fleet::enrol(&control_plane, plan.hosts, plan.series).await?;
    let empty_bytes = measure::rss_bytes(control_plane.process_id()?);
    fleet.start_some(control_plane.address(), plan.pace, plan.few);
    fleet.all_online(ONLINE_LIMIT).await?;
    tokio::time::sleep(2 * plan.pace.period).await;
    let few_bytes = measure::rss_bytes(control_plane.process_id()?);

    let (begun, more) = (Instant::now(), plan.hosts - plan.few);
    fleet.start(control_plane.address(), plan.pace);
    fleet.all_online(ONLINE_LIMIT).await?;
    println!("{more} hosts with {} series each online after {} ms", plan.series, begun.elapsed().as_millis());
    tokio::time::sleep(2 * plan.pace.period).await;

    let before = Usage::of(control_plane.process_id()?)?;
    let ticks: u64 = fleet.hosts().iter().map(|host| host.history().ticks()).sum();
    tokio::time::sleep(plan.window).await;
    let spent = Usage::of(control_plane.process_id()?)?.since(&before);
    let ticks = fleet.hosts().iter().map(|host| host.history().ticks()).sum::<u64>() - ticks;
    let full_bytes = measure::rss_bytes(control_plane.process_id()?);
    let agent_seconds = plan.hosts as f64 * spent.over.as_secs_f64();
    let samples = ticks as f64 * f64::from(plan.series);

    println!("\n| {} hosts, {} series, {} s | |\n| --- | --- |", plan.hosts, plan.series, spent.over.as_secs());
    println!("| control plane's CPU | {:.2} % of a core |", spent.scheduled_percent);
    println!("| per agent-second | {:.1} µs |", spent.scheduled.as_secs_f64() * 1e6 / agent_seconds);
    println!("| samples, TLS to durable | {:.2} M/s a core |", samples / spent.scheduled.as_secs_f64() / 1e6);
    let per_agent = full_bytes.saturating_sub(few_bytes) as f64 / more as f64 / 1024.0;
    println!("| memory per agent, stream and head | {per_agent:.1} KiB |");
    let [empty, few, full] = [empty_bytes, few_bytes, full_bytes].map(|bytes| bytes >> 20);
    println!("| resident with 0, {}, {} agents | {empty}, {few}, {full} MiB |", plan.few, plan.hosts);
    let scraped = scrape(&control_plane, &plan, spent.scheduled_percent).await?;
    println!(
        "| export of {} servers in {} answers: p50, size, control plane's CPU | {:.0} ms, {} bytes, {} ms |",
        plan.hosts,
        scraped.answers,
        percentile_ms(&scraped.times, 50),
        scraped.bytes,
        scraped.cpu.as_millis()
    );
    for kill in 1..=plan.kills {
        let back = reconnect(&mut control_plane, &fleet).await?;
        println!(
            "| SIGKILL {kill}: ready, all back, REST p99 meanwhile | {} ms, {} ms, {:.1} ms of {} calls |",
            back.ready.as_millis(),
            back.all_back.as_millis(),
            percentile_ms(&back.calls, 99),
            back.calls.len()
        );
    }
    fleet.settle(ONLINE_LIMIT).await?;
    let stored = fleet.verify(&control_plane).await?;
    println!("| stored once each, none lost, none double | {} frames, {} ticks |", stored.frames, stored.ticks);
    fleet.stop().await;
    Ok(())
}
