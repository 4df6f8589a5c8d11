//! Everything that is kept of servers' samples: frames as they arrived, the hours they became, and the days those became.

mod days;
mod head;
mod hours;
mod raw;

pub(super) use self::{days::hours_of, head::HeadSamples};

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use muster_shared::{
    id::{OrgId, ServerId},
    metric::Series,
};

use super::{
    Budget, Points, Selection,
    block::{Cells, Damaged, Directories, rollup},
    gathering::Gathering,
    seal::{WINDOW_US, day_of, merged, window_of},
    steps::{Bucket, HOUR_US, MAX_RATE_GAP_US, MINUTE_US, Steps},
    unpacking::Unpacking,
};
use crate::{
    clock::Clock,
    error::Error,
    events::{EventKind, Events},
    store::{BlockKey, Resolution, Store, StoreError},
};

/// How often a question is asked anew when what came late was added to roll-ups meanwhile.
const MAX_TRIES: u32 = 5;

/// The samples that are kept. Clones share the store.
#[derive(Debug, Clone)]
pub struct History {
    pub(super) store: Store,
    events: Events,
    pub(super) clock: Clock,
    unpacking: Unpacking,
    directories: Directories,
}

/// One question about one server.
struct Question<'a> {
    org: OrgId,
    server: ServerId,
    selection: &'a Selection,
    gathering: Gathering,
}

impl History {
    /// The samples in `store`. `events` hears of what can't be read.
    #[must_use]
    pub fn new(store: Store, events: Events, clock: Clock) -> Self {
        Self { store, events, clock, unpacking: Unpacking::default(), directories: Directories::default() }
    }

