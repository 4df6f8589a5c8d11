//! How old a second is when somebody sees it: from the kernel of this machine, over the real agent and a real control
//! plane, to a reader of server-sent events that watches at one second.
//!
//! Two things are measured. Each point carries the time at which the agent read the kernel: its age on arrival. And the
//! kernel is changed at a known moment, by opening or closing many files at once, until a point shows it: that counts the
//! wait for the next sample as well. Changes are spread over the second, so that none of its moments is left out.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

use std::{fs::File, time::Duration};

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    agent::Agent,
    control_plane::ControlPlane,
    fleet::now_us,
    measure,
    patience::{SOON, held_to},
    rest::Events,
};
use tokio::time::{Instant, sleep_until, timeout};

/// The promise from the kernel to the reader.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
/// How often the kernel is changed: up and down in turn.
const CHANGES: u32 = 24;
/// Files opened or closed at once: far more than come and go on a machine within a second.
const FILES: usize = 2000;
const METRIC: &str = "host_open_files";

/// A point as it arrived.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    /// How old the reading of the kernel was by then.
    age_ms: f64,
    value: f64,
}

async fn next(events: &mut Events) -> Result<Seen> {
    loop {
        let event = timeout(SOON, events.next()).await.context("no point in time")??.context("the stream's end")?;
        if event.name == "point"
            && let Some(value) = event.data["values"][0].as_f64()
        {
            let read_ms = event.data["t"].as_i64().context("a time")?;
            return Ok(Seen { at: Instant::now(), age_ms: now_us() as f64 / 1e3 - read_ms as f64, value });
        }
    }
}

fn open_files() -> Result<Vec<File>> {
    (0..FILES).map(|_| File::open("/dev/null").context("opening one more file")).collect()
}

/// Reads points until one is younger than `moment`; answers the last one before.
async fn last_before(events: &mut Events, moment: Instant, ages: &mut Vec<f64>) -> Result<Option<Seen>> {
    let mut last = None;
    loop {
        tokio::select! {
            biased;
            seen = next(events) => {
                let seen = seen?;
                ages.push(seen.age_ms);
                last = Some(seen);
            }
            () = sleep_until(moment) => return Ok(last),
        }
    }
}

/// A row of the table; answers the 99th percentile.
fn show(what: &str, times_ms: &[f64]) -> f64 {
    let [p50, p99, most] = [50, 99, 100].map(|percent| measure::percentile(times_ms, percent));
    println!("| {what} | {} | {p50:.0} ms | {p99:.0} ms | {most:.0} ms |", times_ms.len());
    p99
}

/// Measures time, so by itself.
mod alone {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_kernel_counts_is_seen_within_two_seconds() -> Result<()> {
        measure::raise_descriptor_limit();
        let control_plane = ControlPlane::start().await?;
        let agent = Agent::join(&control_plane, "watched").await?;
        let id = agent.shown(&control_plane).await?["id"].as_str().context("an id")?.to_owned();
        let path = format!("/api/v1/monitoring/servers/{id}/series/live?metric={METRIC}");
        let mut events = control_plane.rest().follow(&path).await?;
        // Two points a second apart: the host knows that it is watched.
        let mut level = next(&mut events).await?;
        loop {
            let seen = next(&mut events).await?;
            let apart = seen.at - std::mem::replace(&mut level, seen).at;
            if (Duration::from_millis(500)..Duration::from_millis(1500)).contains(&apart) {
                break;
            }
        }

        let (mut ages_ms, mut changes_ms, mut files) = (Vec::new(), Vec::new(), Vec::new());
        for change in 0..CHANGES {
            let moment = Instant::now() + Duration::from_secs(1).mul_f64(f64::from(change) / f64::from(CHANGES));
            level = last_before(&mut events, moment, &mut ages_ms).await?.unwrap_or(level);
            let begun = Instant::now();
            let rises = files.is_empty();
            files = if rises { open_files()? } else { Vec::new() };
            let least = FILES as f64 / 2.0;
            loop {
                let seen = next(&mut events).await?;
                ages_ms.push(seen.age_ms);
                let moved = seen.value - level.value;
                if (rises && moved >= least) || (!rises && moved <= -least) {
                    changes_ms.push((seen.at - begun).as_secs_f64() * 1e3);
                    level = seen;
                    break;
                }
                ensure!(begun.elapsed() < SOON, "{FILES} files more or less were never seen: {seen:?} after {level:?}");
            }
        }
        println!("| from the kernel to the reader | times | p50 | p99 | most |\n| --- | --- | --- | --- | --- |");
        let age = show("a reading's age on arrival", &ages_ms);
        let seen = show("a change until it is seen", &changes_ms);
        let within = held_to(SEEN_WITHIN).as_secs_f64() * 1e3;
        ensure!(age <= within && seen <= within, "p99 {age:.0} and {seen:.0} ms, {within:.0} ms promised");
        Ok(())
    }
}
