//! The blocks that sealing finds, those that can be read told from those that can't. Pure.

use std::collections::{BTreeMap, BTreeSet};

use muster_shared::metric::Series;

use super::Points;
use crate::{
    metrics::block::{Cells, Damaged, Directories, rollup, select},
    store::{BlockKey, BlockRow, Resolution},
};

/// Blocks by resolution and window, all of them readable, and what else is there.
#[derive(Debug, Default)]
pub(super) struct Stored {
    readable: BTreeMap<(Resolution, i64), Vec<BlockRow>>,
    damaged: BTreeMap<BlockKey, Damaged>,
    next_part: BTreeMap<(Resolution, i64), i64>,
}

impl Stored {
    /// Reads every block whole: what can't be read now must not be replaced later.
    pub(super) fn of(blocks: Vec<BlockRow>) -> Self {
        let mut stored = Self::default();
        for block in blocks {
            let place = (block.key.resolution, block.key.window_us);
            let next = stored.next_part.entry(place).or_default();
            *next = (*next).max(block.key.part + 1);
            match check(&block) {
                Ok(()) => stored.readable.entry(place).or_default().push(block),
                Err(damage) => drop(stored.damaged.insert(block.key, damage)),
            }
        }
        stored
    }

    pub(super) fn damaged(&self) -> Vec<(BlockKey, Damaged)> {
        self.damaged.iter().map(|(key, damage)| (*key, *damage)).collect()
    }

    /// Whether there is any block of it, readable or not.
    pub(super) fn has(&self, resolution: Resolution, window_us: i64) -> bool {
        self.next_part.contains_key(&(resolution, window_us))
    }

    pub(super) fn is_whole(&self, resolution: Resolution, window_us: i64) -> bool {
        let is_of = |key: &&BlockKey| (key.resolution, key.window_us) == (resolution, window_us);
        self.has(resolution, window_us) && !self.damaged.keys().any(|key| is_of(&key))
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
        self.cells::<1>(Resolution::Second, window_us, |_| true).into_keys().collect()
    }

    /// A window's raw samples of `group`'s series.
    pub(super) fn points(&self, window_us: i64, group: &[Series]) -> BTreeMap<Series, Points> {
        let cells = self.cells::<1>(Resolution::Second, window_us, |series| group.binary_search(series).is_ok());
        let points = |cells: Cells<1>| cells.into_iter().map(|(at_us, [value])| (at_us, value)).collect();
        cells.into_iter().map(|(series, cells)| (series, points(cells))).collect()
    }

    /// A window's minutes or hours.
    pub(super) fn rolled(
        &self,
        resolution: Resolution,
        window_us: i64,
        wanted: impl Fn(&Series) -> bool,
    ) -> BTreeMap<Series, Cells<{ rollup::LANES }>> {
        self.cells(resolution, window_us, wanted)
    }

    fn cells<const LANES: usize>(
        &self,
        resolution: Resolution,
        window_us: i64,
        wanted: impl Fn(&Series) -> bool,
    ) -> BTreeMap<Series, Cells<LANES>> {
        let mut found: BTreeMap<Series, Cells<LANES>> = BTreeMap::new();
        let mut directories = Directories::default();
        for block in self.readable.get(&(resolution, window_us)).into_iter().flatten() {
            // It was read a moment ago.
            let read = select((&block.payload, block.checksum), &mut directories, &wanted).unwrap_or_default();
            for (series, cells) in read {
                found.entry(series).or_default().extend(cells);
            }
        }
        found
    }
}

fn check(block: &BlockRow) -> Result<(), Damaged> {
    let (content, directories) = ((&block.payload[..], block.checksum), &mut Directories::default());
    match block.key.resolution {
        Resolution::Second => select::<1>(content, directories, |_| true).map(drop),
        Resolution::Minute | Resolution::Hour => select::<{ rollup::LANES }>(content, directories, |_| true).map(drop),
    }
}
