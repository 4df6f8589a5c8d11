//! Hours out of days, for what comes so late that its day was made already.

use std::collections::{BTreeMap, BTreeSet};

use muster_shared::id::{OrgId, ServerId};

use super::{WINDOW_US, computed, day_of, stored::Lent};
use crate::{
    error::Error,
    metrics::{
        History,
        block::{Damaged, Directories, Index, Room, day::hours, rollup},
    },
    store::{DayRow, Resolution, StripeRow},
};

/// What days have of the hours that begin at `windows`. Where a day is made anew meanwhile that may look damaged, and what
/// is planned with it comes too late for the server's revision.
pub(super) async fn lend(
    history: &History,
    whose: (OrgId, ServerId),
    windows: &BTreeSet<i64>,
) -> Result<Vec<Lent>, Error> {
    let mut by_day: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for window in windows {
        by_day.entry(day_of(*window)).or_default().insert(*window);
    }
    let mut all = Vec::new();
    for resolution in [Resolution::Second, Resolution::Minute] {
        for (day_us, windows) in &by_day {
            for row in history.store.days(whose, resolution, (*day_us, *day_us)).await? {
                let generation = row.generation;
                let (lent, damage) = match resolution {
                    Resolution::Second => of_day::<1>(history, whose, row, windows.clone()).await?,
                    _ => of_day::<{ rollup::LANES }>(history, whose, row, windows.clone()).await?,
                };
                if let Some(damage) = damage {
                    history.note_damaged_day(whose, (resolution, *day_us), (generation, damage)).await;
                }
                all.push(lent);
            }
        }
    }
    Ok(all)
}

async fn of_day<const LANES: usize>(
    history: &History,
    whose: (OrgId, ServerId),
    row: DayRow,
    windows: BTreeSet<i64>,
) -> Result<(Lent, Option<Damaged>), Error> {
    let (lent, damage) = match Index::<LANES>::read((&row.payload, row.checksum), &Directories::default()) {
        Err(damage) => (BTreeMap::new(), Some(damage)),
        Ok(index) => {
            let stripes = history.every_stripe(whose, &row, &index).await?;
            let missing = (stripes.len() < index.stripes().len()).then_some(Damaged::Content);
            let windows = windows.clone();
            computed(move || match index.with(stripes.iter().map(StripeRow::content), &mut Room::default()) {
                Ok((table, damage)) => {
                    let (hours, unread) = hours(table, &windows, WINDOW_US);
                    (hours, damage.or(missing).or(unread))
                }
                Err(damage) => (BTreeMap::new(), Some(damage)),
            })
            .await?
        }
    };
    let damaged = if damage.is_some() { windows } else { BTreeSet::new() };
    Ok((Lent { resolution: row.resolution, hours: lent, damaged }, damage))
}
