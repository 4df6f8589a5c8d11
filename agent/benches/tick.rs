//! What one tick costs on this host: processor time of the sampling thread, by `schedstat`.
//!
//! ```text
//! cargo bench -p muster-agent --bench tick -- [TICKS] [INTERVAL_MS] [ROOT]
//! ```

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::disallowed_methods, reason = "ticks come at an interval, and nothing happens in between")]

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use muster_agent::sample::{Sampler, SamplerOptions};

const WARM_UP_TICKS: usize = 12;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let ticks: usize = arguments.next().and_then(|ticks| ticks.parse().ok()).unwrap_or(60);
    let interval = Duration::from_millis(arguments.next().and_then(|ms| ms.parse().ok()).unwrap_or(100));
    let root = arguments.next().map_or_else(|| PathBuf::from("/"), PathBuf::from);

    let mut sampler = Sampler::new(&root, &SamplerOptions::default());
    // Seconds apart in the sampler's own time, so that slow parts run as often as they do in service.
    let mut now_us = 0;
    let mut tick = || {
        now_us += 1_000_000;
        sampler.tick(now_us)
    };
    for _ in 0..WARM_UP_TICKS {
        tick();
    }
    let mut walls = Vec::with_capacity(ticks);
    let mut series = 0;
    let busy_before = busy_nanoseconds();
    for _ in 0..ticks {
        thread::sleep(interval);
        let started = Instant::now();
        series = tick().values.len();
        walls.push(started.elapsed());
    }
    let busy = Duration::from_nanos(busy_nanoseconds().saturating_sub(busy_before));
    walls.sort_unstable();
    let a_tick = busy / u32::try_from(ticks.max(1)).unwrap_or(u32::MAX);
    println!("series  ticks  cpu a tick  wall p50  wall max  share of a core at 1 Hz");
    println!(
        "{series:>6}  {ticks:>5}  {:>7.0} µs  {:>5.0} µs  {:>5.0} µs  {:.3} %",
        micros(a_tick),
        micros(walls[walls.len() / 2]),
        micros(walls[walls.len() - 1]),
        micros(a_tick) / 1e4,
    );
}

/// Time this thread has spent on a processor.
fn busy_nanoseconds() -> u64 {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|busy| busy.parse().ok()).unwrap_or(0)
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}
