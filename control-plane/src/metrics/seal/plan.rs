//! What becomes of frames and of the blocks that are there already. Pure.
//!
//! Raw blocks of a window are made anew of everything readable in them and the frames. Its minutes and hour follow from
//! its raw samples, as long as all of those can be read; where they are gone or damaged, what comes late is added to
//! the roll-ups that are there. A block that can't be read is never touched: what is new lies beside it.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use muster_shared::metric::{Series, SeriesKind};

use super::{Points, WINDOW_US, day_of, merged, stored::Stored, survey::Survey};
use crate::{
    metrics::{
        block::{Cells, Striped, encode, encode_points, rollup},
        block_row,
        steps::{Bucket, MAX_RATE_GAP_US, MINUTE_US, Reader},
    },
    store::{BlockKey, BlockRow, Resolution, Sealing},
};

/// Samples held at once, not counting what is read to be added to: hosts with more are sealed group by group.
const MAX_HELD: usize = 4_000_000;

type Rolled = Cells<{ rollup::LANES }>;

/// How a window's roll-ups are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manner {
    /// From raw samples; otherwise what is new is added.
    anew: bool,
    writes_raw: bool,
    writes_minutes: bool,
    /// The hour is what the minutes together are; otherwise what is new is added to it.
    hour_of_minutes: bool,
}

/// One sealing in the making.
#[derive(Debug)]
struct Maker<'a> {
    stored: &'a mut Stored,
    /// The revision that the server has with it.
    generation: i64,
    blocks: Vec<BlockRow>,
    replaced: BTreeSet<BlockKey>,
    /// Of each hour that changes, by series; and whether it takes the place of what was there.
    hours: BTreeMap<i64, (bool, BTreeMap<Series, Bucket>)>,
}

/// Windows that a sealing reads beside those it changes: the one before for the first rates, the one after since its
/// first rates change.
pub(super) fn windows_around(survey: &Survey) -> BTreeSet<i64> {
    survey.windows.iter().flat_map(|window| [window - WINDOW_US, *window, window + WINDOW_US]).collect()
}

/// Those of them that are only looked into.
pub(super) fn lookups(survey: &Survey) -> BTreeSet<i64> {
    let may_change = |window: &i64| survey.windows.contains(window) || survey.windows.contains(&(window - WINDOW_US));
    windows_around(survey).into_iter().filter(|window| !may_change(window)).collect()
}

/// The sealing of what was surveyed. `revision` is the server's.
pub(super) fn plan(survey: &Survey, stored: &mut Stored, revision: i64) -> Sealing {
    let manners: BTreeMap<_, _> = survey.windows.iter().map(|window| (*window, manner(stored, *window))).collect();
    let following: BTreeSet<_> = survey
        .windows
        .iter()
        .map(|window| window + WINDOW_US)
        .filter(|next| !survey.windows.contains(next) && manner(stored, *next).anew)
        .filter(|next| stored.has(Resolution::Second, *next) && stored.has(Resolution::Minute, *next))
        .collect();
    let mut series = survey.series.clone();
    for window in survey.windows.iter().chain(&following) {
        series.extend(stored.series(*window));
        series.extend(stored.rolled(Resolution::Minute, *window, |_| true).into_keys());
    }
    let series: Vec<Series> = series.into_iter().collect();
    let mut maker = Maker {
        stored,
        generation: revision + 1,
        blocks: Vec::new(),
        replaced: BTreeSet::new(),
        hours: BTreeMap::new(),
    };
    for group in series.chunks((MAX_HELD / survey.ticks.max(1)).max(1)) {
        maker.group(survey.points(group), group, &manners, &following);
    }
    maker.days();
    Sealing {
        revision,
        frames: survey.keys(),
        poison: survey.poison.clone(),
        used: survey.used.clone(),
        replaced: maker.replaced.into_iter().collect(),
        blocks: maker.blocks,
    }
}

