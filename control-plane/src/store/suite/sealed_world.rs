//! A server whose samples are known, and what every question about them must be answered with.

use std::{collections::BTreeMap, sync::Arc};

use muster_shared::metric::{self, Columns, Series, SeriesKind};

use super::*;
use crate::{
    clock::Clock,
    metrics::{
        Asked, Budget, Declarations, History, MetricStore, Selection, SeriesQuery,
        block::rollup::rounded,
        compact::{Compacted, compact_due},
        query,
        seal::{GRACE_US, seal_due},
        steps::{Bucket, HOUR_US, Reader, Steps},
    },
    store::FrameRow,
};

/// A whole hour.
pub(super) const START_US: i64 = NOW_US / HOUR_US * HOUR_US;
pub(super) const GAUGE: &str = "host_memory_available_bytes";
pub(super) const COUNTER: &str = "host_network_receive_bytes_total";
/// Noise, so much of it that an hour's stripes are stored by themselves.
pub(super) const NOISE: &str = "host_filesystem_available_bytes";
/// Of a container: declared by itself, some time later.
pub(super) const PASSING: &str = "container_memory_bytes";

/// Microseconds since the epoch and integer, by series.
pub(super) type Known = BTreeMap<Series, BTreeMap<i64, i64>>;

pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) server: ServerId,
    pub(super) history: History,
    pub(super) clock: Clock,
    pub(super) known: Known,
    seq: u64,
}

pub(super) fn series() -> Vec<(u32, Series)> {
    let of = |name: &str, label: &str, value: &str, kind| Series {
        name: name.to_owned(),
        labels: BTreeMap::from([(label.to_owned(), value.to_owned())]),
        scale: 0,
        kind,
    };
    vec![
        (1, of(GAUGE, "node", "0", SeriesKind::Gauge)),
        (2, of(NOISE, "mountpoint", "/", SeriesKind::Gauge)),
        (3, of(NOISE, "mountpoint", "/home", SeriesKind::Gauge)),
        (4, of(COUNTER, "device", "eth0", SeriesKind::Counter)),
        (5, of(COUNTER, "device", "eth1", SeriesKind::Counter)),
        (6, of(NOISE, "mountpoint", "/var", SeriesKind::Gauge)),
        (9, of(PASSING, "container", "0123456789ab", SeriesKind::Gauge)),
    ]
}

/// Values as hosts have them: a gauge that wanders, counters that grow and now and then begin anew.
fn value(id: u32, second: i64) -> i64 {
    let mixed = second.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i64::from(id));
    let noise = (mixed >> 33).rem_euclid(1000);
    match id {
        // As many bits as can be shown exactly.
        2 | 3 | 6 => (mixed ^ (mixed >> 29)).wrapping_mul(0x2545_f491_4f6c_dd1d) >> 14,
        1 | 9 => 5_000_000 + 40 * noise,
        4 => (second.rem_euclid(5_000)) * 1_000 + noise,
        _ => second * 7,
    }
}

impl World {
    pub(super) async fn new(store: Store) -> Self {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let clock = Clock::standing_at(START_US);
        let history = History::new(fleet.store.clone(), fleet.events.clone(), clock.clone());
        Self { fleet, server, history, clock, known: Known::new(), seq: 0 }
    }

    /// A frame of `ticks` seconds from `second` on, counted from [`START_US`], and remembers what is in it. One in ten
    /// gauges is left out.
    pub(super) fn frame(&mut self, epoch: u64, second: i64, ticks: usize) -> FrameRow {
        self.seq += 1;
        let at = |tick: usize| START_US + (second + tick as i64) * SECOND_US + 137;
        let mut columns = Columns { ticks_us: (0..ticks).map(at).collect(), values: Vec::new() };
        for (id, series) in series() {
            let values: Vec<_> = (0..ticks)
                .map(|tick| {
                    let second = second + tick as i64;
                    (id != 1 || second % 10 != 3).then(|| value(id, second))
                })
                .collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            let of_series = self.known.entry(series).or_default();
            of_series
                .extend(columns.ticks_us.iter().zip(&values).filter_map(|(at_us, value)| Some((*at_us, (*value)?))));
            columns.values.push((id, values));
        }
        let (encoding, payload) = metric::encode(&columns);
        let (host, container): (Vec<_>, Vec<_>) = series().into_iter().partition(|(id, _)| *id != 9);
        FrameRow {
            server_id: self.server,
            epoch,
            seq: self.seq,
            first_us: at(0),
            last_us: at(ticks - 1),
            ticks: ticks as u32,
            encoding,
            payload: payload.into(),
            declares: vec![Arc::new(Declarations::of(host)), Arc::new(Declarations::of(container))],
        }
    }

