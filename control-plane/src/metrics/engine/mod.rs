//! Samples of an engine that is the metric store, put together with the newest ones that the database has.
//!
//! The database keeps every frame for an hour, and longer those that the engine does not have yet. So what lies within
//! [`KEPT_US`] is read from there alone; what is older, from both, each sample once. Frames are read first: one that is
//! forwarded meanwhile is then read twice, and counts once.
//!
//! Buckets are made here of single samples, in pieces, as the embedded store makes them. Only over ranges of more than
//! [`LONG_US`], gauges come as sums of the engine's (`means`). While the engine is away, questions are answered with what the
//! database has; where that is nothing, and where an engine that is there fails, with an error.

mod answer;
mod means;
mod queries;
mod selector;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{Series, SeriesKind},
};

pub use queries::{MAX_ANSWER_BYTES, MAX_AT_ONCE, Queries, Trouble};

use super::{
    Budget, History, Points, Selection,
    gathering::Gathering,
    history::HeadSamples,
    identity::{canonical, from_unit, read_back},
    samples::too_much,
    seal::{merged, window_of},
    steps::{Bucket, HOUR_US, MAX_RATE_GAP_US, MINUTE_US, Steps},
};
use crate::error::{Error, ErrorKind};

/// How far back the database has every sample.
pub const KEPT_US: i64 = HOUR_US;
/// Ranges that are longer take gauges from the engine's own sums, where steps are at least a minute long.
const LONG_US: i64 = 6 * HOUR_US;
/// How much is asked for at once, to begin with, at least and at most.
const FIRST_PIECE_US: i64 = 2 * HOUR_US;
const MIN_PIECE_US: i64 = MINUTE_US;
const MAX_PIECE_US: i64 = 24 * HOUR_US;
/// The same where there was nothing: most of a long range is before a server's time.
const MAX_EMPTY_PIECE_US: i64 = 64 * 24 * HOUR_US;
/// Pieces with fewer samples are followed by longer ones.
const FEW_SAMPLES: usize = 200_000;

/// Why a question has no answer.
#[derive(Debug)]
enum Failure {
    Engine(Trouble),
    Own(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Own(error) => error,
            Failure::Engine(trouble @ Trouble::TooMuch(_)) => too_much().because(trouble),
            Failure::Engine(trouble) => {
                let detail = "the engine that keeps samples does not answer: the last hour can be asked for still, older \
                              samples once it is back";
                Self::new(ErrorKind::Unavailable, "metric_store_unavailable", detail).retry_after(30).because(trouble)
            }
        }
    }
}

/// The engine's samples and the database's. Clones share both.
#[derive(Debug, Clone)]
pub struct Engine {
    history: History,
    queries: Queries,
}

/// One question about one server.
struct Question<'a> {
    whose: (OrgId, ServerId),
    selection: &'a Selection,
    /// What the database has.
    head: BTreeMap<Series, Points>,
    /// Hours it has frames or blocks of.
    windows: BTreeSet<i64>,
    /// Hours it has blocks of, from before there was an engine.
    blocks: BTreeSet<i64>,
    /// The engine is asked for what is before.
    engine_until_us: i64,
}

impl Question<'_> {
    /// The question to the database alone, where `failure` is that the engine is away and the database knows something.
    fn without_engine(mut self, failure: Failure) -> Result<Self, Failure> {
        let knows_nothing = self.head.is_empty() && self.blocks.is_empty();
        if knows_nothing || !matches!(failure, Failure::Engine(Trouble::Away(_))) {
            return Err(failure);
        }
        self.engine_until_us = i64::MIN;
        Ok(self)
    }

    fn take_in(&mut self, head: HeadSamples) {
        self.windows.extend(&head.windows);
        for (series, points) in head.into_points() {
            // What the engine can't have keeps its own name.
            let series = canonical(&series).unwrap_or(series);
            self.head.entry(series).or_default().extend(points);
        }
        self.head.values_mut().for_each(merged);
    }

    fn head_between(&self, (from_us, to_us): (i64, i64)) -> BTreeMap<Series, Points> {
        let between = self.head.iter().map(|(series, points)| {
            let range =
                points.partition_point(|point| point.0 < from_us)..points.partition_point(|point| point.0 < to_us);
            (series.clone(), points[range].to_vec())
        });
        between.filter(|(_, points)| !points.is_empty()).collect()
    }
}

