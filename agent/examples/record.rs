//! Records a machine second by second, for the benches that read `MUSTER_BENCH_RECORDING`.
//!
//! ```text
//! cargo run --release -p muster-agent --example record -- SECONDS > FILE
//! ```
//! A line is a JSON object of a minute: `declared`, the series that appeared with their numbers; `encoding` and `payload`,
//! the minute's columns in hexadecimal digits. A recording that is broken off can be read up to its last whole minute.

#![allow(clippy::print_stdout, reason = "the recording is what it prints")]

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use muster_agent::sample::{Sampler, SamplerOptions};
use muster_shared::metric::{self, Columns, Series, SeriesId};

const MINUTE: usize = 60;

fn main() -> Result<()> {
    let seconds: usize = std::env::args().nth(1).context("how many seconds?")?.parse().context("SECONDS")?;
    let mut sampler = Sampler::new(Path::new("/"), &SamplerOptions::default());
    for minute in (0..seconds).step_by(MINUTE) {
        let ticks = MINUTE.min(seconds - minute);
        let (mut declared, mut ticks_us) = (Vec::<(SeriesId, Series)>::new(), Vec::with_capacity(ticks));
        let mut values: BTreeMap<SeriesId, Vec<Option<i64>>> = BTreeMap::new();
        for at in 0..ticks {
            let tick = sampler.tick(next_second_us());
            ticks_us.push(tick.at_us);
            declared.extend(tick.declared);
            for (id, value) in tick.values {
                values.entry(id).or_insert_with(|| vec![None; ticks])[at] = Some(value);
            }
        }
        let (encoding, payload) = metric::encode(&Columns { ticks_us, values: values.into_iter().collect() });
        let encoding = i32::from(encoding);
        let line = serde_json::json!({ "declared": declared, "encoding": encoding, "payload": hex::encode(payload) });
        println!("{line}");
    }
    Ok(())
}

/// Waits for the next whole second; what the clock says then.
fn next_second_us() -> i64 {
    let wait_us = 1_000_000 - now_us() % 1_000_000;
    #[allow(clippy::disallowed_methods, reason = "samples are taken each whole second")]
    thread::sleep(Duration::from_micros(wait_us.unsigned_abs()));
    now_us()
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
