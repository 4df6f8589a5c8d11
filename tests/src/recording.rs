//! A machine as its agent saw it for some time: real samples for benches.
//!
//! A recording is a file of lines, each a JSON object of a minute: `declared`, the series that appeared with their
//! numbers; `encoding` and `payload`, a frame's columns in hexadecimal digits.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use muster_agent::sample::{Sampler, SamplerOptions};
use muster_shared::{
    metric::{self, Series, SeriesId},
    wire::FrameEncoding,
};
use serde::Deserialize;

/// A series' integers by time, in microseconds since the epoch.
pub type Samples = BTreeMap<Series, Vec<(i64, i64)>>;

/// Recorded samples.
#[derive(Debug, Default)]
pub struct Recording {
    samples: Samples,
}

#[derive(Deserialize)]
struct Minute {
    declared: Vec<(SeriesId, Series)>,
    encoding: i32,
    payload: String,
}

impl Recording {
    /// Samples this machine for so many seconds.
    #[must_use]
    pub fn of_this_machine(seconds: usize) -> Self {
        let mut sampler = Sampler::new(Path::new("/"), &SamplerOptions::default());
        let (mut names, mut samples) = (HashMap::new(), Samples::new());
        for _ in 0..seconds {
            let now_us = now_us();
            let wait_us = 1_000_000 - now_us % 1_000_000;
            #[allow(clippy::disallowed_methods, reason = "samples are taken each whole second")]
            thread::sleep(Duration::from_micros(wait_us.unsigned_abs()));
            let tick = sampler.tick(self::now_us());
            names.extend(tick.declared);
            for (id, value) in tick.values {
                if let Some(series) = names.get(&id) {
                    samples.entry(series.clone()).or_default().push((tick.at_us, value));
                }
            }
        }
        Self { samples }
    }

    /// Reads a recording.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let (mut names, mut samples) = (HashMap::new(), Samples::new());
        for line in text.lines() {
            let minute: Minute = serde_json::from_str(line)?;
            names.extend(minute.declared);
            let columns = metric::decode(FrameEncoding::try_from(minute.encoding)?, &hex::decode(&minute.payload)?)?;
            for (id, values) in &columns.values {
                let Some(series) = names.get(id) else { continue };
                let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
                samples.entry(series.clone()).or_default().extend(points);
            }
        }
        Ok(Self { samples })
    }

    /// What was recorded.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.samples
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
