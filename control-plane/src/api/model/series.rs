//! Samples over a range, as callers see them.

use std::collections::BTreeMap;

use muster_shared::metric::SeriesKind;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use crate::metrics::SeriesPoints;

/// The samples of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({
    "metric": "host_memory_available_bytes", "from": "2025-01-15T10:30:00Z", "to": "2025-01-15T10:30:02Z",
    "series": [{ "labels": {}, "kind": "gauge", "points": [[1_736_937_000.0, 5_368_709_120.0]] }]
}))]
pub struct SeriesAnswer {
    pub metric: String,
    pub from: Time,
    pub to: Time,
    /// One entry a set of labels.
    pub series: Vec<LabelledSeries>,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LabelledSeries {
    pub labels: BTreeMap<String, String>,
    /// `gauge` or `counter`.
    pub kind: String,
    /// Sample time in seconds since the epoch, and value in the unit the metric's name ends with.
    #[schema(value_type = Vec<Vec<f64>>)]
    pub points: Vec<(f64, f64)>,
}

impl SeriesAnswer {
    /// The answer for `metric` over `range_us`.
    #[must_use]
    pub fn of(metric: String, (from_us, to_us): (i64, i64), found: Vec<SeriesPoints>) -> Self {
        let series = found.into_iter().map(|found| LabelledSeries {
            labels: found.series.labels,
            kind: match found.series.kind {
                SeriesKind::Gauge => "gauge".to_owned(),
                SeriesKind::Counter => "counter".to_owned(),
            },
            points: found.points.into_iter().map(|(at_us, value)| (at_us as f64 / 1e6, value)).collect(),
        });
        Self { metric, from: Time(from_us), to: Time(to_us), series: series.collect() }
    }
}