    /// What the series that `selection` takes were in each of `steps`.
    ///
    /// Steps of whole minutes or hours are answered from roll-ups, but for hours that have samples which are in no block
    /// yet, or none of them; everything else from single samples.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for more than `budget`; [`Error`] when the store fails.
    pub async fn buckets(
        &self,
        (org, server): (OrgId, ServerId),
        selection: &Selection,
        steps: Steps,
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Vec<Bucket>>, Error> {
        let mut tries = 0;
        loop {
            let revision = self.store.sealing_revision(server).await?;
            let mut left = Budget::of(budget.left());
            let (buckets, is_steady) = self.buckets_once((org, server), selection, steps, &mut left).await?;
            tries += 1;
            if is_steady || tries == MAX_TRIES || self.store.sealing_revision(server).await? == revision {
                *budget = left;
                return Ok(buckets);
            }
        }
    }

    /// Answers also whether a sealing meanwhile makes no difference.
    async fn buckets_once(
        &self,
        (org, server): (OrgId, ServerId),
        selection: &Selection,
        steps: Steps,
        budget: &mut Budget,
    ) -> Result<(BTreeMap<Series, Vec<Bucket>>, bool), Error> {
        let (from_us, to_us) = steps.bounds_us();
        // Frames first: one that is sealed meanwhile is then read twice, and counts once.
        let head = self.head((org, server), selection, (from_us - MAX_RATE_GAP_US, to_us), budget).await?;
        let mut question = Question { org, server, selection, gathering: Gathering::new(steps) };
        let mut rolled = BTreeSet::new();
        if let Some(resolution) = rolled_up(steps.step_us) {
            let is_exact = steps.step_us % (resolution.seconds() * 1_000_000) == 0;
            // Where single samples are gone, minutes are better than nothing.
            let until_us =
                if is_exact { to_us } else { self.first_raw_us((org, server)).await?.unwrap_or(to_us).min(to_us) };
            rolled = self.rolled(&mut question, resolution, (from_us, until_us), &head, budget).await?;
        }
        if !runs(from_us, to_us, &rolled).is_empty() {
            let first_raw = self.first_raw_us((org, server)).await?;
            let first_us = first_raw.into_iter().chain(head.windows.first().copied()).min().unwrap_or(to_us);
            for run in runs(from_us.max(first_us), to_us, &rolled) {
                self.raw(&mut question, run, &head, budget).await?;
            }
        }
        let is_steady = head.windows.is_disjoint(&rolled);
        Ok((question.gathering.finish(), is_steady))
    }

    /// The first hour of which there are single samples, in a block or a day.
    async fn first_raw_us(&self, (org, server): (OrgId, ServerId)) -> Result<Option<i64>, Error> {
        let hour = self.store.first_block_us(org, server, Resolution::Second).await?;
        let day = self.store.first_day_us(org, server, Resolution::Second).await?;
        Ok(hour.into_iter().chain(day.map(window_of)).min())
    }

    /// The samples of `from_us..to_us` that `selection` takes, in order of time, each once.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for more than `budget`; [`Error`] when the store fails.
    pub async fn samples(
        &self,
        (org, server): (OrgId, ServerId),
        selection: &Selection,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Points>, Error> {
        let head = self.head((org, server), selection, (from_us, to_us), budget).await?;
        let mut found = head.into_points();
        for (series, points) in self.of_blocks((org, server), selection, (from_us, to_us), budget).await? {
            found.entry(series).or_default().extend(points);
        }
        found.values_mut().for_each(merged);
        found.retain(|_, points| !points.is_empty());
        Ok(found)
    }

    /// The samples of hours and days, in no order.
    pub(super) async fn of_blocks(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Points>, Error> {
        let windows = (window_of(from_us), window_of(to_us - 1));
        let (hours, _) = self.hours::<1>(whose, Resolution::Second, windows, budget, selection).await?;
        let (range_us, takes) = ((from_us, to_us), selection.taken());
        let days = self.days::<1>(whose, Resolution::Second, range_us, budget, takes).await?;
        let mut points: BTreeMap<Series, Points> = BTreeMap::new();
        let found = hours.into_iter().map(|hour| hour.found).chain(days.into_iter().map(|day| day.found));
        for (series, cells) in found.flatten() {
            let cells = cells.into_iter().map(|(at_us, [value])| (at_us, value));
            points.entry(series).or_default().extend(cells.filter(|(at_us, _)| (from_us..to_us).contains(at_us)));
        }
        Ok(points)
    }

    /// Counts a block that can't be read; the first time, whoever watches the fleet hears of it.
    pub(super) async fn note_damaged(&self, (org, server): (OrgId, ServerId), key: BlockKey, damage: Damaged) {
        let is_new = self.store.note_damaged_block(org, server, key, self.clock.now_us()).await;
        if self.damage_is_news((org, server), is_new) {
            tracing::warn!(%server, resolution = key.resolution.seconds(), window_us = key.window_us, part = key.part, %damage, "a block of samples can't be read: it is passed over");
        }
    }

    /// Counts damage, and tells of it where it was not known.
    fn damage_is_news(&self, (org, server): (OrgId, ServerId), is_new: Result<bool, StoreError>) -> bool {
        metrics::counter!("muster_blocks_damaged_total").increment(1);
        match is_new {
            Ok(true) => self.events.publish(org, server, EventKind::SamplesDamaged),
            Ok(false) => {}
            Err(ref error) => tracing::warn!(%server, error = %crate::app::chain(error), "damage not recorded"),
        }
        matches!(is_new, Ok(true))
    }

    /// Answers what it can from roll-ups; which hours those are.
    async fn rolled(
        &self,
        question: &mut Question<'_>,
        resolution: Resolution,
        (from_us, to_us): (i64, i64),
        head: &HeadSamples,
        budget: &mut Budget,
    ) -> Result<BTreeSet<i64>, Error> {
        let whose = (question.org, question.server);
        let place = if resolution == Resolution::Hour { day_of } else { window_of };
        let windows = (place(from_us), place(to_us - 1));
        let (blocks, damaged) = self.hours(whose, resolution, windows, budget, question.selection).await?;
        let mut rolled = Rolled { damaged, ..Rolled::default() };
        blocks.into_iter().for_each(|block| rolled.add_block(block));
        if resolution == Resolution::Minute {
            let selection = question.selection;
            for day in self.days(whose, resolution, (from_us, to_us), budget, selection.taken()).await? {
                rolled.add_day(day);
            }
        }
        // Single samples know better than what is left of damaged roll-ups. An hour with samples in no block yet changes, and so
        // do the first rates of the hour after. Where single samples are gone, nothing is better.
        let is_doubtful = |hour: &i64| rolled.damaged.contains(&place(*hour)) || head.touches(*hour);
        let doubtful: BTreeSet<i64> = rolled.hours.iter().copied().filter(is_doubtful).collect();
        if let Some((first, last)) = doubtful.first().zip(doubtful.last()) {
            let raw = self.raw_hours(whose, (*first, *last)).await?;
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

/// Roll-ups in the reading.
#[derive(Debug, Default)]
struct Rolled {
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
    fn add_block(&mut self, block: hours::HourCells<{ rollup::LANES }>) {
        self.hours.extend(block.hours);
        self.found.push(Found { hours: None, rows: block.found });
    }

    /// A day's hours count where there is no block of the hour itself, which is newer.
    fn add_day(&mut self, day: days::DayCells<{ rollup::LANES }>) {
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

/// `from_us..to_us` without the hours that are `done`, in runs.
fn runs(from_us: i64, to_us: i64, done: &BTreeSet<i64>) -> Vec<Range<i64>> {
    let mut runs: Vec<Range<i64>> = Vec::new();
    let mut hour = window_of(from_us);
    while hour < to_us {
        let part = from_us.max(hour)..to_us.min(hour + WINDOW_US);
        if !done.contains(&hour) {
            match runs.last_mut().filter(|run| run.end == part.start) {
                Some(run) => run.end = part.end,
                None => runs.push(part),
            }
        }
        hour += WINDOW_US;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_range_is_taken_in_runs() {
        let hour = |hours: i64| hours * HOUR_US;
        let done = BTreeSet::from([hour(1), hour(4)]);
        assert_eq!(runs(5, hour(6), &done), [5..hour(1), hour(2)..hour(4), hour(5)..hour(6)]);
        assert_eq!(runs(hour(1), hour(2), &done), []);
        assert_eq!(runs(hour(2), hour(1), &done), []);
    }

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
