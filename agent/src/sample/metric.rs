//! What a metric is: the constant part of its series, from which the documentation is written too.

use std::collections::BTreeMap;

use muster_shared::metric::{MAX_NAME_BYTES, Series, SeriesKind};

use crate::os::text;

/// A metric, of which each set of label values is one series.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: SeriesKind,
    /// The power of ten its integers count in.
    pub scale: i32,
    pub labels: &'static [&'static str],
    /// One sentence for the reader of a chart.
    pub help: &'static str,
}

/// Microseconds as seconds.
pub(super) const MICRO: i32 = -6;

impl Metric {
    pub(super) const fn counter(
        name: &'static str,
        scale: i32,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: SeriesKind::Counter, scale, labels, help }
    }

    pub(super) const fn gauge(
        name: &'static str,
        scale: i32,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: SeriesKind::Gauge, scale, labels, help }
    }

    /// The series of this metric with these label values, in the order of [`Metric::labels`]. Empty values are left
    /// out; values from outside are made fit to be shown.
    pub(super) fn series(&self, values: &[&str]) -> Series {
        let labels = self
            .labels
            .iter()
            .zip(values)
            .map(|(label, value)| ((*label).to_owned(), text::clean_to(value, MAX_NAME_BYTES)));
        let labels: BTreeMap<_, _> = labels.filter(|(_, value)| !value.is_empty()).collect();
        Series { name: self.name.to_owned(), labels, scale: self.scale, kind: self.kind }
    }
}
