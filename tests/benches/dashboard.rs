//! What the dashboard costs a browser: a cold load of the fleet and of a server, figures that move each second, and ten
//! thousand rows scrolled. Everything is taken from the browser's own records (`tests/dashboard/measure.js`).
//!
//! `cargo test --bench dashboard` looks at a few hundred servers to show that it works; `just bench dashboard` at ten
//! thousand.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use anyhow::Result;
use muster_tests::{
    agent::Agent,
    control_plane::ControlPlane,
    fleet::{Fleet, Pace},
    large_fleet,
    patience::SOON,
    scenario::Scenario,
};
use serde_json::Value;

/// Hosts whose figures move; each has three lines in the fleet's table.
const LIVE_HOSTS: usize = 7;
/// Series of a simulated host: those that a summary is made of.
const SERIES: u32 = 9;

struct Plan {
    servers: usize,
    loads: usize,
    live_seconds: usize,
    scroll_seconds: usize,
}

impl Plan {
    /// `cargo bench` says `--bench`; `cargo test` does not.
    fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self { servers: 10_000, loads: 7, live_seconds: 60, scroll_seconds: 10 }
        } else {
            Self { servers: 300, loads: 1, live_seconds: 3, scroll_seconds: 1 }
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::from_arguments();
    let control_plane = ControlPlane::start().await?;
    let _agent = Agent::join(&control_plane, "web-1").await?;
    let mut fleet = Fleet::enrol(&control_plane, LIVE_HOSTS, SERIES).await?;
    fleet.start(control_plane.address(), Pace::second());
    fleet.all_online(SOON).await?;
    let more = [
        ("MUSTER_BENCH_SERVERS", plan.servers.to_string()),
        ("MUSTER_BENCH_LOADS", plan.loads.to_string()),
        ("MUSTER_BENCH_LIVE_SECONDS", plan.live_seconds.to_string()),
        ("MUSTER_BENCH_SCROLL_SECONDS", plan.scroll_seconds.to_string()),
    ];
    let more: Vec<_> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut scenario = Scenario::start("measure", &control_plane, &more)?;
    scenario.says("fill now").await?;
    large_fleet::fill(&control_plane, plan.servers - LIVE_HOSTS - 1).await?;
    let figures = serde_json::from_str(&scenario.says("figures ").await?)?;
    scenario.passes().await?;
    fleet.settle(SOON).await?;
    fleet.stop().await;
    print(&plan, &figures);
    Ok(())
}

fn print(plan: &Plan, figures: &Value) {
    let of = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    println!("\n| the dashboard; live and scrolled, with {} servers | |\n| --- | --- |", plan.servers);
    for (page, load) in figures["loads"].as_object().into_iter().flatten() {
        println!(
            "| {page} page, cold: compressed, requests, interactive | {:.1} KiB, {}, {:.2} s |",
            of(&load["bytes"]) / 1024.0,
            load["requests"],
            of(&load["interactive"]) / 1e3
        );
    }
    for live in figures["live"].as_array().into_iter().flatten() {
        println!(
            "| {} page, {} live series: its process, the whole browser | {:.1} %, {:.1} % of a core |",
            live["what"].as_str().unwrap_or_default(),
            live["series"],
            of(&live["page"]),
            of(&live["browser"])
        );
    }
    for scroll in figures["scrolls"].as_array().into_iter().flatten() {
        println!(
            "| fleet scrolled at {} pixels a second: frames shown, with nothing missing | {:.0}, {:.0} a second |",
            scroll["speed"],
            of(&scroll["shown"]),
            of(&scroll["whole"])
        );
    }
}
