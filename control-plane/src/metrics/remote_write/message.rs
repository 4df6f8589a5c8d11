//! The protobuf messages of remote-write 1.0, and how frames become them. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use muster_shared::{
    id::ServerId,
    metric::{Columns, SeriesId},
};
use prost::Message as _;

use super::catalogue::Known;
use crate::metrics::{identity, prometheus};

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::metrics) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`: labels sorted by name, samples by time.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::metrics) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in crate::metrics) struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `prometheus.Sample`: its time in milliseconds since the epoch.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(in crate::metrics) struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// Samples of frames, by series in the order of their first.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Gathered {
    series: Vec<(ServerId, TimeSeries)>,
    places: HashMap<(ServerId, u64, SeriesId), usize>,
    /// Whether series are told so that they can be read back exactly.
    is_exact: bool,
    offsets: HashMap<ServerId, usize>,
}

/// The content of one request.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Part {
    series: Vec<(ServerId, TimeSeries)>,
}

impl Gathered {
    /// For an engine that is the metric store: what is written there is read back as it was.
    pub(in crate::metrics) fn exact() -> Self {
        Self { is_exact: true, ..Self::default() }
    }

    /// Adds a frame; series that nothing is known of, or that Prometheus can't have, are left out.
    pub(in crate::metrics) fn add(&mut self, (server, epoch): (ServerId, u64), columns: &Columns, known: &Known) {
        for (id, values) in &columns.values {
            let Some(series) = known.series(*id).filter(|series| prometheus::is_exportable(series)) else { continue };
            let samples = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| {
                Some(Sample { value: series.to_unit((*value)?), timestamp: at_us.div_euclid(1000) })
            });
            let place = self.places.entry((server, epoch, *id)).or_insert_with(|| {
                let typed = identity::typed(series);
                let mut own = prometheus::labels(series, &known.labels);
                if self.is_exact {
                    own.extend(typed.iter().map(|(label, value)| (*label, value.as_str())));
                }
                self.series.push((server, TimeSeries { labels: named(&series.name, own), samples: Vec::new() }));
                self.series.len() - 1
            });
            self.series[*place].1.samples.extend(samples);
        }
        if self.is_exact {
            self.add_offsets(server, columns, known);
        }
    }

    /// Adds what is left of the ticks' times behind their milliseconds.
    fn add_offsets(&mut self, server: ServerId, columns: &Columns, known: &Known) {
        let offsets = columns
            .ticks_us
            .iter()
            .filter(|at_us| **at_us % 1000 != 0)
            .map(|at_us| Sample { value: at_us.rem_euclid(1000) as f64, timestamp: at_us.div_euclid(1000) });
        let mut offsets = offsets.peekable();
        if offsets.peek().is_none() {
            return;
        }
        let place = self.offsets.entry(server).or_insert_with(|| {
            let own = known.labels.iter().filter(|(label, _)| *label != "server");
            let own = own.map(|(label, value)| (label.as_str(), value.as_str())).collect();
            self.series.push((server, TimeSeries { labels: named(identity::OFFSET, own), samples: Vec::new() }));
            self.series.len() - 1
        });
        self.series[*place].1.samples.extend(offsets);
    }

    /// Requests of at most `max_samples`, but for a series that alone has more.
    pub(in crate::metrics) fn parts(self, max_samples: usize) -> Vec<Part> {
        let (mut parts, mut samples) = (Vec::<Part>::new(), 0);
        for (server, series) in self.series.into_iter().filter(|(_, series)| !series.samples.is_empty()) {
            let more = series.samples.len();
            if parts.is_empty() || samples + more > max_samples {
                parts.push(Part::default());
                samples = 0;
            }
            samples += more;
            if let Some(part) = parts.last_mut() {
                part.series.push((server, series));
            }
        }
        parts
    }
}

fn named(name: &str, labels: BTreeMap<&str, &str>) -> Vec<Label> {
    let all = std::iter::once(("__name__", name)).chain(labels);
    all.map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() }).collect()
}

impl Part {
    /// How many samples are in it.
    pub(in crate::metrics) fn samples(&self) -> usize {
        self.series.iter().map(|(_, series)| series.samples.len()).sum()
    }

    /// Each server's samples by themselves.
    pub(in crate::metrics) fn by_server(self) -> Vec<Self> {
        let mut parts = BTreeMap::<ServerId, Self>::new();
        for (server, series) in self.series {
            parts.entry(server).or_default().series.push((server, series));
        }
        parts.into_values().collect()
    }

    /// The request's body: protobuf under snappy's block format.
    pub(in crate::metrics) fn encode(&self) -> Bytes {
        let request = WriteRequest { timeseries: self.series.iter().map(|(_, series)| series.clone()).collect() };
        // A request is far below the 4 GiB that snappy takes.
        snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latest_tests::series;

    fn known() -> Known {
        let labels = BTreeMap::from([("server".to_owned(), "web-1".to_owned())]);
        Known::of(
            labels,
            [(1, series("host_load_1m", &[], -2)), (2, series("bytes_total", &[("zone", "a"), ("device", "b")], 0))],
        )
    }

    fn columns(first_us: i64) -> Columns {
        let ticks_us = vec![first_us, first_us + 1_000_000];
        let values = vec![(1, vec![Some(25), None]), (2, vec![Some(7), Some(8)]), (3, vec![Some(1), Some(1)])];
        Columns { ticks_us, values }
    }

    #[test]
    fn frames_become_series_with_sorted_labels_and_times() {
        let (server, mut gathered) = (ServerId::generate(), Gathered::default());
        gathered.add((server, 1), &columns(1_000_137), &known());
        gathered.add((server, 1), &columns(3_000_137), &known());
        let parts = gathered.parts(100);
        assert_eq!((parts.len(), parts[0].samples()), (1, 6));
        let plain = snap::raw::Decoder::new().decompress_vec(&parts[0].encode()).expect("snappy");
        let request = WriteRequest::decode(plain.as_slice()).expect("protobuf");
        let names = |series: &TimeSeries| {
            series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect::<Vec<_>>().join(",")
        };
        assert_eq!(names(&request.timeseries[0]), "__name__=host_load_1m,server=web-1");
        assert_eq!(names(&request.timeseries[1]), "__name__=bytes_total,device=b,server=web-1,zone=a");
        assert_eq!(request.timeseries[0].samples[1], Sample { value: 0.25, timestamp: 3_000 });
    }

    #[test]
    fn what_is_written_exactly_says_what_it_counts_in_and_where_its_milliseconds_began() {
        let (server, mut gathered) = (ServerId::generate(), Gathered::exact());
        gathered.add((server, 1), &columns(1_000_137), &known());
        gathered.add((server, 1), &columns(5_000_000), &known());
        let series: Vec<_> = gathered.series.into_iter().map(|(_, series)| series).collect();
        let labels = |at: usize| {
            series[at]
                .labels
                .iter()
                .map(|label| format!("{}={}", label.name, label.value))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(labels(0), "__name__=host_load_1m,muster_kind=gauge,muster_scale=-2,server=web-1");
        assert_eq!(labels(2), "__name__=muster_sample_offset_microseconds");
        let offset = |timestamp| Sample { value: 137.0, timestamp };
        assert_eq!(series[2].samples, [offset(1_000), offset(2_000)], "whole milliseconds need none");
    }

    #[test]
    fn requests_are_bounded_and_taken_apart_by_server() {
        let mut gathered = Gathered::default();
        for server in [ServerId::generate(), ServerId::generate()] {
            gathered.add((server, 1), &columns(1_000_000), &known());
        }
        let parts = gathered.parts(5);
        assert_eq!(parts.iter().map(Part::samples).collect::<Vec<_>>(), [4, 2]);
        let alone: Vec<_> = parts.into_iter().flat_map(Part::by_server).map(|part| part.samples()).collect();
        assert_eq!(alone.iter().sum::<usize>(), 6);
        assert_eq!(alone.len(), 3);
    }
}