fn manner(stored: &Stored, window_us: i64) -> Manner {
    let has_raw = stored.has(Resolution::Second, window_us);
    let has_minutes = stored.has(Resolution::Minute, window_us);
    let of_day = stored.rolled(Resolution::Hour, day_of(window_us), |_| true);
    let has_hour = of_day.values().any(|cells| cells.iter().any(|(slot, _)| *slot == window_us));
    let is_new = !has_raw && !has_minutes && !has_hour;
    let anew = is_new || stored.is_whole(Resolution::Second, window_us) || (has_raw && !has_minutes && !has_hour);
    let hour_of_minutes = anew || stored.is_whole(Resolution::Minute, window_us);
    Manner { anew, writes_raw: anew || has_raw, writes_minutes: anew || has_minutes, hour_of_minutes }
}

impl Maker<'_> {
    /// One group of series, in every window.
    fn group(
        &mut self,
        mut new: BTreeMap<i64, BTreeMap<Series, Points>>,
        group: &[Series],
        manners: &BTreeMap<i64, Manner>,
        following: &BTreeSet<i64>,
    ) {
        let mut ends: BTreeMap<i64, BTreeMap<Series, Points>> = BTreeMap::new();
        for (window, manner) in manners {
            let fresh = new.remove(window).unwrap_or_default();
            let mut whole = self.stored.points(*window, *window, group);
            let late = if manner.anew { BTreeMap::new() } else { fresh.clone() };
            for (series, points) in fresh {
                match whole.entry(series) {
                    Entry::Vacant(new) => drop(new.insert(points)),
                    Entry::Occupied(mut known) => known.get_mut().extend(points),
                }
            }
            whole.values_mut().for_each(merged);
            if manner.writes_raw {
                self.put(Resolution::Second, *window, encode_points(&whole));
            }
            let minutes = if manner.anew {
                minutes_of(&self.end_of(*window, group, &ends), &whole)
            } else {
                self.added_to(*window, group, &late)
            };
            let hour = if manner.hour_of_minutes { &minutes } else { &minutes_of(&BTreeMap::new(), &late) };
            self.hour(*window, *manner, hour);
            if manner.writes_minutes {
                self.put(Resolution::Minute, *window, encode(&minutes).map(Into::into));
            }
            ends.insert(*window, last_minute(*window, &whole));
        }
        for window in following {
            let whole = self.stored.points(*window, *window, group);
            let before = self.end_of(*window, group, &ends);
            let minutes = minutes_of(&before, &whole);
            self.hour(*window, manner(self.stored, *window), &minutes);
            self.put(Resolution::Minute, *window, encode(&minutes).map(Into::into));
        }
    }

    /// What is needed of the window before for the first rates.
    fn end_of(
        &self,
        window: i64,
        group: &[Series],
        ends: &BTreeMap<i64, BTreeMap<Series, Points>>,
    ) -> BTreeMap<Series, Points> {
        let before = window - WINDOW_US;
        let from_us = window - MAX_RATE_GAP_US;
        ends.get(&before).cloned().unwrap_or_else(|| self.stored.points(before, from_us, group))
    }

    /// The minutes that are there, with those of late samples added.
    fn added_to(&self, window: i64, group: &[Series], late: &BTreeMap<Series, Points>) -> BTreeMap<Series, Rolled> {
        let mut minutes = self.stored.rolled(Resolution::Minute, window, |series| group.binary_search(series).is_ok());
        for (series, cells) in minutes_of(&BTreeMap::new(), late) {
            let known = minutes.remove(&series).unwrap_or_default();
            let cells = added(series.kind, known.into_iter().chain(cells));
            minutes.insert(series, cells);
        }
        minutes
    }

    fn hour(&mut self, window: i64, manner: Manner, minutes: &BTreeMap<Series, Rolled>) {
        let (_, hour) = self.hours.entry(window).or_insert_with(|| (manner.hour_of_minutes, BTreeMap::new()));
        for (series, cells) in minutes {
            let of_hour = hour.entry(series.clone()).or_default();
            cells.iter().for_each(|(_, lanes)| of_hour.merge(&rollup::from_lanes(series.kind, *lanes)));
        }
    }

    /// The days whose hours change.
    fn days(&mut self) {
        let mut days: BTreeMap<i64, BTreeMap<Series, Rolled>> = BTreeMap::new();
        for (hour_us, (replaces, buckets)) in std::mem::take(&mut self.hours) {
            let stored = &*self.stored;
            let day_us = day_of(hour_us);
            let day = days.entry(day_us).or_insert_with(|| stored.rolled(Resolution::Hour, day_us, |_| true));
            if replaces {
                day.values_mut().for_each(|cells| cells.retain(|(slot, _)| *slot != hour_us));
            }
            for (series, bucket) in buckets.into_iter().filter(|(_, bucket)| bucket.weight > 0) {
                let lanes = rollup::to_lanes(series.kind, &bucket);
                let kind = series.kind;
                let cells = day.entry(series).or_default();
                *cells = added(kind, std::mem::take(cells).into_iter().chain([(hour_us, lanes)]));
            }
        }
        for (day_us, day) in days {
            self.put(Resolution::Hour, day_us, encode(&day).map(Into::into));
        }
    }

    /// Puts a block in the place of those of its window that can be read.
    fn put(&mut self, resolution: Resolution, window: i64, block: Option<Striped>) {
        self.replaced.extend(self.stored.keys(resolution, window));
        if let Some(block) = block {
            let key = self.stored.new_key(resolution, window);
            self.blocks.push(block_row::row(key, self.generation, block));
        }
    }
}

