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
        let reader = self.readers.entry(series.clone()).or_default();
        let new = || vec![Bucket::default(); self.steps.count()];
        let buckets = self.buckets.entry(series.clone()).or_insert_with(new);
        let (before, rest) = points.split_at(points.partition_point(|(at_us, _)| *at_us < run.start));
        let (mut within, after) = rest.split_at(rest.partition_point(|(at_us, _)| *at_us < run.end));
        reader.bucket(series.kind, &before[before.len().saturating_sub(1)..]);
        while let Some((first_us, _)) = within.first() {
            let step_us = self.steps.step_of(*first_us);
            let (of_step, others) = within.split_at(within.partition_point(|(at_us, _)| *at_us < step_us.end));
            let bucket = reader.bucket(series.kind, of_step);
            if let Some(known) = self.steps.place(*first_us).and_then(|place| buckets.get_mut(place)) {
                known.merge(&bucket);
            }
            within = others;
        }
        reader.bucket(series.kind, &after[after.len().saturating_sub(1)..]);
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
            self.step_us = self.steps.step_of(at_us);
            self.place = self.steps.place(at_us);
        }
        self.place
    }
}
