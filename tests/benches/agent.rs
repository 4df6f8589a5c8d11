//! The agent beside netdata and prometheus-node-exporter: processor time, memory and size at one sample a second.
//!
//! Each in turn runs alone, is left to settle and measured, round after round, so that what else the machine does falls
//! on all of them. `cargo test --bench agent` runs one short round to show that it works; `just bench agent` measures.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

mod peers;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use muster_tests::{
    agent::Agent,
    binaries,
    control_plane::ControlPlane,
    measure::{self, Usage, median},
    stored,
};
use peers::Peer;

/// How much is measured.
struct Plan {
    rounds: usize,
    settle: Duration,
    window: Duration,
}

impl Plan {
    /// `cargo bench` says `--bench`; `cargo test` does not.
    fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self { rounds: 3, settle: Duration::from_secs(20), window: Duration::from_secs(60) }
        } else {
            Self { rounds: 1, settle: Duration::from_secs(2), window: Duration::from_secs(3) }
        }
    }
}

/// The figures of one subject, a value a round.
#[derive(Debug, Default)]
struct Figures {
    name: String,
    scheduled_percent: Vec<f64>,
    ticks_percent: Vec<f64>,
    pss_mib: Vec<f64>,
    program_mib: f64,
}

impl Figures {
    async fn add(&mut self, plan: &Plan, root: u32, each_second: impl AsyncFn()) -> Result<()> {
        pass(plan.settle, &each_second).await;
        let before = Usage::of(root)?;
        pass(plan.window, &each_second).await;
        let spent = Usage::of(root)?.since(&before);
        self.scheduled_percent.push(spent.scheduled_percent);
        self.ticks_percent.push(spent.ticks_percent);
        self.pss_mib.push(measure::pss_bytes(root)? as f64 / f64::from(1 << 20));
        Ok(())
    }

    fn row(&self) -> String {
        if self.scheduled_percent.is_empty() {
            return format!("| {} | | | | |", self.name);
        }
        let range = |values: &[f64]| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(0.0, f64::max);
            format!("{:.3} ({low:.3}–{high:.3})", median(values))
        };
        format!(
            "| {} | {} | {} | {:.1} | {:.1} |",
            self.name,
            range(&self.scheduled_percent),
            range(&self.ticks_percent),
            median(&self.pss_mib),
            self.program_mib
        )
    }
}

async fn pass(duration: Duration, each_second: &impl AsyncFn()) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..duration.as_secs() {
        second.tick().await;
        each_second().await;
    }
}

async fn measure_agent(plan: &Plan, figures: &mut Figures) -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let agent = Agent::join(&control_plane, "measured").await?;
    figures.add(plan, agent.process_id()?, async || {}).await?;
    let series = stored::series_count(control_plane.database()).await?;
    figures.name = format!("muster-agent, {series} series");
    figures.program_mib = mib(&binaries::muster_agent())?;
    Ok(())
}

async fn measure_peer(plan: &Plan, figures: &mut Figures, peer: Peer) -> Result<()> {
    let Some(running) = peer.start().await? else {
        figures.name = format!("{}: not installed", peer.name());
        return Ok(());
    };
    figures.add(plan, running.root()?, async || running.ask().await).await?;
    figures.name = running.name();
    figures.program_mib = mib(peer.program())?;
    Ok(())
}

fn mib(program: &Path) -> Result<f64> {
    let bytes = std::fs::metadata(program).with_context(|| program.display().to_string())?.len();
    Ok(bytes as f64 / f64::from(1 << 20))
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::from_arguments();
    let (mut agent, mut netdata, mut exporter) = (Figures::default(), Figures::default(), Figures::default());
    for round in 1..=plan.rounds {
        println!("round {round} of {}", plan.rounds);
        measure_agent(&plan, &mut agent).await?;
        measure_peer(&plan, &mut netdata, Peer::Netdata).await?;
        measure_peer(&plan, &mut exporter, Peer::NodeExporter).await?;
    }
    println!(
        "\n{} rounds of {} s each, in turn\n| subject | % of a core, schedstat | utime + stime | PSS, MiB | program, MiB |\n| --- | --- | --- | --- | --- |",
        plan.rounds,
        plan.window.as_secs()
    );
    for figures in [&agent, &netdata, &exporter] {
        println!("{}", figures.row());
    }
    for peer in [&netdata, &exporter].into_iter().filter(|peer| !peer.scheduled_percent.is_empty()) {
        println!(
            "{} costs {:.1} times the agent's processor time and {:.1} times its memory",
            peer.name,
            median(&peer.scheduled_percent) / median(&agent.scheduled_percent),
            median(&peer.pss_mib) / median(&agent.pss_mib)
        );
    }
    Ok(())
}
