//! Everything that is kept of servers' samples: frames as they arrived, the hours they became, and the days those became.

mod days;
mod head;
mod hours;
mod raw;
mod rolled;

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
    block::{Damaged, Directories},
    gathering::Gathering,
    seal::{WINDOW_US, merged, window_of},
    steps::{Bucket, MAX_RATE_GAP_US, Steps},
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
    whose: (OrgId, ServerId),
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
            let buckets = self.buckets_once((org, server), selection, steps, &mut left).await?;
            tries += 1;
            if tries == MAX_TRIES || self.store.sealing_revision(server).await? == revision {
                *budget = left;
                return Ok(buckets);
            }
            metrics::counter!("muster_charts_read_again_total").increment(1);
        }
    }

    /// What is read is right where nothing was sealed and no day was made meanwhile.
    async fn buckets_once(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        steps: Steps,
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Vec<Bucket>>, Error> {
        let (from_us, to_us) = steps.bounds_us();
        let mut question = Question { whose, selection, gathering: Gathering::new(steps) };
        let [mut of_head, mut of_rolled] = budget.shared();
        let (head, rolled) = tokio::try_join!(
            self.head(whose, selection, (from_us - MAX_RATE_GAP_US, to_us), &mut of_head),
            self.roll_ups(whose, selection, steps, &mut of_rolled)
        )?;
        budget.take_together([of_head, of_rolled])?;
        let hours = self.rolled(&mut question, rolled, &head).await?;
        let missing = runs(from_us, to_us, &hours);
        if let Some(first) = missing.first() {
            let mut first_us = head.windows.first().copied().unwrap_or(i64::MAX);
            if first.start < first_us {
                first_us = self.first_raw_us(whose).await?.unwrap_or(to_us).min(first_us);
            }
            for run in runs(from_us.max(first_us), to_us, &hours) {
                self.raw(&mut question, run, &head, budget).await?;
            }
        }
        Ok(question.gathering.finish())
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
    use crate::metrics::steps::HOUR_US;

    #[test]
    fn what_is_left_of_a_range_is_taken_in_runs() {
        let hour = |hours: i64| hours * HOUR_US;
        let done = BTreeSet::from([hour(1), hour(4)]);
        assert_eq!(runs(5, hour(6), &done), [5..hour(1), hour(2)..hour(4), hour(5)..hour(6)]);
        assert_eq!(runs(hour(1), hour(2), &done), []);
        assert_eq!(runs(hour(2), hour(1), &done), []);
    }
}
