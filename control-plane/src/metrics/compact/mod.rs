//! Compaction: the hours of a day that is over become one day, which weighs less and is read series by series.
//!
//! A day waits [`GRACE_US`] after its end, so that most of what is late is in its hours. What comes later is sealed into
//! hours as ever, and those stand beside the day until the next pass makes it anew. Everything is written in one
//! transaction under the server's revision, so that hours are in their day or by themselves and never neither.

mod merge;

use std::time::Duration;

use muster_shared::id::{OrgId, ServerId};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use self::merge::{Minutes, Samples, merge};
use super::{
    History,
    block::{Directories, Index, rollup},
    block_row,
    seal::{DAY_US, WINDOW_US, computed},
    steps::HOUR_US,
};
use crate::{
    error::Error,
    store::{Compaction, DayRow, DueDay, Resolution, StoreError, StripeRow},
};

/// How long a day waits after its end: until the next day's first hour was sealed, which is made with its last minute.
pub const GRACE_US: i64 = 2 * HOUR_US;
/// How often it is looked for days that are due: what is late makes a day anew so often at most.
pub const EVERY: Duration = Duration::from_secs(3_600);

/// How long after a start it is first looked.
const FIRST_AFTER: Duration = Duration::from_secs(300);

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    pub days: usize,
    /// Days that could not be made this time.
    pub failed: usize,
}

/// Makes days of what is due every `every` until `stop`. A failure is logged, and the next pass tries again.
pub async fn keep_compacted(history: History, every: Duration, stop: CancellationToken) {
    // Hosts that all come back after a restart come first.
    let mut timer = interval_at(Instant::now() + FIRST_AFTER.min(every), every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        match stop.run_until_cancelled(compact_due(&history)).await {
            Some(Ok(compacted)) if compacted != Compacted::default() => {
                tracing::debug!(days = compacted.days, failed = compacted.failed, "days made of hours");
            }
            Some(Err(error)) => tracing::warn!(error = %crate::app::chain(&error), "days could not be made of hours"),
            _ => {}
        }
    }
}

/// Makes days of everything that is due by the history's clock, the oldest first. Idempotent.
///
/// # Errors
/// [`StoreError`] when it can't be known what is due.
pub async fn compact_due(history: &History) -> Result<Compacted, StoreError> {
    let mut compacted = Compacted::default();
    for due in history.store.days_to_compact(history.clock.now_us() - GRACE_US).await? {
        match compact(history, due).await {
            Ok(true) => compacted.days += 1,
            // There was nothing that can be read, or somebody else changed the server meanwhile.
            Ok(false) => {}
            Err(error) => {
                compacted.failed += 1;
                metrics::counter!("muster_compaction_failures_total").increment(1);
                tracing::warn!(server = %due.server, error = %crate::app::chain(&error), "a day could not be made of its hours");
            }
        }
    }
    Ok(compacted)
}

async fn compact(history: &History, due: DueDay) -> Result<bool, Error> {
    let whose = (due.org, due.server);
    let revision = history.store.sealing_revision(due.server).await?;
    let windows = (due.day_us, due.day_us + DAY_US - WINDOW_US);
    let blocks = history.store.blocks(whose, due.resolution, windows).await?;
    let day = history.store.days(whose, due.resolution, (due.day_us, due.day_us)).await?.pop();
    let generation = day.as_ref().map(|day| day.generation);
    let merged = match due.resolution {
        Resolution::Second => {
            let day = with_stripes::<1>(history, whose, day).await?;
            computed(move || merge::<Samples, 1>(&blocks, day.as_ref())).await?
        }
        _ => {
            let day = with_stripes::<{ rollup::LANES }>(history, whose, day).await?;
            computed(move || merge::<Minutes, { rollup::LANES }>(&blocks, day.as_ref())).await?
        }
    };
    for (key, damage) in &merged.damaged {
        history.note_damaged(whose, *key, *damage).await;
    }
    if let Some((generation, damage)) = generation.zip(merged.damaged_day) {
        history.note_damaged_day(whose, (due.resolution, due.day_us), (generation, damage)).await;
    }
    let Some(day) = merged.day else { return Ok(false) };
    let (hours, index) = (merged.absorbed.len(), day.head);
    let row = DayRow {
        resolution: due.resolution,
        day_us: due.day_us,
        generation: revision + 1,
        first_us: index.first_us,
        last_us: index.last_us,
        samples: index.samples,
        checksum: index.checksum,
        payload: index.payload,
    };
    let stripes = block_row::stripe_rows(row.stripes_key(), day.stripes);
    let compaction = Compaction { revision, day: row, stripes, absorbed: merged.absorbed };
    let is_done = history.store.compact(due.server, &compaction).await?;
    if is_done {
        metrics::counter!("muster_compaction_hours_total").increment(hours as u64);
    }
    Ok(is_done)
}

async fn with_stripes<const LANES: usize>(
    history: &History,
    whose: (OrgId, ServerId),
    day: Option<DayRow>,
) -> Result<Option<(DayRow, Vec<StripeRow>)>, Error> {
    let Some(day) = day else { return Ok(None) };
    let stripes = match Index::<LANES>::read((&day.payload, day.checksum), &Directories::default()) {
        Ok(index) => history.every_stripe(whose, &day, &index).await?,
        // Merging finds the same.
        Err(_) => Vec::new(),
    };
    Ok(Some((day, stripes)))
}