    /// Frames of ten seconds over `seconds`.
    pub(super) fn frames(&mut self, epoch: u64, seconds: std::ops::Range<i64>) -> Vec<FrameRow> {
        seconds.step_by(10).map(|second| self.frame(epoch, second, 10)).collect()
    }

    pub(super) async fn store_frames(&self, frames: &[FrameRow]) {
        for some in frames.chunks(300) {
            self.fleet.store.insert_frames(some).await.expect("stored");
        }
    }

    /// Seals what is due once `hours` since the start are over.
    pub(super) async fn seal_after(&self, hours: i64) -> crate::metrics::seal::Sealed {
        self.clock.advance(START_US + hours * HOUR_US + GRACE_US - self.clock.now_us());
        seal_due(&self.history).await.expect("sealed")
    }

    pub(super) fn selection() -> Selection {
        Selection::new([GAUGE, NOISE, COUNTER, PASSING].map(str::to_owned), []).expect("metrics")
    }

    /// Makes days of what is due `hours` after the start.
    pub(super) async fn compact_after(&self, hours: i64) -> Compacted {
        self.clock.advance(START_US + hours * HOUR_US - self.clock.now_us());
        compact_due(&self.history).await.expect("looked")
    }

    /// Fails unless every question about `hours` from the start has the answer that the known samples give.
    pub(super) async fn check(&self, hours: i64) {
        for (from, to, step) in questions(hours) {
            let steps = Steps::new(START_US + from * SECOND_US, START_US + to * SECOND_US - 1, Some(step * SECOND_US));
            self.check_steps(steps.expect("good")).await;
        }
        let all = (START_US - HOUR_US, START_US + hours * HOUR_US);
        let read = self
            .history
            .samples((self.fleet.org, self.server), &Self::selection(), all, &mut Budget::of(100_000_000))
            .await
            .expect("read");
        for (series, points) in &self.known {
            let expected: Vec<_> = points.range(all.0..all.1).map(|(at_us, value)| (*at_us, *value)).collect();
            let found = read.get(series).cloned().unwrap_or_default();
            assert!(found == expected, "{series:?}: {} samples instead of {}", found.len(), expected.len());
        }
    }

    async fn check_steps(&self, steps: Steps) {
        let asked = SeriesQuery { selection: Self::selection(), steps, group: None, top: None };
        let whom = [Asked { server: self.server, labels: BTreeMap::new() }];
        let found =
            query(&MetricStore::Embedded(self.history.clone()), self.fleet.org, &whom, &asked).await.expect("answered");
        let expected = expected(&self.known, steps);
        let named: BTreeMap<_, _> = found.iter().map(|one| ((one.metric.clone(), one.labels.clone()), one)).collect();
        assert_eq!(named.len(), expected.len(), "{steps:?}");
        for (series, buckets) in expected {
            let found = named[&(series.name.clone(), series.labels.clone())];
            for (at, bucket) in buckets.iter().enumerate() {
                let place = || format!("{} at step {at} of {steps:?}", series.name);
                match bucket.mean(series.kind) {
                    None => assert!(found.avg[at].is_nan(), "{}", place()),
                    Some(mean) => {
                        let end = |end: f64| {
                            let is_rounded = series.kind == SeriesKind::Counter && steps.step_us >= 60 * SECOND_US;
                            if is_rounded { rounded(end) } else { end }
                        };
                        let expected = (end(bucket.min), mean, end(bucket.max));
                        assert_eq!((found.min[at], found.avg[at], found.max[at]), expected, "{}", place());
                    }
                }
            }
        }
    }
}

/// From, to and step in seconds since the start: within an hour, over edges, of every resolution.
fn questions(hours: i64) -> Vec<(i64, i64, i64)> {
    let end = hours * 3_600;
    vec![
        (0, end, 7),
        (3_590, 3_615, 1),
        (3_500, 7_300, 10),
        (0, end, 60),
        (3_600, 7_200, 60),
        (1_800, end - 900, 300),
        (0, end, 3_600),
        (0, end, 5_400),
        // No whole number of minutes: of single samples, and a step that begins before the first of them.
        (0, end, 97),
        (0, end, 86_400),
    ]
}

/// What the samples say, made of them one by one.
fn expected(known: &Known, steps: Steps) -> BTreeMap<Series, Vec<Bucket>> {
    let mut expected = BTreeMap::new();
    for (series, points) in known {
        let (mut buckets, mut reader) = (vec![Bucket::default(); steps.count()], Reader::default());
        for (at_us, value) in points {
            if let Some(reading) = reader.read(series.kind, (*at_us, *value))
                && let Some(place) = steps.place(reading.at_us)
            {
                buckets[place].take(&reading);
            }
        }
        if buckets.iter().any(|bucket| bucket.weight > 0) {
            expected.insert(series.clone(), buckets);
        }
    }
    expected
}
