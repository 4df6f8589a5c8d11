//! Buckets in the making, of samples and of what was put together before. Pure.

use std::{collections::BTreeMap, ops::Range};

use muster_shared::metric::Series;

use super::steps::{Bucket, Reader, Steps};

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

    /// Takes in parts of the steps that their moments are in.
    pub(super) fn merge(&mut self, series: &Series, parts: impl Iterator<Item = (i64, Bucket)>) {
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return;
        }
        let mut place = Place::new(self.steps);
        let new = || vec![Bucket::default(); self.steps.count()];
        let buckets = self.buckets.entry(series.clone()).or_insert_with(new);
        for (at_us, part) in parts {
            if let Some(bucket) = place.of(at_us).and_then(|place| buckets.get_mut(place)) {
                bucket.merge(&part);
            }
        }
    }

    /// Takes in samples, in order of time within a run; those outside of `run` only help to make rates.
    pub(super) fn take(&mut self, series: &Series, points: &[(i64, i64)], run: &Range<i64>) {
        let mut place = Place::new(self.steps);
        let reader = self.readers.entry(series.clone()).or_default();
        let new = || vec![Bucket::default(); self.steps.count()];
        let buckets = self.buckets.entry(series.clone()).or_insert_with(new);
        for reading in points.iter().filter_map(|point| reader.read(series.kind, *point)) {
            if run.contains(&reading.at_us)
                && let Some(bucket) = place.of(reading.at_us).and_then(|place| buckets.get_mut(place))
            {
                bucket.take(&reading);
            }
        }
    }

    /// Every series' steps.
    pub(super) fn finish(self) -> BTreeMap<Series, Vec<Bucket>> {
        self.buckets
    }
}

/// Finds steps for moments that mostly are in the same one as the moment before.
#[derive(Debug)]
struct Place {
    steps: Steps,
    step_us: Range<i64>,
    place: Option<usize>,
}

impl Place {
    fn new(steps: Steps) -> Self {
        Self { steps, step_us: 0..0, place: None }
    }

    fn of(&mut self, at_us: i64) -> Option<usize> {
        if !self.step_us.contains(&at_us) {
            let begin_us = at_us.div_euclid(self.steps.step_us).saturating_mul(self.steps.step_us);
            self.step_us = begin_us..begin_us.saturating_add(self.steps.step_us);
            self.place = self.steps.place(at_us);
        }
        self.place
    }
}
