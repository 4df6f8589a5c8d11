//! Hours out of days, for what comes so late that its day was made already.

use std::collections::{BTreeMap, BTreeSet};

use muster_shared::id::{OrgId, ServerId};

use super::{WINDOW_US, computed, day_of, stored::Lent};
use crate::{
    error::Error,
    metrics::{
        History,
        block::{
            Damaged, Directories,
            day::{Index, hours},
            rollup,
        },
    },
    store::{DayRow, Resolution, StripeRow, StripeRun},
};

/// What days have of the hours that begin at `windows`; `None` when the server is no more at `revision`.
pub(super) async fn lend(
    history: &History,
    whose: (OrgId, ServerId),
    windows: &BTreeSet<i64>,
    revision: i64,
) -> Result<Option<Vec<Lent>>, Error> {
    let mut by_day: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for window in windows {
        by_day.entry(day_of(*window)).or_default().insert(*window);
    }
    let mut all = Vec::new();
    for resolution in [Resolution::Second, Resolution::Minute] {
        for (day_us, windows) in &by_day {
            for row in history.store.days(whose, resolution, (*day_us, *day_us)).await? {
                let (lent, damage) = match resolution {
                    Resolution::Second => of_day::<1>(history, whose, row, windows.clone()).await?,
                    _ => of_day::<{ rollup::LANES }>(history, whose, row, windows.clone()).await?,
                };
                if let Some(damage) = damage {
                    // It may have been made anew meanwhile.
                    if history.store.sealing_revision(whose.1).await? != revision {
                        return Ok(None);
                    }
                    history.note_damaged_day(whose, (resolution, *day_us), damage).await;
                }
                all.push(lent);
            }
        }
    }
    Ok(Some(all))
}

async fn of_day<const LANES: usize>(
    history: &History,
    whose: (OrgId, ServerId),
    row: DayRow,
    windows: BTreeSet<i64>,
) -> Result<(Lent, Option<Damaged>), Error> {
    let mut directories = Directories::default();
    let (lent, damage) = match Index::<LANES>::read((&row.payload, row.checksum), &mut directories) {
        Err(damage) => (BTreeMap::new(), Some(damage)),
        Ok(index) => {
            let stripes = every_stripe(history, whose, &row, &index).await?;
            let missing = (stripes.len() < index.stripes().len()).then_some(Damaged::Content);
            let windows = windows.clone();
            computed(move || {
                let contents = stripes.iter().map(|row| (row.stripe as usize, (&row.payload[..], row.checksum)));
                let (table, damage) = index.with(contents);
                let (hours, unread) = hours(table, &windows, WINDOW_US);
                (hours, damage.or(missing).or(unread))
            })
            .await?
        }
    };
    let damaged = if damage.is_some() { windows } else { BTreeSet::new() };
    Ok((Lent { resolution: row.resolution, hours: lent, damaged }, damage))
}

/// All stripes of a day that are there.
pub(in crate::metrics) async fn every_stripe<const LANES: usize>(
    history: &History,
    whose: (OrgId, ServerId),
    row: &DayRow,
    index: &Index<LANES>,
) -> Result<Vec<StripeRow>, Error> {
    let Some(last) = index.stripes().last().and_then(|last| u32::try_from(last).ok()) else { return Ok(Vec::new()) };
    let run = StripeRun { day_us: row.day_us, generation: row.generation, first: 0, last };
    Ok(history.store.day_stripes(whose, row.resolution, &[run]).await?)
}
