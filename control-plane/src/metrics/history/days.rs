//! Days as they are read: for each an index, and of its stripes only those with series that somebody asks for.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use futures_util::future::try_join_all;
use muster_shared::{
    id::{OrgId, ServerId},
    metric::Series,
};

use super::{History, MAX_TRIES};
use crate::{
    error::Error,
    metrics::{
        Budget,
        block::{Cells, Damaged, Index, Room, Table},
        gathering::Gathering,
        seal::{DAY_US, WINDOW_US, day_of, window_of},
        steps::Steps,
    },
    store::{DayRow, Resolution, StripeRow, StripeRun, StripesOf},
};

/// Cells of a day that are read and not used cost as much as one that is: so many.
const UNUSED_FOR_ONE: usize = 16;

/// What was asked for of a day.
#[derive(Debug, Default)]
pub(in crate::metrics) struct DayCells<const LANES: usize> {
    pub(in crate::metrics) day_us: i64,
    /// The hours of the range that have any value in it, of whatever series.
    pub(in crate::metrics) hours: BTreeSet<i64>,
    pub(in crate::metrics) found: Vec<(Series, Cells<LANES>)>,
    /// How many cells were read for it, if every slot has one.
    read: usize,
    /// Something of it can't be read.
    pub(in crate::metrics) is_damaged: bool,
}

impl History {
    /// The series that are `wanted`, from `from_us` to before `to_us`, day by day. What can't be read of a day is passed
    /// over.
    ///
    /// Whoever reads hours as well reads them before, so that what becomes a day meanwhile is seen twice and never missed; or looks
    /// at the server's revision before and after.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for more than `budget`; [`Error`] when the store fails.
    pub(in crate::metrics) async fn days<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
        wanted: impl Fn(&Series) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<DayCells<LANES>>, Error> {
        let packed = self.packed_days::<LANES>(whose, resolution, (from_us, to_us), &wanted).await?;
        self.read_days(whose, packed, (from_us, to_us), budget, wanted).await
    }

    /// The same of days that were fetched before.
    pub(super) async fn read_days<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        packed: Vec<PackedDay<LANES>>,
        range_us: (i64, i64),
        budget: &mut Budget,
        wanted: impl Fn(&Series) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<DayCells<LANES>>, Error> {
        let days = self.unpacked_days(whose, packed, move |day, room| read_day((day, room), range_us, &wanted)).await?;
        for day in &days {
            let kept: usize = day.found.iter().map(|(_, cells)| cells.len()).sum();
            budget.take(kept.max(day.read / UNUSED_FOR_ONE))?;
        }
        Ok(days)
    }

    /// What the series that are `wanted` were in `steps`, day by day; samples outside of `run` only help to make rates.
    /// Nothing is held of the samples themselves. What can't be read of a day is passed over.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for more than `budget`; [`Error`] when the store fails.
    pub(super) async fn gathered_days(
        &self,
        whose: (OrgId, ServerId),
        packed: Vec<PackedDay<1>>,
        (steps, run): (Steps, &Range<i64>),
        budget: &mut Budget,
        wanted: impl Fn(&Series) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<Gathering>, Error> {
        let run = run.clone();
        let days =
            self.unpacked_days(whose, packed, move |day, room| gather_day((day, room), (steps, &run), &wanted)).await?;
        let mut gathered = Vec::with_capacity(days.len());
        for (day, read) in days {
            budget.take(read)?;
            gathered.push(day);
        }
        Ok(gathered)
    }

    /// Days with the stripes that have series which are `wanted`.
    pub(super) async fn packed_days<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        (from_us, to_us): (i64, i64),
        wanted: impl Fn(&Series) -> bool,
    ) -> Result<Vec<PackedDay<LANES>>, Error> {
        let mut tries = 0;
        loop {
            let rows = self.store.days(whose, resolution, (day_of(from_us), day_of(to_us - 1))).await?;
            let mut days = Vec::with_capacity(rows.len());
            let mut runs = Vec::new();
            for row in rows {
                let index = Index::<LANES>::read((&row.payload, row.checksum), &self.directories);
                if let Ok(index) = &index {
                    runs.extend(StripeRun::of(row.stripes_key(), &index.stripes_with(&wanted)));
                }
                days.push(PackedDay { row, index, stripes: Vec::new() });
            }
            let stripes = self.store.stripes(StripesOf::Days, whose, resolution, &runs).await?;
            tries += 1;
            if stripes.len() == StripeRun::count(&runs) || tries == MAX_TRIES {
                let mut of_day: HashMap<i64, Vec<StripeRow>> = HashMap::new();
                stripes.into_iter().for_each(|stripe| of_day.entry(stripe.key.begin_us).or_default().push(stripe));
                days.iter_mut().for_each(|day| day.stripes = of_day.remove(&day.row.day_us).unwrap_or_default());
                return Ok(days);
            }
            // A day was made anew between the two.
            metrics::counter!("muster_days_read_again_total").increment(1);
        }
    }

