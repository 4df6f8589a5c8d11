//! Steps of gauges over long ranges, from the engine's own sums.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use muster_shared::metric::{Series, SeriesKind};

use super::{Engine, Failure, Question, Trouble, seconds, selector};
use crate::metrics::{
    Budget,
    gathering::Gathering,
    identity::{from_unit, read_back},
    seal::window_of,
    steps::{Bucket, Steps},
};

/// Steps asked for at once.
const MAX_STEPS: i64 = 5_000;
/// What a bucket is made of.
const FUNCTIONS: [&str; 4] = ["min_over_time", "max_over_time", "sum_over_time", "count_over_time"];

/// Whole steps in runs, and whether the engine's sums serve them: not the database's part, nor hours that have frames
/// which are in the database still. Pure.
pub(super) fn runs(steps: Steps, engine_until_us: i64, windows: &BTreeSet<i64>) -> Vec<(Range<i64>, bool)> {
    let mut runs: Vec<(Range<i64>, bool)> = Vec::new();
    for start in steps.starts_us() {
        let end = start + steps.step_us;
        let is_touched = windows.range(window_of(start)..=window_of(end - 1)).next().is_some();
        let is_summed = end <= engine_until_us && !is_touched;
        match runs.last_mut().filter(|(run, summed)| *summed == is_summed && run.end == start) {
            Some((run, _)) => run.end = end,
            None => runs.push((start..end, is_summed)),
        }
    }
    runs
}

/// Of each series and step, by the step's last millisecond: least, greatest, sum and count, where the engine said so.
type Sums = BTreeMap<(Series, i64), [Option<f64>; FUNCTIONS.len()]>;

impl Engine {
    /// Gathers a run of whole steps.
    pub(super) async fn means(
        &self,
        question: &Question<'_>,
        step_us: i64,
        run: Range<i64>,
        gathering: &mut Gathering,
        budget: &mut Budget,
    ) -> Result<(), Failure> {
        let (mut at_us, mut steps) = (run.start, MAX_STEPS);
        while at_us < run.end {
            let to_us = run.end.min(at_us + steps * step_us);
            match self.sums(question, step_us, (at_us, to_us)).await {
                Err(Failure::Engine(Trouble::TooMuch(_))) if steps > 1 => steps = (steps / 2).max(1),
                Err(failure) => return Err(failure),
                Ok(sums) => {
                    budget.take(sums.len())?;
                    for ((series, last_ms), sums) in sums {
                        if let [Some(min), Some(max), Some(sum), Some(count)] = sums {
                            let unit = |value: f64| from_unit(series.scale, value);
                            let (min, max) = (unit(min).round(), unit(max).round());
                            let bucket = Bucket { min, max, sum: unit(sum).round() as i128, weight: count as i64 };
                            gathering.merge(&series, std::iter::once((last_ms * 1000, bucket)));
                        }
                    }
                    at_us = to_us;
                }
            }
        }
        Ok(())
    }

    async fn sums(&self, question: &Question<'_>, step_us: i64, (from_us, to_us): (i64, i64)) -> Result<Sums, Failure> {
        let step_ms = step_us / 1000;
        // A step is what its last millisecond looks back on.
        let (first, last) = (seconds(from_us / 1000 + step_ms - 1), seconds(to_us / 1000 - 1));
        let step = (step_ms / 1000).to_string();
        let mut sums = Sums::new();
        for (name, selector) in selector::selectors(question.whose, question.selection, Some(SeriesKind::Gauge)) {
            for (place, function) in FUNCTIONS.iter().enumerate() {
                let query = format!("{function}({selector}[{step_ms}ms])");
                let parameters =
                    [("query", query.as_str()), ("start", &first), ("end", &last), ("step", &step), ("nocache", "1")];
                let found = self.queries.matrix("/api/v1/query_range", &parameters).await.map_err(Failure::Engine)?;
                for (labels, values) in found {
                    // A server that was renamed has its series twice, and both are of one.
                    let Some(series) = read_back(&name, labels, question.whose) else { continue };
                    if question.selection.takes(&series) {
                        for (at_ms, value) in values {
                            let known = &mut sums.entry((series.clone(), at_ms)).or_default()[place];
                            *known = Some(together(place, *known, value));
                        }
                    }
                }
            }
        }
        Ok(sums)
    }
}

fn together(place: usize, known: Option<f64>, value: f64) -> f64 {
    match (known, place) {
        (None, _) => value,
        (Some(known), 0) => known.min(value),
        (Some(known), 1) => known.max(value),
        (Some(known), _) => known + value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::steps::HOUR_US;

    #[test]
    fn steps_with_frames_are_not_summed() {
        let steps = Steps::new(0, 10 * HOUR_US - 1, Some(HOUR_US / 2)).expect("good");
        let hours = |run: &Range<i64>| (run.start as f64 / HOUR_US as f64, run.end as f64 / HOUR_US as f64);
        let windows = BTreeSet::from([2 * HOUR_US, 9 * HOUR_US]);
        let found: Vec<_> =
            runs(steps, 7 * HOUR_US + 1, &windows).iter().map(|(run, sum)| (hours(run), *sum)).collect();
        assert_eq!(found, [((0.0, 2.0), true), ((2.0, 3.0), false), ((3.0, 7.0), true), ((7.0, 10.0), false)]);
    }

    #[test]
    fn two_names_of_a_server_are_one() {
        assert_eq!([0, 1, 2, 3].map(|place| together(place, Some(2.0), 3.0)), [2.0, 3.0, 5.0, 5.0]);
        assert_eq!(together(2, None, 3.0), 3.0);
    }
}