impl Engine {
    /// What `queries` answer, and the frames in `history`.
    #[must_use]
    pub fn new(history: History, queries: Queries) -> Self {
        Self { history, queries }
    }

    /// Whether an engine of Prometheus' kind answers.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn check(&self) -> Result<(), Trouble> {
        self.queries.check().await
    }

    /// As [`MetricStore::buckets`](super::MetricStore::buckets).
    ///
    /// # Errors
    /// As there.
    pub async fn buckets(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        steps: Steps,
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Vec<Bucket>>, Error> {
        let (from_us, to_us) = steps.bounds_us();
        let question = self.question(whose, selection, (from_us - MAX_RATE_GAP_US, to_us), budget).await?;
        let mut left = Budget::of(budget.left());
        match self.gathered(&question, steps, &mut left).await {
            Err(failure) => Ok(self.gathered(&question.without_engine(failure)?, steps, budget).await?),
            Ok(found) => {
                *budget = left;
                Ok(found)
            }
        }
    }

    /// As [`MetricStore::samples`](super::MetricStore::samples).
    ///
    /// # Errors
    /// As there.
    pub async fn samples(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Points>, Error> {
        let question = self.question(whose, selection, (from_us, to_us), budget).await?;
        let mut left = Budget::of(budget.left());
        match self.collected(&question, from_us..to_us, &mut left).await {
            Err(failure) => Ok(self.collected(&question.without_engine(failure)?, from_us..to_us, budget).await?),
            Ok(found) => {
                *budget = left;
                Ok(found)
            }
        }
    }

    async fn collected(
        &self,
        question: &Question<'_>,
        range: Range<i64>,
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Points>, Failure> {
        let mut found: BTreeMap<Series, Points> = BTreeMap::new();
        let mut pieces = Pieces::of(range);
        while let Some(range_us) = pieces.next(question.engine_until_us) {
            match self.piece(question, None, range_us, budget).await {
                Ok(points) => {
                    pieces.done(points.values().map(Vec::len).sum());
                    points.into_iter().for_each(|(series, points)| found.entry(series).or_default().extend(points));
                }
                Err(Failure::Engine(Trouble::TooMuch(_))) if pieces.halve() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(found)
    }

    async fn question<'a>(
        &self,
        whose: (OrgId, ServerId),
        selection: &'a Selection,
        range_us: (i64, i64),
        budget: &mut Budget,
    ) -> Result<Question<'a>, Error> {
        let head = self.history.head(whose, selection, range_us, budget).await?;
        let hours = (window_of(range_us.0), window_of(range_us.1 - 1));
        let blocks = self.history.raw_hours(whose, hours).await?;
        let engine_until_us = self.history.clock.now_us() - KEPT_US;
        let (head_points, windows) = (BTreeMap::new(), blocks.clone());
        let mut question = Question { whose, selection, head: head_points, windows, blocks, engine_until_us };
        question.take_in(head);
        Ok(question)
    }

    async fn gathered(
        &self,
        question: &Question<'_>,
        steps: Steps,
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Vec<Bucket>>, Failure> {
        let (from_us, to_us) = steps.bounds_us();
        let mut gathering = Gathering::new(steps);
        let is_long =
            to_us.min(question.engine_until_us).saturating_sub(from_us) > LONG_US && steps.step_us >= MINUTE_US;
        if !is_long {
            self.raw(question, None, from_us..to_us, &mut gathering, budget).await?;
            return Ok(gathering.finish());
        }
        self.raw(question, Some(SeriesKind::Counter), from_us..to_us, &mut gathering, budget).await?;
        for (run, is_summed) in means::runs(steps, question.engine_until_us, &question.windows) {
            if is_summed {
                self.means(question, steps.step_us, run, &mut gathering, budget).await?;
            } else {
                self.raw(question, Some(SeriesKind::Gauge), run, &mut gathering, budget).await?;
            }
        }
        Ok(gathering.finish())
    }

    /// Gathers what single samples of `run` say.
    async fn raw(
        &self,
        question: &Question<'_>,
        kind: Option<SeriesKind>,
        run: Range<i64>,
        gathering: &mut Gathering,
        budget: &mut Budget,
    ) -> Result<(), Failure> {
        gathering.begin_run();
        // The minute before makes the first rates.
        let before = if kind == Some(SeriesKind::Gauge) { 0 } else { MAX_RATE_GAP_US };
        let mut pieces = Pieces::of(run.start - before..run.end);
        while let Some(range_us) = pieces.next(question.engine_until_us) {
            match self.piece(question, kind, range_us, budget).await {
                Ok(found) => {
                    pieces.done(found.values().map(Vec::len).sum());
                    found.iter().for_each(|(series, points)| gathering.take(series, points, &run));
                }
                Err(Failure::Engine(Trouble::TooMuch(_))) if pieces.halve() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// The samples of a piece: the engine's and the database's, each once.
    async fn piece(
        &self,
        question: &Question<'_>,
        kind: Option<SeriesKind>,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Points>, Failure> {
        let mut found = question.head_between((from_us, to_us));
        if question.blocks.range(window_of(from_us)..to_us).next().is_some() {
            let range_us = (from_us, to_us);
            for (series, points) in self.history.of_blocks(question.whose, question.selection, range_us, budget).await?
            {
                found.entry(canonical(&series).unwrap_or(series)).or_default().extend(points);
            }
            found.values_mut().for_each(merged);
        }
        found.retain(|series, _| kind.is_none_or(|kind| series.kind == kind));
        let engine_to_us = to_us.min(question.engine_until_us);
        if from_us < engine_to_us {
            for (series, points) in self.of_engine(question, kind, (from_us, engine_to_us)).await? {
                budget.take(points.len())?;
                found.entry(series).or_default().extend(points);
            }
            found.values_mut().for_each(merged);
        }
        Ok(found)
    }

    async fn of_engine(
        &self,
        question: &Question<'_>,
        kind: Option<SeriesKind>,
        (from_us, to_us): (i64, i64),
    ) -> Result<Vec<(Series, Points)>, Failure> {
        let selectors = selector::selectors(question.whose, question.selection, kind);
        if selectors.is_empty() {
            return Ok(Vec::new());
        }
        let (first_ms, last_ms) = (from_us.div_euclid(1000), (to_us - 1).div_euclid(1000));
        let mut found = Vec::new();
        for (name, selector) in selectors {
            for (labels, values) in self.range(&selector, (first_ms, last_ms)).await? {
                let series = read_back(&name, labels, question.whose);
                found.extend(series.filter(|series| question.selection.takes(series)).map(|series| (series, values)));
            }
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let offsets = self.range(&selector::offsets(question.whose), (first_ms, last_ms)).await?;
        let offsets: HashMap<i64, f64> = offsets.into_iter().flat_map(|(_, values)| values).collect();
        let time_us = |at_ms: i64| at_ms * 1000 + offsets.get(&at_ms).map_or(0, |offset| *offset as i64);
        let found = found.into_iter().map(|(series, values)| {
            let integer = |value: f64| from_unit(series.scale, value).round() as i64;
            let points = values.into_iter().map(|(at_ms, value)| (time_us(at_ms), integer(value)));
            let points = points.filter(|(at_us, _)| (from_us..to_us).contains(at_us)).collect();
            (series, points)
        });
        Ok(found.collect())
    }

    /// Single samples from one millisecond to another, and maybe one before: engines differ there.
    async fn range(&self, selector: &str, (first_ms, last_ms): (i64, i64)) -> Result<Vec<answer::Found>, Failure> {
        let query = format!("{selector}[{}ms]", last_ms - first_ms + 1);
        let parameters = [("query", query.as_str()), ("time", &seconds(last_ms)), ("nocache", "1")];
        self.queries.matrix("/api/v1/query", &parameters).await.map_err(Failure::Engine)
    }
}

/// Milliseconds as seconds.
fn seconds(at_ms: i64) -> String {
    format!("{}.{:03}", at_ms.div_euclid(1000), at_ms.rem_euclid(1000))
}

/// A range cut into pieces, shorter where there is much in them. Pure.
#[derive(Debug)]
struct Pieces {
    left: Range<i64>,
    length_us: i64,
    given_us: i64,
}

impl Pieces {
    fn of(range: Range<i64>) -> Self {
        Self { left: range, length_us: FIRST_PIECE_US, given_us: 0 }
    }

    /// The next piece; behind `engine_until_us`, where nothing has to be asked for, the longest.
    fn next(&mut self, engine_until_us: i64) -> Option<(i64, i64)> {
        if self.left.is_empty() {
            return None;
        }
        let length_us = if self.left.start >= engine_until_us { MAX_PIECE_US } else { self.length_us };
        self.given_us = (self.left.start + length_us).min(self.left.end);
        Some((self.left.start, self.given_us))
    }

    /// The piece is read, and had so many samples.
    fn done(&mut self, samples: usize) {
        self.left.start = self.given_us;
        self.length_us = match samples {
            0 => (self.length_us * 4).min(MAX_EMPTY_PIECE_US),
            1..FEW_SAMPLES => (self.length_us * 2).min(MAX_PIECE_US),
            _ => self.length_us.min(MAX_PIECE_US),
        };
    }

    /// There was too much in it. Answers whether a shorter one may do.
    fn halve(&mut self) -> bool {
        let length_us = self.given_us - self.left.start;
        self.length_us = (length_us / 2).max(MIN_PIECE_US);
        length_us > MIN_PIECE_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_shrink_and_cover_everything() {
        let mut pieces = Pieces::of(0..20 * HOUR_US);
        let until_us = 15 * HOUR_US;
        let mut seen = Vec::new();
        while let Some((from_us, to_us)) = pieces.next(until_us) {
            if seen.len() == 2 && to_us - from_us > HOUR_US && pieces.halve() {
                continue;
            }
            seen.push((from_us / HOUR_US, to_us / HOUR_US));
            pieces.done(if seen.len() == 1 { 1 } else { FEW_SAMPLES });
        }
        assert_eq!(seen[..3], [(0, 2), (2, 6), (6, 7)]);
        assert_eq!(seen.last(), Some(&(15, 20)));
        assert!(seen.windows(2).all(|pair| pair[0].1 == pair[1].0), "{seen:?}");
    }

    #[test]
    fn years_without_a_sample_are_few_pieces() {
        let mut pieces = Pieces::of(0..5 * 366 * 24 * HOUR_US);
        let mut count = 0;
        while pieces.next(i64::MAX).is_some() {
            pieces.done(0);
            count += 1;
        }
        assert!(count < 40, "{count}");
        pieces.done(1);
        assert_eq!(pieces.length_us, MAX_PIECE_US);
    }

    #[test]
    fn a_minute_is_not_cut_any_further() {
        let mut pieces = Pieces::of(0..MINUTE_US);
        assert_eq!(pieces.next(HOUR_US), Some((0, MINUTE_US)));
        assert!(!pieces.halve());
    }

    #[test]
    fn milliseconds_are_told_as_seconds() {
        assert_eq!((seconds(1_700_000_000_007), seconds(-1)), ("1700000000.007".to_owned(), "-1.999".to_owned()));
    }
}