/// The samples of a window's last minute, of points in order of time.
fn last_minute(window: i64, points: &BTreeMap<Series, Points>) -> BTreeMap<Series, Points> {
    let from_us = window + WINDOW_US - MAX_RATE_GAP_US;
    let end = |points: &Points| points[points.partition_point(|(at_us, _)| *at_us < from_us)..].to_vec();
    points.iter().map(|(series, points)| (series.clone(), end(points))).collect()
}

/// Minutes of `points`, their first rates made with what was `before`.
fn minutes_of(before: &BTreeMap<Series, Points>, points: &BTreeMap<Series, Points>) -> BTreeMap<Series, Rolled> {
    let minutes = points.iter().map(|(series, points)| {
        let mut reader = Reader::default();
        for point in before.get(series).into_iter().flatten() {
            // Only what the first rate is made with.
            let _ = reader.read(series.kind, *point);
        }
        let minute = |at_us: i64| at_us.div_euclid(MINUTE_US) * MINUTE_US;
        let mut minutes: BTreeMap<i64, Bucket> = BTreeMap::new();
        for points in points.chunk_by(|one, next| minute(one.0) == minute(next.0)) {
            let bucket = reader.bucket(series.kind, points);
            if bucket.weight > 0 {
                minutes.entry(minute(points[0].0)).or_default().merge(&bucket);
            }
        }
        let lanes = |(slot, bucket): (i64, Bucket)| (slot, rollup::to_lanes(series.kind, &bucket));
        (series.clone(), minutes.into_iter().map(lanes).collect())
    });
    minutes.collect()
}

/// Cells of which several may be of one slot, put together.
fn added(kind: SeriesKind, cells: impl Iterator<Item = (i64, [i64; rollup::LANES])>) -> Rolled {
    let mut slots: BTreeMap<i64, Bucket> = BTreeMap::new();
    cells.for_each(|(slot, lanes)| slots.entry(slot).or_default().merge(&rollup::from_lanes(kind, lanes)));
    slots.into_iter().map(|(slot, bucket)| (slot, rollup::to_lanes(kind, &bucket))).collect()
}
