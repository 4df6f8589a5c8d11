//! The values of a simulated host's series: computed, so that whoever reads them back can compute them again. Pure.

use muster_shared::metric::{SeriesId, SeriesKind};

const SECOND_US: i64 = 1_000_000;
/// One of so many seeded gauges moves each second; the others move with the minute, as most of a host's series hardly do.
const MOVING: u32 = 4;

/// How a host's values are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// [`series_value`]: the same on every host.
    Plain,
    /// Of this host alone: what is stored under another host, series or time is noticed.
    Seeded(u64),
}

impl Values {
    /// The integer of a series at a time.
    #[must_use]
    pub fn of(self, series: SeriesId, kind: SeriesKind, tick_us: i64) -> i64 {
        match self {
            Self::Plain => series_value(series, tick_us),
            Self::Seeded(seed) => seeded_value(seed, series, kind, tick_us.div_euclid(SECOND_US)),
        }
    }
}

/// The value of a series at a time: the same for whoever asks, a quarter of the series moving from second to second.
#[must_use]
pub fn series_value(series: SeriesId, tick_us: i64) -> i64 {
    let second = tick_us / SECOND_US;
    match series {
        0 => second * 250_000,
        1 => second * 750_000,
        2 | 4 => 64 << 30,
        3 | 5 => 16 << 30,
        6 | 7 => second * 1000,
        _ if series.is_multiple_of(4) => second % 97 * i64::from(series),
        _ => i64::from(series) * 1000,
    }
}

fn seeded_value(seed: u64, series: SeriesId, kind: SeriesKind, second: i64) -> i64 {
    let of = |moment: i64| mixed(seed ^ mixed(u64::from(series)) ^ mixed(moment.unsigned_abs()).rotate_left(17));
    match kind {
        // A thousand a second and a part that is always less: it never falls.
        SeriesKind::Counter => second * 1000 + small(of(second), 1000),
        SeriesKind::Gauge if series.is_multiple_of(MOVING) => small(of(second), 4096),
        SeriesKind::Gauge => small(of(second.div_euclid(60)), 1 << 20),
    }
}

fn small(dice: u64, below: u32) -> i64 {
    i64::try_from(dice % u64::from(below)).unwrap_or_default()
}

/// Every bit of the answer hangs on every bit of `number` (SplitMix64).
#[must_use]
pub fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_fall_and_hosts_seconds_and_series_differ() {
        let counter = |second: i64| Values::Seeded(7).of(3, SeriesKind::Counter, second * SECOND_US);
        assert!((0..1000).all(|second| counter(second) < counter(second + 1)));
        let column = |seed, series| -> Vec<_> {
            (0..60).map(|second| Values::Seeded(seed).of(series, SeriesKind::Gauge, second * SECOND_US)).collect()
        };
        assert_eq!(column(1, 8), column(1, 8));
        assert_ne!(column(1, 8), column(2, 8));
        assert_ne!(column(1, 8), column(1, 12));
        let repeated = column(1, 8).windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(repeated < 5, "{repeated}");
    }
}
