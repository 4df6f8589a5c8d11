//! Hours as they are read: blocks by themselves, of single samples or of minutes, and those of a day's hours.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use muster_shared::{
    id::{OrgId, ServerId},
    metric::Series,
};

use super::{History, days::hours_of};
use crate::{
    error::Error,
    metrics::{
        Budget, Selection,
        block::{Cells, Damaged, Directories, Room},
        block_row,
    },
    store::{BlockKey, BlockRow, Resolution},
};

/// What was asked for of a block.
#[derive(Debug)]
pub(super) struct HourCells<const LANES: usize> {
    /// The hours that have any value, of whatever series.
    pub(super) hours: BTreeSet<i64>,
    pub(super) found: Vec<(Series, Cells<LANES>)>,
}

impl<const LANES: usize> HourCells<LANES> {
    fn of(
        (block, room): (&BlockRow, &mut Room),
        directories: &Directories,
        wanted: impl Fn(&Series) -> bool,
    ) -> Result<Self, Damaged> {
        let table = block_row::table(block, (directories, room), &wanted)?;
        let found = table.select(wanted)?;
        Ok(Self { hours: hours_of(table.slots()), found })
    }

    fn count(&self) -> usize {
        self.found.iter().map(|(_, cells)| cells.len()).sum()
    }
}

type Outcome<const LANES: usize> = (BlockKey, Result<HourCells<LANES>, Damaged>);

impl History {
    /// What `selection` takes of the blocks of the windows from the first to the last, in order; and the windows of those that
    /// can't be read.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for more than `budget`; [`Error`] when the store fails.
    pub(super) async fn hours<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        windows: (i64, i64),
        budget: &mut Budget,
        selection: &Selection,
    ) -> Result<(Vec<HourCells<LANES>>, BTreeSet<i64>), Error> {
        let blocks = self.blocks::<LANES>(whose, resolution, windows, selection).await?;
        self.unpacked_hours(whose, blocks, budget, selection).await
    }

    /// Blocks with the stripes of what `selection` takes.
    pub(super) async fn blocks<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        windows: (i64, i64),
        selection: &Selection,
    ) -> Result<Vec<BlockRow>, Error> {
        let wanted = |block: &BlockRow| {
            block_row::stripes_with::<LANES>(block, &self.directories, |series| selection.takes(series))
        };
        Ok(self.store.blocks_with(whose, resolution, windows, wanted).await?)
    }

    /// The same of blocks that were fetched before.
    pub(super) async fn unpacked_hours<const LANES: usize>(
        &self,
        whose: (OrgId, ServerId),
        blocks: Vec<BlockRow>,
        budget: &mut Budget,
        selection: &Selection,
    ) -> Result<(Vec<HourCells<LANES>>, BTreeSet<i64>), Error> {
        let shares = self.shares(blocks).map(|these| {
            let (wanted, left, directories) = (selection.taken(), budget.left(), self.directories.clone());
            self.unpacking.run(move |room| read_blocks((&these, room), &directories, wanted, Budget::of(left)))
        });
        let (mut read, mut damaged) = (Vec::new(), BTreeSet::new());
        for (key, outcome) in try_join_all(shares).await?.into_iter().flatten() {
            match outcome {
                Ok(cells) => {
                    budget.take(cells.count())?;
                    read.push(cells);
                }
                Err(damage) => {
                    self.note_damaged(whose, key, damage).await;
                    damaged.insert(key.window_us);
                }
            }
        }
        Ok((read, damaged))
    }

    /// `all` in shares of neighbours, as many as there are turns at unpacking.
    pub(super) fn shares<T>(&self, mut all: Vec<T>) -> impl Iterator<Item = Vec<T>> {
        let share = all.len().div_ceil(self.unpacking.at_once());
        std::iter::from_fn(move || {
            let others = all.split_off(share.min(all.len()));
            Some(std::mem::replace(&mut all, others)).filter(|these| !these.is_empty())
        })
    }
}

/// Reads blocks until there is more than `budget`, which is then exceeded by what was read.
fn read_blocks<const LANES: usize>(
    (blocks, room): (&[BlockRow], &mut Room),
    directories: &Directories,
    wanted: impl Fn(&Series) -> bool,
    mut budget: Budget,
) -> Vec<Outcome<LANES>> {
    let mut read = Vec::with_capacity(blocks.len());
    for block in blocks {
        let outcome = HourCells::of((block, room), directories, &wanted);
        let is_enough = outcome.as_ref().is_ok_and(|cells| budget.take(cells.count()).is_err());
        read.push((block.key, outcome));
        if is_enough {
            break;
        }
    }
    read
}
