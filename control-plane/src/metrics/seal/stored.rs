//! The blocks that sealing finds, those that can be read told from those that can't; and what days have of the same
//! hours. Pure.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use muster_shared::metric::Series;

use super::{Points, merged};
use crate::{
    metrics::{
        block::{Cells, Damaged, Directories, Encoded, Room, Table, rollup},
        block_row,
    },
    store::{BlockKey, BlockRow, Resolution},
};

/// A day's hours as blocks by themselves, which are not stored as such.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) resolution: Resolution,
    pub(super) hours: BTreeMap<i64, Encoded>,
    /// The hours of which some can't be read.
    pub(super) damaged: BTreeSet<i64>,
}

/// Blocks by resolution and window, all of them readable, and what else is there.
#[derive(Debug, Default)]
pub(super) struct Stored {
    readable: BTreeMap<(Resolution, i64), Vec<BlockRow>>,
    lent: BTreeMap<(Resolution, i64), Encoded>,
    not_whole: BTreeSet<(Resolution, i64)>,
    damaged: BTreeMap<BlockKey, Damaged>,
    next_part: BTreeMap<(Resolution, i64), i64>,
}

impl Stored {
    /// Reads whole whatever may be replaced later: what can't be read now must not be. Of `lookups`, windows that are only
    /// looked into, a block that can't be read is passed over then.
    pub(super) fn of(blocks: Vec<BlockRow>, lookups: &BTreeSet<i64>) -> Self {
        let mut stored = Self::default();
        for block in blocks {
            let place = (block.key.resolution, block.key.window_us);
            let next = stored.next_part.entry(place).or_default();
            *next = (*next).max(block.key.part + 1);
            let is_lookup = block.key.resolution != Resolution::Hour && lookups.contains(&block.key.window_us);
            match if is_lookup { Ok(()) } else { check(&block) } {
                Ok(()) => stored.readable.entry(place).or_default().push(block),
                Err(damage) => drop(stored.damaged.insert(block.key, damage)),
            }
        }
        stored
    }

    /// With what days have. Single samples of an hour are put together; of its roll-ups the newer, which are in a block by
    /// themselves, count.
    pub(super) fn with(mut self, days: Vec<Lent>) -> Self {
        for day in days {
            self.not_whole.extend(day.damaged.iter().map(|window| (day.resolution, *window)));
            for (window, hour) in day.hours {
                let place = (day.resolution, window);
                if day.resolution == Resolution::Second || !self.readable.contains_key(&place) {
                    self.lent.insert(place, hour);
                }
            }
        }
        self
    }

    pub(super) fn damaged(&self) -> Vec<(BlockKey, Damaged)> {
        self.damaged.iter().map(|(key, damage)| (*key, *damage)).collect()
    }

    /// Whether there is any block of it, readable or not.
    pub(super) fn has(&self, resolution: Resolution, window_us: i64) -> bool {
        let place = (resolution, window_us);
        self.next_part.contains_key(&place) || self.lent.contains_key(&place) || self.not_whole.contains(&place)
    }

    pub(super) fn is_whole(&self, resolution: Resolution, window_us: i64) -> bool {
        let is_of = |key: &&BlockKey| (key.resolution, key.window_us) == (resolution, window_us);
        self.has(resolution, window_us)
            && !self.damaged.keys().any(|key| is_of(&key))
            && !self.not_whole.contains(&(resolution, window_us))
    }

    /// The readable blocks' places.
    pub(super) fn keys(&self, resolution: Resolution, window_us: i64) -> impl Iterator<Item = BlockKey> {
        self.readable.get(&(resolution, window_us)).into_iter().flatten().map(|block| block.key)
    }

    /// A place for a new block, never given twice.
    pub(super) fn new_key(&mut self, resolution: Resolution, window_us: i64) -> BlockKey {
        let next = self.next_part.entry((resolution, window_us)).or_default();
        let key = BlockKey { resolution, window_us, part: *next };
        *next += 1;
        key
    }

    /// Every series of a window's raw blocks.
    pub(super) fn series(&self, window_us: i64) -> BTreeSet<Series> {
        self.cells::<1>((Resolution::Second, window_us), window_us, |_| true).into_keys().collect()
    }

    /// A window's raw samples of `group`'s series, from `from_us` on, in order of time.
    pub(super) fn points(&self, window_us: i64, from_us: i64, group: &[Series]) -> BTreeMap<Series, Points> {
        let wanted = |series: &Series| group.binary_search(series).is_ok();
        let cells = self.cells::<1>((Resolution::Second, window_us), from_us, wanted);
        let points = |cells: Cells<1>| {
            let mut points: Points = cells.into_iter().map(|(at_us, [value])| (at_us, value)).collect();
            merged(&mut points);
            points
        };
        cells.into_iter().map(|(series, cells)| (series, points(cells))).collect()
    }

    /// A window's minutes or hours.
    pub(super) fn rolled(
        &self,
        resolution: Resolution,
        window_us: i64,
        wanted: impl Fn(&Series) -> bool,
    ) -> BTreeMap<Series, Cells<{ rollup::LANES }>> {
        self.cells((resolution, window_us), window_us, wanted)
    }

    fn cells<const LANES: usize>(
        &self,
        place: (Resolution, i64),
        from_us: i64,
        wanted: impl Fn(&Series) -> bool,
    ) -> BTreeMap<Series, Cells<LANES>> {
        let mut found: BTreeMap<Series, Cells<LANES>> = BTreeMap::new();
        let (directories, room) = (Directories::default(), &mut Room::default());
        let mut add = |table: Result<Table<'_, LANES>, Damaged>| {
            // It was read a moment ago, or is only looked into.
            let read = table.and_then(|table| table.select_within((from_us, i64::MAX), &wanted));
            for (series, cells) in read.unwrap_or_default() {
                match found.entry(series) {
                    Entry::Vacant(new) => drop(new.insert(cells)),
                    Entry::Occupied(mut known) => known.get_mut().extend(cells),
                }
            }
        };
        for block in self.readable.get(&place).into_iter().flatten() {
            add(block_row::table(block, (&directories, room), &wanted));
        }
        if let Some(hour) = self.lent.get(&place) {
            add(Table::read((&hour.payload, hour.checksum), &directories, room));
        }
        found
    }
}

fn check(block: &BlockRow) -> Result<(), Damaged> {
    match block.key.resolution {
        Resolution::Second => check_lanes::<1>(block),
        Resolution::Minute | Resolution::Hour => check_lanes::<{ rollup::LANES }>(block),
    }
}

fn check_lanes<const LANES: usize>(block: &BlockRow) -> Result<(), Damaged> {
    let table = block_row::table::<LANES>(block, (&Directories::default(), &mut Room::default()), |_| true)?;
    table.rows().try_for_each(|row| row.map(drop))
}
