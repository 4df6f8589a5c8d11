//! Metrics: series, ticks, and the frames they travel in. Pure.
//!
//! Every value is an integer; a series' `scale` says which power of ten it counts in (`value × 10^scale` in the unit
//! its name ends with). Counters travel raw, as the kernel counts them; whoever reads makes rates of them
//! ([`rate_per_second`]), so that no tick is lost to rounding and a missed frame costs resolution, not truth.

mod codec;
pub mod names;
mod unit;
pub mod varint;

pub use codec::{CodecError, decode, encode, newest, select};
pub use unit::unit;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire;

/// Most ticks in a frame.
pub const MAX_TICKS_PER_FRAME: usize = 60;
/// Most series a host may have alive at once; the agent drops those of the youngest containers and counts them.
pub const MAX_SERIES_PER_HOST: usize = 40_000;
/// Largest payload of a frame, decompressed, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 4 << 20;
/// Longest series name and label, in bytes.
pub const MAX_NAME_BYTES: usize = 200;
/// Most labels of a series.
pub const MAX_LABELS: usize = 8;

/// A series' number within its epoch.
pub type SeriesId = u32;

/// Whether a series counts up or stands at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesKind {
    Gauge,
    Counter,
}

/// What a series is: its name and labels identify it, scale and kind say how to read its integers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub scale: i32,
    pub kind: SeriesKind,
}

impl Series {
    /// `integer` in the unit the series' name ends with.
    #[must_use]
    pub fn to_unit(&self, integer: i64) -> f64 {
        // Division by a whole power of ten is exact where multiplication by its inverse is not.
        if self.scale < 0 { integer as f64 / 10f64.powi(-self.scale) } else { integer as f64 * 10f64.powi(self.scale) }
    }
}

/// Columns of values over the same ticks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Sample times, microseconds since the epoch, strictly increasing.
    pub ticks_us: Vec<i64>,
    /// By series id, ascending; each as long as `ticks_us`; `None` where there was no sample.
    pub values: Vec<(SeriesId, Vec<Option<i64>>)>,
}

/// The ticks of a payload, and the values of some series at the last two of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Newest {
    /// As in [`Columns`].
    pub ticks_us: Vec<i64>,
    /// Of each wanted series, in the order in which they were named: at the last tick but one, and at the last.
    pub values: Vec<[Option<i64>; 2]>,
}

/// A declaration that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeries {
    #[error("a series name must be 1 to {MAX_NAME_BYTES} bytes of a-z, 0-9 and _")]
    Name,
    #[error(
        "a series has at most {MAX_LABELS} labels of at most {MAX_NAME_BYTES} bytes each, without control characters"
    )]
    Labels,
    #[error("a series scale is between -12 and 12")]
    Scale,
    #[error("a series is a gauge or a counter")]
    Kind,
}

impl TryFrom<wire::SeriesDeclaration> for Series {
    type Error = InvalidSeries;

    fn try_from(declaration: wire::SeriesDeclaration) -> Result<Self, InvalidSeries> {
        let kind = match declaration.kind() {
            wire::SeriesKind::Gauge => SeriesKind::Gauge,
            wire::SeriesKind::Counter => SeriesKind::Counter,
            wire::SeriesKind::Unspecified => return Err(InvalidSeries::Kind),
        };
        let name_fits = |name: &str| {
            !name.is_empty()
                && name.len() <= MAX_NAME_BYTES
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !name_fits(&declaration.name) {
            return Err(InvalidSeries::Name);
        }
        let labels_fit = declaration.labels.len() <= MAX_LABELS
            && declaration.labels.iter().all(|(label, value)| {
                name_fits(label) && value.len() <= MAX_NAME_BYTES && !value.chars().any(char::is_control)
            });
        if !labels_fit {
            return Err(InvalidSeries::Labels);
        }
        if !(-12..=12).contains(&declaration.scale) {
            return Err(InvalidSeries::Scale);
        }
        Ok(Self {
            name: declaration.name,
            labels: declaration.labels.into_iter().collect(),
            scale: declaration.scale,
            kind,
        })
    }
}

impl Series {
    /// The declaration of this series as `id`.
    #[must_use]
    pub fn declare(&self, id: SeriesId) -> wire::SeriesDeclaration {
        wire::SeriesDeclaration {
            id,
            name: self.name.clone(),
            labels: self.labels.clone().into_iter().collect(),
            scale: self.scale,
            kind: match self.kind {
                SeriesKind::Gauge => wire::SeriesKind::Gauge.into(),
                SeriesKind::Counter => wire::SeriesKind::Counter.into(),
            },
        }
    }
}

/// A counter's rate between two samples, per second in the counter's own integers. `None` when time did not advance;
/// a counter that fell was reset, and then counts from zero (Prometheus' rule).
#[must_use]
pub fn rate_per_second(before: (i64, i64), after: (i64, i64)) -> Option<f64> {
    let ((t0_us, v0), (t1_us, v1)) = (before, after);
    let elapsed_us = t1_us.checked_sub(t0_us).filter(|elapsed| *elapsed > 0)?;
    Some(grown(v0, v1) as f64 * 1e6 / elapsed_us as f64)
}

/// What a counter grew from one reading to the next: one that fell was reset, and grew from zero.
#[must_use]
pub fn grown(before: i64, after: i64) -> i64 {
    if after >= before { after.saturating_sub(before) } else { after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_survive_resets_and_standing_clocks() {
        assert_eq!(rate_per_second((0, 100), (2_000_000, 300)), Some(100.0));
        assert_eq!(rate_per_second((0, 100), (1_000_000, 50)), Some(50.0));
        assert_eq!(rate_per_second((5, 100), (5, 300)), None);
    }

    #[test]
    fn declarations_read_back_and_hostile_ones_are_refused() {
        let series = Series {
            name: "host_cpu_seconds_total".into(),
            labels: BTreeMap::from([("mode".into(), "user".into())]),
            scale: -6,
            kind: SeriesKind::Counter,
        };
        assert_eq!(Series::try_from(series.declare(7)), Ok(series.clone()));
        let mut hostile = series.declare(7);
        hostile.name = "a{b=\"c\"}".into();
        assert_eq!(Series::try_from(hostile), Err(InvalidSeries::Name));
        let mut hostile = series.declare(7);
        hostile.labels.insert("x".into(), "a\u{1b}[31m".into());
        assert_eq!(Series::try_from(hostile), Err(InvalidSeries::Labels));
    }
}
