//! Steps made of roll-ups: of the hours and the days of minutes, or of those of hours.

use std::collections::BTreeSet;

use muster_shared::{
    id::{OrgId, ServerId},
    metric::Series,
};

use super::{HeadSamples, History, Question, days::DayCells, hours::HourCells};
use crate::{
    error::Error,
    metrics::{
        Budget, Selection,
        block::{Cells, rollup},
        seal::{WINDOW_US, day_of, merged, window_of},
        steps::{HOUR_US, MINUTE_US, Steps},
    },
    store::Resolution,
};

impl History {
    /// The roll-ups that serve `steps`; none where single samples do.
    pub(super) async fn roll_ups(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        steps: Steps,
        budget: &mut Budget,
    ) -> Result<Rolled, Error> {
        let (from_us, mut to_us) = steps.bounds_us();
        let Some(resolution) = rolled_up(steps.step_us) else {
            return Ok(Rolled::new(Resolution::Second, (from_us, to_us)));
        };
        if steps.step_us % (resolution.seconds() * 1_000_000) != 0 {
            // Where single samples are gone, minutes are better than nothing.
            to_us = self.first_raw_us(whose).await?.unwrap_or(to_us).min(to_us);
        }
        let mut rolled = Rolled::new(resolution, (from_us, to_us));
        let windows = (rolled.place(from_us), rolled.place(to_us - 1));
        let [mut of_hours, mut of_days] = budget.shared();
        let days = async {
            match resolution {
                Resolution::Minute => {
                    self.days(whose, resolution, (from_us, to_us), &mut of_days, selection.taken()).await
                }
                Resolution::Second | Resolution::Hour => Ok(Vec::new()),
            }
        };
        let ((blocks, damaged), days) =
            tokio::try_join!(self.hours(whose, resolution, windows, &mut of_hours, selection), days)?;
        budget.take_together([of_hours, of_days])?;
        rolled.damaged = damaged;
        blocks.into_iter().for_each(|block| rolled.add_block(block));
        days.into_iter().for_each(|day| rolled.add_day(day));
        Ok(rolled)
    }

    /// Answers what it can from roll-ups; which hours those are.
    pub(super) async fn rolled(
        &self,
        question: &mut Question<'_>,
        mut rolled: Rolled,
        head: &HeadSamples,
    ) -> Result<BTreeSet<i64>, Error> {
        let (from_us, to_us) = rolled.range_us;
        // Single samples know better than what is left of damaged roll-ups. An hour with samples in no block yet changes, and so
        // do the first rates of the hour after. Where single samples are gone, nothing is better.
        let is_doubtful = |hour: &i64| rolled.damaged.contains(&rolled.place(*hour)) || head.touches(*hour);
        let doubtful: BTreeSet<i64> = rolled.hours.iter().copied().filter(is_doubtful).collect();
        if let Some((first, last)) = doubtful.first().zip(doubtful.last()) {
            let raw = self.raw_hours(question.whose, (*first, *last)).await?;
            rolled.hours.retain(|hour| !(doubtful.contains(hour) && raw.contains(hour)));
        }
        let Rolled { hours, found, .. } = rolled;
        for found in found {
            for (series, cells) in found.rows {
                let kind = series.kind;
                // Those of an hour stand next to each other.
                let by_hour = cells.chunk_by(|one, next| window_of(one.0) == window_of(next.0));
                let taken = by_hour.filter(|cells| {
                    let hour = window_of(cells[0].0);
                    hours.contains(&hour) && found.hours.as_ref().is_none_or(|own| own.contains(&hour))
                });
                let buckets = taken.flatten().map(|(slot, lanes)| (*slot, rollup::from_lanes(kind, *lanes)));
                question.gathering.merge(&series, buckets.take_while(|(slot, _)| *slot < to_us));
            }
        }
        for hour in &hours {
            for (series, points) in head.points.get(hour).into_iter().flatten() {
                let mut points = points.clone();
                merged(&mut points);
                question.gathering.begin_run();
                question.gathering.take(series, &points, &(from_us..to_us));
            }
        }
        Ok(hours)
    }
}

/// Roll-ups that were read.
#[derive(Debug)]
pub(super) struct Rolled {
    resolution: Resolution,
    range_us: (i64, i64),
    hours: BTreeSet<i64>,
    damaged: BTreeSet<i64>,
    found: Vec<Found>,
}

/// What was found in a block or a day.
#[derive(Debug)]
struct Found {
    /// The hours of a day that count; `None` where all do.
    hours: Option<BTreeSet<i64>>,
    rows: Vec<(Series, Cells<{ rollup::LANES }>)>,
}

impl Rolled {
    fn new(resolution: Resolution, range_us: (i64, i64)) -> Self {
        Self { resolution, range_us, hours: BTreeSet::new(), damaged: BTreeSet::new(), found: Vec::new() }
    }

    /// Where the window of a moment's roll-up begins.
    fn place(&self, at_us: i64) -> i64 {
        if self.resolution == Resolution::Hour { day_of(at_us) } else { window_of(at_us) }
    }

    fn add_block(&mut self, block: HourCells<{ rollup::LANES }>) {
        self.hours.extend(block.hours);
        self.found.push(Found { hours: None, rows: block.found });
    }

    /// A day's hours count where there is no block of the hour itself, which is newer.
    fn add_day(&mut self, day: DayCells<{ rollup::LANES }>) {
        if day.is_damaged {
            self.damaged.extend((0..24).map(|hour| day.day_us + hour * WINDOW_US));
        }
        let own: BTreeSet<i64> = day.hours.difference(&self.hours).copied().collect();
        self.hours.extend(&own);
        self.found.push(Found { hours: Some(own), rows: day.found });
    }
}

/// The roll-ups that serve steps of `step_us`; those of minutes serve longer steps as well where nothing better is left.
fn rolled_up(step_us: i64) -> Option<Resolution> {
    match step_us {
        step if step % HOUR_US == 0 => Some(Resolution::Hour),
        step if step >= MINUTE_US => Some(Resolution::Minute),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_served_by_the_coarsest_that_divides_them() {
        let of = |seconds: i64| rolled_up(seconds * 1_000_000);
        assert_eq!(
            [of(1), of(59), of(60), of(90), of(3_600), of(5_400)],
            [
                None,
                None,
                Some(Resolution::Minute),
                Some(Resolution::Minute),
                Some(Resolution::Hour),
                Some(Resolution::Minute)
            ]
        );
    }
}
