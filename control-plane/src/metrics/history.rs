//! Everything that is kept of servers' samples: frames as they arrived, and the blocks they became.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ops::Range,
};

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{self, Series, SeriesId},
};

use super::{
    Budget, Points, Selection,
    block::{Cells, Damaged, Directories, rollup, select},
    gathering::Gathering,
    samples::too_much,
    seal::{WINDOW_US, day_of, merged, window_of},
    steps::{Bucket, HOUR_US, MAX_RATE_GAP_US, MINUTE_US, Steps},
};
use crate::{
    clock::Clock,
    error::Error,
    events::{EventKind, Events},
    store::{BlockKey, BlockRow, Resolution, Store, StoreError},
};

/// Most frames read for one server: more than arrive while they wait to be sealed.
const MAX_FRAMES: u32 = 70_000;
/// How often a question is asked anew when what came late was added to roll-ups meanwhile.
const MAX_TRIES: u32 = 5;
/// Windows of raw blocks read at once.
const WINDOWS_AT_ONCE: i64 = 24;

/// The samples that are kept. Clones share the store.
#[derive(Debug, Clone)]
pub struct History {
    pub(super) store: Store,
    events: Events,
    pub(super) clock: Clock,
}

/// One question about one server.
struct Question<'a> {
    org: OrgId,
    server: ServerId,
    selection: &'a Selection,
    directories: Directories,
    gathering: Gathering,
}