    /// What `unpack` makes of days, as many at once as there are processors. It answers also what can't be read.
    async fn unpacked_days<const LANES: usize, T: Send + 'static>(
        &self,
        whose: (OrgId, ServerId),
        packed: Vec<PackedDay<LANES>>,
        unpack: impl Fn(PackedDay<LANES>, &mut Room) -> (T, Option<Damaged>) + Clone + Send + 'static,
    ) -> Result<Vec<T>, Error> {
        let keys: Vec<_> = packed.iter().map(|day| (day.row.resolution, day.row.day_us, day.row.generation)).collect();
        let unpacking = packed.into_iter().map(|day| {
            let unpack = unpack.clone();
            self.unpacking.run(move |room| unpack(day, room))
        });
        let mut days = Vec::with_capacity(keys.len());
        for ((resolution, day_us, generation), (day, damage)) in keys.into_iter().zip(try_join_all(unpacking).await?) {
            if let Some(damage) = damage {
                self.note_damaged_day(whose, (resolution, day_us), (generation, damage)).await;
            }
            days.push(day);
        }
        Ok(days)
    }

    /// All stripes of a day that are there.
    pub(in crate::metrics) async fn every_stripe<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        row: &DayRow,
        index: &Index<LANES>,
    ) -> Result<Vec<StripeRow>, Error> {
        let all: Vec<u32> = index.stripes().collect();
        let runs = StripeRun::of(row.stripes_key(), &all);
        Ok(self.store.stripes(StripesOf::Days, whose, row.resolution, &runs).await?)
    }

    /// The hours, from the one that begins at `from_us` to the one that begins at `to_us`, that have raw blocks or are in a
    /// day.
    pub(in crate::metrics) async fn raw_hours(
        &self,
        whose: (OrgId, ServerId),
        (from_us, to_us): (i64, i64),
    ) -> Result<BTreeSet<i64>, Error> {
        let mut hours = self.store.block_windows(whose, Resolution::Second, (from_us, to_us)).await?;
        let range_us = (from_us, to_us + WINDOW_US);
        for day in self.days::<1>(whose, Resolution::Second, range_us, &mut Budget::of(0), |_| false).await? {
            hours.extend(day.hours);
        }
        Ok(hours)
    }

    /// Counts what can't be read of a day; the first time, whoever watches the fleet hears of it.
    pub(in crate::metrics) async fn note_damaged_day(
        &self,
        (org, server): (OrgId, ServerId),
        (resolution, day_us): (Resolution, i64),
        (generation, damage): (i64, Damaged),
    ) {
        let day = (resolution, day_us, generation);
        let is_new = self.store.note_damaged_day((org, server), day, self.clock.now_us()).await;
        if self.damage_is_news((org, server), is_new) {
            tracing::warn!(%server, resolution = resolution.seconds(), day_us, %damage, "samples of a day can't be read: they are passed over");
        }
    }
}

/// A day as it is stored, with those of its stripes that somebody asks for.
#[derive(Debug)]
pub(super) struct PackedDay<const LANES: usize> {
    row: DayRow,
    index: Result<Index<LANES>, Damaged>,
    stripes: Vec<StripeRow>,
}

