//! Buckets in the making, of samples and of what was put together before. Pure.

use std::{collections::BTreeMap, ops::Range};

use muster_shared::metric::Series;

use super::{
    Points,
    steps::{Bucket, Reader, Steps},
};

/// What series were in each step, as far as it was gathered.
#[derive(Debug)]
pub(super) struct Gathering {
    steps: Steps,
    buckets: BTreeMap<Series, Vec<Bucket>>,
    readers: BTreeMap<Series, Reader>,
}

impl Gathering {
    pub(super) fn new(steps: Steps) -> Self {
        Self { steps, buckets: BTreeMap::new(), readers: BTreeMap::new() }
    }

    /// Forgets what the next rates would be made with.
    pub(super) fn begin_run(&mut self) {
        self.readers.clear();
    }

    /// Takes in a part of the step that `at_us` is in.
    pub(super) fn merge(&mut self, series: &Series, at_us: i64, bucket: &Bucket) {
        let Some(place) = self.steps.place(at_us) else { return };
        if !self.buckets.contains_key(series) {
            self.buckets.insert(series.clone(), vec![Bucket::default(); self.steps.count()]);
        }
        if let Some(known) = self.buckets.get_mut(series).and_then(|buckets| buckets.get_mut(place)) {
            known.merge(bucket);
        }
    }

    /// Takes in samples, in order of time within a run; those outside of `run` only help to make rates.
    pub(super) fn take(&mut self, series: &Series, points: &Points, run: &Range<i64>) {
        let mut reader = self.readers.get(series).copied().unwrap_or_default();
        let mut buckets = self.buckets.remove(series).unwrap_or_else(|| vec![Bucket::default(); self.steps.count()]);
        for reading in points.iter().filter_map(|point| reader.read(series.kind, *point)) {
            if run.contains(&reading.at_us)
                && let Some(bucket) = self.steps.place(reading.at_us).and_then(|place| buckets.get_mut(place))
            {
                bucket.take(&reading);
            }
        }
        self.buckets.insert(series.clone(), buckets);
        self.readers.insert(series.clone(), reader);
    }

    /// Every series' steps.
    pub(super) fn finish(self) -> BTreeMap<Series, Vec<Bucket>> {
        self.buckets
    }
}
