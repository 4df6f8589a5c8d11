//! Series over a range and as they arrive, as callers see them.

use std::collections::BTreeMap;

use muster_shared::{metric::SeriesKind, wire};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::metrics::{self, Point, Stepped, steps::Steps};

/// Series, step by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "from": "2025-01-15T10:30:00Z", "to": "2025-01-15T10:30:20Z", "step_ms": 10_000,
    "series": [{
        "metric": "host_network_receive_bytes_total", "labels": { "device": "eth0" }, "unit": "bytes/s",
        "t": [1_736_937_000_000_u64, 1_736_937_010_000_u64, 1_736_937_020_000_u64],
        "min": [1024.0, null, 980.0], "avg": [1536.5, null, 1010.25], "max": [2048.0, null, 1100.0]
    }]
}))]
pub struct SeriesAnswer {
    pub from: Time,
    pub to: Time,
    pub step_ms: i64,
    pub series: Vec<SteppedSeries>,
}

/// One series. Counters are rates per second. All lists are equally long; `null` is a gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SteppedSeries {
    pub metric: String,
    pub labels: BTreeMap<String, String>,
    /// `bytes`, `seconds`, `cores`, `percent`, `ratio` or `1`; of a counter's rate with `/s`.
    pub unit: String,
    /// Where steps begin, milliseconds since the epoch.
    pub t: Vec<i64>,
    pub min: Vec<Option<f64>>,
    /// Weighed by time.
    pub avg: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
}

impl SeriesAnswer {
    /// What was found in `steps`.
    #[must_use]
    pub fn of(steps: Steps, found: Vec<Stepped>) -> Self {
        let t: Vec<_> = steps.starts_us().map(|start| start / 1000).collect();
        let series = found.into_iter().map(|found| SteppedSeries {
            metric: found.metric,
            labels: found.labels,
            unit: found.unit,
            t: t.clone(),
            min: found.min.into_iter().map(known).collect(),
            avg: found.avg.into_iter().map(known).collect(),
            max: found.max.into_iter().map(known).collect(),
        });
        let series = series.collect();
        Self { from: Time(steps.from_us), to: Time(steps.to_us), step_ms: steps.step_us / 1000, series }
    }
}

fn known(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

fn or_gap(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

/// Something that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "name": "host_network_receive_bytes_total", "unit": "bytes/s", "kind": "counter", "labels": ["device"]
}))]
pub struct Metric {
    pub name: String,
    /// What its series are answered in.
    pub unit: String,
    /// `gauge` or `counter`.
    pub kind: String,
    pub labels: Vec<String>,
}

impl From<metrics::Metric> for Metric {
    fn from(metric: metrics::Metric) -> Self {
        let kind = match metric.kind {
            SeriesKind::Gauge => "gauge",
            SeriesKind::Counter => "counter",
        };
        Self { name: metric.name, unit: metric.unit, kind: kind.to_owned(), labels: metric.labels }
    }
}

/// What a follower of series is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SeriesEvent {
    /// Which series points have values of, in this order, from now on.
    Series { series: Vec<WatchedSeries> },
    /// Milliseconds since the epoch, and a value a series.
    Point { t: i64, values: Vec<Option<f64>> },
}

/// A series that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedSeries {
    pub metric: String,
    pub labels: BTreeMap<String, String>,
    pub unit: String,
}

impl SeriesEvent {
    /// A point as it is told.
    #[must_use]
    pub fn point(point: Point) -> Self {
        Self::Point { t: point.at_us / 1000, values: point.values.into_iter().map(known).collect() }
    }

    /// Its name in a stream of server-sent events.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Series { .. } => "series",
            Self::Point { .. } => "point",
        }
    }
}

impl From<SeriesAnswer> for wire::QuerySeriesResponse {
    fn from(answer: SeriesAnswer) -> Self {
        let series = answer.series.into_iter().map(|series| wire::SteppedSeries {
            metric: series.metric,
            labels: series.labels.into_iter().collect(),
            unit: series.unit,
            t: series.t,
            min: series.min.into_iter().map(or_gap).collect(),
            avg: series.avg.into_iter().map(or_gap).collect(),
            max: series.max.into_iter().map(or_gap).collect(),
        });
        let series = series.collect();
        Self { from: Some(answer.from.into()), to: Some(answer.to.into()), step_ms: answer.step_ms, series }
    }
}

impl From<wire::QuerySeriesResponse> for SeriesAnswer {
    fn from(answer: wire::QuerySeriesResponse) -> Self {
        let series = answer.series.into_iter().map(|series| SteppedSeries {
            metric: series.metric,
            labels: series.labels.into_iter().collect(),
            unit: series.unit,
            t: series.t,
            min: series.min.into_iter().map(known).collect(),
            avg: series.avg.into_iter().map(known).collect(),
            max: series.max.into_iter().map(known).collect(),
        });
        let series = series.collect();
        let time = |time: Option<prost_types::Timestamp>| time.map_or(Time(0), Time::from);
        Self { from: time(answer.from), to: time(answer.to), step_ms: answer.step_ms, series }
    }
}

impl From<Metric> for wire::Metric {
    fn from(metric: Metric) -> Self {
        Self { name: metric.name, unit: metric.unit, kind: metric.kind, labels: metric.labels }
    }
}

impl From<wire::Metric> for Metric {
    fn from(metric: wire::Metric) -> Self {
        Self { name: metric.name, unit: metric.unit, kind: metric.kind, labels: metric.labels }
    }
}

impl From<SeriesEvent> for wire::SeriesEvent {
    fn from(event: SeriesEvent) -> Self {
        use wire::series_event::Kind;
        let kind = match event {
            SeriesEvent::Series { series } => {
                let series = series.into_iter().map(|series| wire::WatchedSeries {
                    metric: series.metric,
                    labels: series.labels.into_iter().collect(),
                    unit: series.unit,
                });
                Kind::Series(wire::WatchedSeriesList { series: series.collect() })
            }
            SeriesEvent::Point { t, values } => {
                Kind::Point(wire::SeriesPoint { t, values: values.into_iter().map(or_gap).collect() })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl SeriesEvent {
    /// What a message tells; `None` for what this version does not know.
    #[must_use]
    pub fn read(event: wire::SeriesEvent) -> Option<Self> {
        use wire::series_event::Kind;
        Some(match event.kind? {
            Kind::Series(list) => {
                let series = list.series.into_iter().map(|series| WatchedSeries {
                    metric: series.metric,
                    labels: series.labels.into_iter().collect(),
                    unit: series.unit,
                });
                SeriesEvent::Series { series: series.collect() }
            }
            Kind::Point(point) => {
                SeriesEvent::Point { t: point.t, values: point.values.into_iter().map(known).collect() }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_null_in_json_and_survive_the_wire() {
        let steps = Steps::new(0, 1_999_999, Some(1_000_000)).expect("good");
        let stepped = Stepped {
            metric: "up".into(),
            labels: BTreeMap::new(),
            unit: "1".into(),
            min: vec![1.0, f64::NAN],
            avg: vec![1.5, f64::NAN],
            max: vec![2.0, f64::NAN],
        };
        let answer = SeriesAnswer::of(steps, vec![stepped]);
        let json = serde_json::to_value(&answer).expect("JSON");
        assert_eq!(json["series"][0]["avg"], serde_json::json!([1.5, null]));
        assert_eq!(json["series"][0]["t"], serde_json::json!([0, 1000]));
        assert_eq!(SeriesAnswer::from(wire::QuerySeriesResponse::from(answer.clone())), answer);
    }
}