impl History {
    /// The samples in `store`. `events` hears of what can't be read.
    #[must_use]
    pub fn new(store: Store, events: Events, clock: Clock) -> Self {
        Self { store, events, clock }
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
        let mut head = self.head((org, server), selection, (from_us - MAX_RATE_GAP_US, to_us), budget).await?;
        let mut question =
            Question { org, server, selection, directories: Directories::default(), gathering: Gathering::new(steps) };
        let first_raw = self.store.first_block_us(org, server, Resolution::Second).await?;
        let mut rolled = BTreeSet::new();
        if let Some(resolution) = rolled_up(steps.step_us) {
            let is_exact = steps.step_us % (resolution.seconds() * 1_000_000) == 0;
            // Where single samples are gone, minutes are better than nothing.
            let until_us = if is_exact { to_us } else { first_raw.unwrap_or(to_us).min(to_us) };
            rolled = self.rolled(&mut question, resolution, (from_us, until_us), &head, budget).await?;
        }
        let first_us = first_raw.into_iter().chain(head.windows.first().copied()).min().unwrap_or(to_us);
        for run in runs(from_us.max(first_us), to_us, &rolled) {
            self.raw(&mut question, run, &mut head, budget).await?;
        }
        let is_steady = head.windows.is_disjoint(&rolled);
        Ok((question.gathering.finish(), is_steady))
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

    /// The samples of blocks, in no order.
    pub(super) async fn of_blocks(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Points>, Error> {
        let mut found: BTreeMap<Series, Points> = BTreeMap::new();
        let mut directories = Directories::default();
        let windows = (window_of(from_us), window_of(to_us - 1));
        for block in self.store.blocks(whose, Resolution::Second, windows).await? {
            for (series, cells) in self.read::<1>(whose, &block, &mut directories, selection).await {
                budget.take(cells.len())?;
                let points = cells.into_iter().map(|(at_us, [value])| (at_us, value));
                found.entry(series).or_default().extend(points.filter(|(at_us, _)| (from_us..to_us).contains(at_us)));
            }
        }
        Ok(found)
    }

    /// Counts a block that can't be read; the first time, whoever watches the fleet hears of it.
    pub(super) async fn note_damaged(&self, (org, server): (OrgId, ServerId), key: BlockKey, damage: Damaged) {
        metrics::counter!("muster_blocks_damaged_total").increment(1);
        match self.store.note_damaged_block(org, server, key, self.clock.now_us()).await {
            Ok(true) => {
                tracing::warn!(%server, resolution = key.resolution.seconds(), window_us = key.window_us, part = key.part, %damage, "a block of samples can't be read: it is passed over");
                self.events.publish(org, server, EventKind::SamplesDamaged);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%server, error = %crate::app::chain(&error), "damage not recorded"),
        }
    }

    /// The wanted series of a block; none of one that is damaged.
    async fn read<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        block: &BlockRow,
        directories: &mut Directories,
        selection: &Selection,
    ) -> Vec<(Series, Cells<LANES>)> {
        match select((&block.payload, block.checksum), directories, |series| selection.takes(series)) {
            Ok(found) => found,
            Err(damage) => {
                self.note_damaged(whose, block.key, damage).await;
                Vec::new()
            }
        }
    }

    /// Samples that are in no block yet.
    pub(super) async fn head(
        &self,
        (org, server): (OrgId, ServerId),
        selection: &Selection,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
    ) -> Result<HeadSamples, Error> {
        let frames = self.store.frames_between(org, server, (from_us, to_us - 1), MAX_FRAMES + 1).await?;
        if frames.len() > MAX_FRAMES as usize {
            return Err(too_much());
        }
        let mut wanted: BTreeMap<u64, BTreeMap<SeriesId, Series>> = BTreeMap::new();
        let mut head = HeadSamples::default();
        for frame in frames {
            let of_epoch = match wanted.entry(frame.epoch) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let of_epoch = match self.store.series_of(org, server, frame.epoch).await {
                        Err(StoreError::Unreadable { .. }) => Vec::new(),
                        read => read?,
                    };
                    place.insert(of_epoch.into_iter().filter(|(_, series)| selection.takes(series)).collect())
                }
            };
            let ids: Vec<_> = of_epoch.keys().copied().collect();
            let Ok(columns) = metric::select(frame.encoding, &frame.payload, &ids) else {
                // Sealing will put it into quarantine.
                metrics::counter!("muster_frames_unreadable_total").increment(1);
                continue;
            };
            budget.take(columns.values.len() * columns.ticks_us.len())?;
            head.windows.extend(columns.ticks_us.iter().map(|at_us| window_of(*at_us)));
            for (id, values) in &columns.values {
                let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
                for point in points.filter(|(at_us, _)| (from_us..to_us).contains(at_us)) {
                    head.put(&of_epoch[id], point);
                }
            }
        }
        Ok(head)
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
        let blocks = self.store.blocks(whose, resolution, (place(from_us), place(to_us - 1))).await?;
        let mut hours = BTreeSet::new();
        let mut damaged = BTreeSet::new();
        let mut found = Vec::new();
        for block in blocks {
            match super::block::slots(&block.payload, block.checksum) {
                Ok(slots) => hours.extend(slots.into_iter().map(window_of)),
                Err(_) => drop(damaged.insert(block.key.window_us)),
            }
            let (directories, selection) = (&mut question.directories, question.selection);
            found.extend(self.read::<{ rollup::LANES }>(whose, &block, directories, selection).await);
        }
        if !damaged.is_empty() || !head.windows.is_empty() {
            let raw = (window_of(from_us), window_of(to_us - 1));
            let raw = self.store.block_windows(whose, Resolution::Second, raw).await?;
            // Single samples know better than what is left of damaged roll-ups. An hour with samples in no block yet
            // changes, and so do the first rates of the hour after. Where single samples are gone, nothing is better.
            hours.retain(|hour| !raw.contains(hour) || !(damaged.contains(&place(*hour)) || head.touches(*hour)));
        }
        for (series, cells) in found {
            budget.take(cells.len())?;
            for (slot, lanes) in
                cells.into_iter().filter(|(slot, _)| hours.contains(&window_of(*slot)) && *slot < to_us)
            {
                question.gathering.merge(&series, slot, &rollup::from_lanes(series.kind, lanes));
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

    /// Answers the hours of `run` from single samples.
    async fn raw(
        &self,
        question: &mut Question<'_>,
        run: Range<i64>,
        head: &mut HeadSamples,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let whose = (question.org, question.server);
        // The minute before makes the first rates.
        let mut window = window_of(run.start - MAX_RATE_GAP_US);
        question.gathering.begin_run();
        while window < run.end {
            let last = (window + (WINDOWS_AT_ONCE - 1) * WINDOW_US).min(window_of(run.end - 1));
            let mut of_window: BTreeMap<i64, BTreeMap<Series, Points>> = BTreeMap::new();
            for block in self.store.blocks(whose, Resolution::Second, (window, last)).await? {
                let read = self.read::<1>(whose, &block, &mut question.directories, question.selection).await;
                let of_window = of_window.entry(block.key.window_us).or_default();
                for (series, cells) in read {
                    budget.take(cells.len())?;
                    let points = cells.into_iter().map(|(at_us, [value])| (at_us, value));
                    of_window.entry(series).or_default().extend(points);
                }
            }
            while window <= last {
                let mut found = of_window.remove(&window).unwrap_or_default();
                for (series, points) in head.points.get(&window).into_iter().flatten() {
                    found.entry(series.clone()).or_default().extend(points);
                }
                for (series, mut points) in found {
                    merged(&mut points);
                    question.gathering.take(&series, &points, &run);
                }
                window += WINDOW_US;
            }
        }
        Ok(())
    }
}

/// Samples that are in no block yet, by window.
#[derive(Debug, Default)]
pub(super) struct HeadSamples {
    points: BTreeMap<i64, BTreeMap<Series, Points>>,
    /// Windows that have any, of whatever series.
    pub(super) windows: BTreeSet<i64>,
}

impl HeadSamples {
    fn put(&mut self, series: &Series, point: (i64, i64)) {
        let of_window = self.points.entry(window_of(point.0)).or_default();
        match of_window.get_mut(series) {
            Some(points) => points.push(point),
            None => drop(of_window.insert(series.clone(), vec![point])),
        }
    }

    /// Whether the roll-ups of an hour would be others with these samples.
    fn touches(&self, hour: i64) -> bool {
        self.windows.contains(&hour) || self.windows.contains(&(hour - WINDOW_US))
    }

    pub(super) fn into_points(self) -> BTreeMap<Series, Points> {
        let mut found: BTreeMap<Series, Points> = BTreeMap::new();
        for (series, points) in self.points.into_values().flatten() {
            found.entry(series).or_default().extend(points);
        }
        found
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
