//! Buckets in the making, of samples and of what was put together before. Pure.

use std::{collections::BTreeMap, ops::Range};

use muster_shared::metric::{Series, SeriesKind};

use super::steps::{Bucket, Reader, Steps};

/// What series were in each step, as far as it was gathered.
#[derive(Debug)]
pub(super) struct Gathering {
    steps: Steps,
    gathered: BTreeMap<Series, Gathered>,
}

/// What one series was.
#[derive(Debug)]
struct Gathered {
    buckets: Vec<Bucket>,
    /// The first sample of this run that makes a difference to it, and what the next one is compared with.
    first: Option<(i64, i64)>,
    reader: Reader,
}

impl Gathering {
    pub(super) fn new(steps: Steps) -> Self {
        Self { steps, gathered: BTreeMap::new() }
    }

    /// The steps.
    pub(super) fn steps(&self) -> Steps {
        self.steps
    }

    /// Forgets what the next rates would be made with.
    pub(super) fn begin_run(&mut self) {
        for gathered in self.gathered.values_mut() {
            (gathered.first, gathered.reader) = (None, Reader::default());
        }
    }

    fn with(&mut self, series: &Series, gather: impl FnOnce(&mut Gathered)) {
        // Most series are known, and a copy of one costs more than looking for it.
        if !self.gathered.contains_key(series) {
            let buckets = vec![Bucket::default(); self.steps.count()];
            self.gathered.insert(series.clone(), Gathered { buckets, first: None, reader: Reader::default() });
        }
        if let Some(gathered) = self.gathered.get_mut(series) {
            gather(gathered);
        }
    }

    /// Takes in parts of the steps that their moments are in.
    pub(super) fn merge(&mut self, series: &Series, parts: impl Iterator<Item = (i64, Bucket)>) {
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return;
        }
        let mut place = Place::new(self.steps);
        self.with(series, |gathered| {
            for (at_us, part) in parts {
                if let Some(bucket) = place.of(at_us).and_then(|place| gathered.buckets.get_mut(place)) {
                    bucket.merge(&part);
                }
            }
        });
    }

    /// Takes in samples, in order of time within a run; those outside of `run` only help to make rates.
    pub(super) fn take(&mut self, series: &Series, points: &[(i64, i64)], run: &Range<i64>) {
        let steps = self.steps;
        self.with(series, |gathered| gathered.take(steps, series.kind, (points, run)));
    }

    /// Takes in what was gathered of the same run by itself: all of it is later than what is here, and its steps are among
    /// these.
    pub(super) fn join(&mut self, later: Self, run: &Range<i64>) {
        let steps = self.steps;
        let begin = steps.place(later.steps.bounds_us().0).unwrap_or(usize::MAX);
        for (series, later) in later.gathered {
            self.with(&series, |gathered| gathered.join(steps, series.kind, (later, begin), run));
        }
    }

    /// Every series' steps.
    pub(super) fn finish(self) -> BTreeMap<Series, Vec<Bucket>> {
        self.gathered.into_iter().map(|(series, gathered)| (series, gathered.buckets)).collect()
    }
}

impl Gathered {
    fn take(&mut self, steps: Steps, kind: SeriesKind, (points, run): (&[(i64, i64)], &Range<i64>)) {
        let (before, rest) = points.split_at(points.partition_point(|(at_us, _)| *at_us < run.start));
        let (mut within, after) = rest.split_at(rest.partition_point(|(at_us, _)| *at_us < run.end));
        self.first = self.first.or(before.last().or(rest.first()).copied());
        self.reader.bucket(kind, &before[before.len().saturating_sub(1)..]);
        while let Some((first_us, _)) = within.first() {
            let step_us = steps.step_of(*first_us);
            let (of_step, others) = within.split_at(within.partition_point(|(at_us, _)| *at_us < step_us.end));
            let bucket = self.reader.bucket(kind, of_step);
            if let Some(known) = steps.place(*first_us).and_then(|place| self.buckets.get_mut(place)) {
                known.merge(&bucket);
            }
            within = others;
        }
        self.reader.bucket(kind, &after[after.len().saturating_sub(1)..]);
    }

    /// `later`'s steps begin at this one's step `begin`.
    fn join(&mut self, steps: Steps, kind: SeriesKind, (later, begin): (Self, usize), run: &Range<i64>) {
        if let Some(first) = later.first {
            // The rate between the two is one of the later time.
            if kind == SeriesKind::Counter && run.contains(&first.0) {
                let between = self.reader.bucket(kind, &[first]);
                if let Some(known) = steps.place(first.0).and_then(|place| self.buckets.get_mut(place)) {
                    known.merge(&between);
                }
            }
            (self.first, self.reader) = (self.first.or(later.first), later.reader);
        }
        let places = self.buckets.iter_mut().skip(begin);
        places.zip(&later.buckets).for_each(|(bucket, later)| bucket.merge(later));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::steps::SECOND_US, *};

    proptest! {
        #[test]
        fn what_is_gathered_by_parts_and_joined_is_the_whole(
            points in prop::collection::vec((1i64..90 * SECOND_US, -4i64..9), 0..60),
            cuts in prop::collection::vec(0usize..60, 0..4),
            run in (0i64..900, 0i64..900),
            step in 1i64..120,
            chunk in 1usize..9,
        ) {
            let mut at_us = 0;
            let points: Vec<_> = points.into_iter().map(|(step_us, value)| { at_us += step_us; (at_us, value) }).collect();
            let run = run.0 * SECOND_US..(run.0 + run.1) * SECOND_US + 1;
            let steps = Steps::new(run.start, run.end - 1, Some(step * SECOND_US)).expect("good");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(points.len())).chain([0, points.len()]).collect();
            cuts.sort_unstable();
            for kind in [SeriesKind::Gauge, SeriesKind::Counter] {
                let series = Series { name: "x".into(), labels: [].into(), scale: 0, kind };
                let (mut whole, mut joined) = (Gathering::new(steps), Gathering::new(steps));
                whole.take(&series, &points, &run);
                for cut in cuts.windows(2) {
                    let of_part = &points[cut[0]..cut[1]];
                    let Some(((first_us, _), (last_us, _))) = of_part.first().zip(of_part.last()) else { continue };
                    let mut part = Gathering::new(steps.part(&(*first_us..*last_us + 1)));
                    of_part.chunks(chunk).for_each(|points| part.take(&series, points, &run));
                    joined.join(part, &run);
                }
                let whole = whole.finish();
                if !points.is_empty() {
                    prop_assert_eq!(&joined.finish(), &whole);
                }
            }
        }
    }
}
