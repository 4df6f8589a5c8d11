//! How costs grow with the number of agents: the control plane's processor time and memory, a command's round trip while
//! all of them report, the same command to all at once, and how long a fleet is away when the control plane is killed.
//!
//! `cargo test --bench growth` shows with a few hosts that it works; `just bench growth` goes up to five thousand, and
//! writes what it found to `docs/growth.csv` and `docs/growth.svg`.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

mod measured;
mod plot;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use muster_tests::{
    control_plane::ControlPlane,
    fleet::{Fleet, Host, Pace},
    measure::{self, Usage, percentile_ms},
    rest::Rest,
};

use measured::Measured;

/// Longest until all are online or back.
const ONLINE_LIMIT: Duration = Duration::from_secs(180);
/// Commands under way at once when every host gets one.
const AT_ONCE: usize = 64;

/// How much is measured.
struct Plan {
    /// Hosts online, one measurement after another.
    counts: &'static [usize],
    series: u32,
    window: Duration,
    pace: Pace,
    /// Commands asked one after another.
    commands: usize,
    is_full: bool,
}

impl Plan {
    /// `cargo bench` says `--bench`; `cargo test` does not.
    fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            // Ten seconds in a frame, as hosts send while nobody watches.
            let pace = Pace { period: Duration::from_secs(10), ticks: 10 };
            let counts = &[10, 100, 500, 1000, 2000, 5000];
            Self { counts, series: 400, window: Duration::from_secs(40), pace, commands: 300, is_full: true }
        } else {
            let (pace, window) = (Pace::second(), Duration::from_secs(2));
            Self { counts: &[4, 8], series: 40, window, pace, commands: 10, is_full: false }
        }
    }
}

/// One command to `host`, until its end is on record and answered. A simulated host does nothing and says so.
async fn round_trip(rest: &Rest, host: &Host) -> Result<Duration> {
    let path = format!("/api/v1/vms/{}/facts/refresh", host.server_id());
    let asked = Instant::now();
    let answer = rest.call(Method::POST, &path, None).await?;
    ensure!(answer.text.contains("this host only simulates"), "{}: {}", answer.status, answer.text);
    Ok(asked.elapsed())
}

/// Kills the control plane, and answers how long the last host was away.
async fn reconnect(control_plane: &mut ControlPlane, fleet: &Fleet) -> Result<Duration> {
    let begun = Instant::now();
    control_plane.kill().await?;
    control_plane.start_again().await?;
    fleet.all_online(ONLINE_LIMIT).await?;
    Ok(begun.elapsed())
}

async fn measure(plan: &Plan, control_plane: &mut ControlPlane, fleet: &Fleet, hosts: usize) -> Result<Measured> {
    // Until what came with being online is over.
    tokio::time::sleep(2 * plan.pace.period).await;
    let before = Usage::of(control_plane.process_id()?)?;
    tokio::time::sleep(plan.window).await;
    let spent = Usage::of(control_plane.process_id()?)?.since(&before);
    let resident_bytes = measure::rss_bytes(control_plane.process_id()?);

    let online = &fleet.hosts()[..hosts];
    let rest = control_plane.rest().clone();
    let mut alone = Vec::new();
    for host in online.iter().cycle().take(plan.commands) {
        alone.push(round_trip(&rest, host).await?);
    }
    let begun = Instant::now();
    let asked = stream::iter(online).map(|host| round_trip(&rest, host)).buffer_unordered(AT_ONCE);
    let to_all: Vec<_> = asked.try_collect().await?;
    let all = begun.elapsed();
    let back = reconnect(control_plane, fleet).await?;
    let agent_seconds = hosts as f64 * spent.over.as_secs_f64();
    Ok(Measured {
        hosts,
        cpu_percent: spent.scheduled_percent,
        agent_second_us: spent.scheduled.as_secs_f64() * 1e6 / agent_seconds,
        resident_mib: resident_bytes as f64 / f64::from(1 << 20),
        command_p50_ms: percentile_ms(&alone, 50),
        command_p99_ms: percentile_ms(&alone, 99),
        all_s: all.as_secs_f64(),
        all_p99_ms: percentile_ms(&to_all, 99),
        back_s: back.as_secs_f64(),
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    measure::raise_descriptor_limit();
    let plan = Plan::from_arguments();
    let most = plan.counts.last().copied().context("a count")?;
    let mut control_plane = ControlPlane::start().await?;
    let mut fleet = Fleet::enrol(&control_plane, most, plan.series).await?;
    let mut points = Vec::new();
    println!("\n{}", Measured::HEAD);
    for &hosts in plan.counts {
        let online = points.last().map_or(0, |point: &Measured| point.hosts);
        fleet.start_some(control_plane.address(), plan.pace, hosts - online);
        fleet.all_online(ONLINE_LIMIT).await?;
        let point = measure(&plan, &mut control_plane, &fleet, hosts).await?;
        println!("{}", point.row());
        points.push(point);
    }
    fleet.settle(ONLINE_LIMIT).await?;
    let stored = fleet.verify(&control_plane).await?;
    println!("stored once each, none lost, none twice: {} frames, {} ticks", stored.frames, stored.ticks);
    fleet.stop().await;
    if plan.is_full {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        std::fs::write(docs.join("growth.csv"), measured::csv(&points))?;
        plot::draw(&docs.join("growth.svg"), &points)?;
    }
    Ok(())
}
