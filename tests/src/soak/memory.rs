//! Whether a process' memory is flat, however often it was killed meanwhile. Pure.
//!
//! Each life has a level of its own, so what counts is how memory grows within lives: one slope fitted to all of them,
//! each around its own mean, leaving out how a life warms up.

use std::{fmt::Write as _, time::Duration};

/// Less than this of warm lives says nothing about minutes.
const SHORTEST_WARM: Duration = Duration::from_secs(120);

/// Resident memory over a run.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    readings: Vec<Reading>,
    lives: Vec<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Duration,
    life: usize,
    bytes: u64,
}

impl Memory {
    /// A new process begins at `at`.
    pub fn begin_life(&mut self, at: Duration) {
        self.lives.push(at);
    }

    /// Takes down what the process of the latest life holds.
    pub fn take(&mut self, at: Duration, bytes: u64) {
        self.readings.push(Reading { at, life: self.lives.len(), bytes });
    }

    /// The most it ever held, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.readings.iter().map(|reading| reading.bytes).max().unwrap_or_default()
    }

    /// The first reading, then one every `every`, as a table.
    #[must_use]
    pub fn table(&self, every: Duration) -> String {
        let mut table = "| after | life | resident |\n| --- | --- | --- |\n".to_owned();
        let mut next = Duration::ZERO;
        for reading in &self.readings {
            if reading.at >= next {
                let mib = reading.bytes as f64 / f64::from(1 << 20);
                let _ = writeln!(table, "| {} s | {} | {mib:.1} MiB |", reading.at.as_secs(), reading.life);
                let begun = reading.at.as_secs_f64() / every.as_secs_f64();
                next = every.mul_f64(begun.floor() + 1.0);
            }
        }
        table
    }

    /// How much it grew in warm lives, in bytes a minute; `None` where there was too little to tell.
    #[must_use]
    pub fn growth_bytes_a_minute(&self, warm_up: Duration) -> Option<f64> {
        let (mut of_both, mut of_time, mut length) = (0.0, 0.0, 0.0);
        for (life, begun) in (1..).zip(&self.lives) {
            let warm = |reading: &&Reading| reading.life == life && reading.at >= *begun + warm_up;
            let points: Vec<_> = self
                .readings
                .iter()
                .filter(warm)
                .map(|reading| (reading.at.as_secs_f64() / 60.0, reading.bytes as f64))
                .collect();
            let [(first, _), .., (last, _)] = points[..] else { continue };
            let count = points.len() as f64;
            let mean_at = points.iter().map(|(at, _)| at).sum::<f64>() / count;
            let mean_bytes = points.iter().map(|(_, bytes)| bytes).sum::<f64>() / count;
            for (at, bytes) in &points {
                of_both += (at - mean_at) * (bytes - mean_bytes);
                of_time += (at - mean_at).powi(2);
            }
            length += last - first;
        }
        (length * 60.0 >= SHORTEST_WARM.as_secs_f64()).then(|| of_both / of_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARM_UP: Duration = Duration::from_secs(60);

    /// Lives of five minutes that warm up for one, from other levels, and then grow by so much a minute.
    fn lives(growth: u64) -> Memory {
        let mut memory = Memory::default();
        for life in 0..3u64 {
            memory.begin_life(Duration::from_secs(life * 300));
            for second in 0..300 {
                let warm = second.min(60) * 100_000;
                let bytes = 50_000_000 + life * 9_000_000 + warm + growth * second / 60;
                memory.take(Duration::from_secs(life * 300 + second), bytes);
            }
        }
        memory
    }

    #[test]
    fn growth_is_found_within_lives_and_warming_up_is_none() {
        for growth in [0, 60_000] {
            let found = lives(growth).growth_bytes_a_minute(WARM_UP).expect("enough");
            assert!((found - growth as f64).abs() < 100.0, "{found} of {growth}");
        }
        let mut short = Memory::default();
        short.begin_life(Duration::ZERO);
        (0..100).for_each(|second| short.take(Duration::from_secs(second), 1));
        assert_eq!(short.growth_bytes_a_minute(WARM_UP), None);
    }

    #[test]
    fn the_table_begins_with_the_start_and_goes_by_minutes() {
        let table = lives(0).table(WARM_UP);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows.len(), 15, "{table}");
        assert!(rows[0].starts_with("| 0 s | 1 | 47.7") && rows[5].starts_with("| 300 s | 2 |"), "{table}");
        assert_eq!(lives(0).peak_bytes(), 50_000_000 + 18_000_000 + 6_000_000);
    }
}