impl<const LANES: usize> PackedDay<LANES> {
    /// What `read` makes of the day's table; and what can't be read of it, be it all.
    fn read<T>(
        self,
        room: &mut Room,
        wanted: impl Fn(&Series) -> bool,
        read: impl FnOnce(Table<'_, LANES>, &mut Room) -> Result<T, Damaged>,
    ) -> (Option<T>, Option<Damaged>) {
        let whole = || {
            let index = self.index?;
            let expected = index.stripes_with(&wanted).len();
            let (table, damage) = index.with(self.stripes.iter().map(StripeRow::content), room)?;
            let missing = (self.stripes.len() < expected).then_some(Damaged::Content);
            Ok((read(table, room)?, damage.or(missing)))
        };
        match whole() {
            Ok((read, damage)) => (Some(read), damage),
            Err(damage) => (None, Some(damage)),
        }
    }
}

fn read_day<const LANES: usize>(
    (packed, room): (PackedDay<LANES>, &mut Room),
    range_us: (i64, i64),
    wanted: impl Fn(&Series) -> bool,
) -> (DayCells<LANES>, Option<Damaged>) {
    let day_us = packed.row.day_us;
    let (day, damage) = packed.read(room, &wanted, |table, _| {
        let hours = hours_of(within(range_us, table.slots()));
        let found = table.select_within(range_us, &wanted)?;
        let read = found.len() * table.slots().len();
        Ok(DayCells { hours, found, read, ..DayCells::default() })
    });
    let day = DayCells { day_us, is_damaged: damage.is_some(), ..day.unwrap_or_default() };
    (day, damage)
}

/// A day's samples by step, and what they cost of a budget.
fn gather_day(
    (packed, room): (PackedDay<1>, &mut Room),
    (steps, run): (Steps, &Range<i64>),
    wanted: impl Fn(&Series) -> bool,
) -> ((Gathering, usize), Option<Damaged>) {
    let steps = steps.part(&(packed.row.day_us..packed.row.day_us + DAY_US));
    let (gathered, damage) = packed.read(room, &wanted, |table, room| {
        let (mut gathering, mut kept, mut read) = (Gathering::new(steps), 0, 0);
        table.walk(room, &wanted, |series, points| {
            gathering.take(series, points, run);
            read += points.len();
            let until = |end_us: i64| points.partition_point(|(at_us, _)| *at_us < end_us);
            kept += until(run.end) - until(run.start);
        })?;
        Ok((gathering, kept.max(read / UNUSED_FOR_ONE)))
    });
    (gathered.unwrap_or((Gathering::new(steps), 0)), damage)
}

/// Those of `slots`, which are in order of time, from `from_us` to before `to_us`.
fn within((from_us, to_us): (i64, i64), slots: &[i64]) -> &[i64] {
    let begin = slots.partition_point(|slot| *slot < from_us);
    &slots[begin..slots.partition_point(|slot| *slot < to_us).max(begin)]
}

/// The hours that moments in order of time are in.
pub(in crate::metrics) fn hours_of(slots: &[i64]) -> BTreeSet<i64> {
    let mut hours = BTreeSet::new();
    let mut rest = slots;
    while let Some(first) = rest.first() {
        let hour = window_of(*first);
        hours.insert(hour);
        rest = &rest[rest.partition_point(|slot| window_of(*slot) <= hour)..];
    }
    hours
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::steps::HOUR_US;

    #[test]
    fn hours_are_those_with_a_slot() {
        assert_eq!(hours_of(&[]), BTreeSet::new());
        let slots = [5, HOUR_US - 1, HOUR_US, 3 * HOUR_US + 7, 3 * HOUR_US + 8];
        assert_eq!(hours_of(&slots), BTreeSet::from([0, HOUR_US, 3 * HOUR_US]));
        assert_eq!(hours_of(within((6, HOUR_US), &slots)), BTreeSet::from([0]));
        assert!(within((HOUR_US + 1, 3 * HOUR_US), &slots).is_empty());
    }
}
