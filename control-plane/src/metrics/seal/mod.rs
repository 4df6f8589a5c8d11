//! Sealing: what is some minutes old goes from frames into blocks, with its minutes and hours.
//!
//! A server's hour is sealed once it is over and [`GRACE_US`] has passed. What arrives later, however late, is sealed
//! with the next pass: into the same window, and its roll-ups. A pass takes one server's hour at a time and one
//! transaction each, so that frames are in a block or not, and never both or neither. A frame that nothing can be made
//! of is put into quarantine and counted; a server that can't be sealed keeps no other from it.

mod lend;
mod plan;
mod stored;
mod survey;

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

use muster_shared::id::{OrgId, ServerId};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::{stored::Stored, survey::Survey};
use super::{
    History,
    steps::{HOUR_US, SECOND_US},
};
use crate::{
    error::Error,
    store::{PoisonFrame, Resolution, StoreError, StoredFrame},
};

/// How long a raw block is.
pub const WINDOW_US: i64 = HOUR_US;
/// How long an hour waits after its end: batches that are on their way make it in.
pub const GRACE_US: i64 = 120 * SECOND_US;
/// Most frames of one sealing; the rest of the hour follows.
const MAX_FRAMES: u32 = 8_000;
/// How long a day of raw blocks, or a block of hours is.
pub(super) const DAY_US: i64 = Resolution::DAY_US;

/// A series' integers by time.
type Points = Vec<(i64, i64)>;

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    pub frames: usize,
    pub quarantined: usize,
    /// Servers that could not be sealed this time.
    pub failed: usize,
}

/// Seals what is due every `every` until `stop`. A failure is logged, and the next pass tries again.
pub async fn keep_sealed(history: History, every: Duration, stop: CancellationToken) {
    let mut timer = interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        match stop.run_until_cancelled(seal_due(&history)).await {
            Some(Ok(sealed)) if sealed != Sealed::default() => {
                tracing::debug!(frames = sealed.frames, failed = sealed.failed, "frames sealed");
            }
            Some(Err(error)) => tracing::warn!(error = %crate::app::chain(&error), "frames could not be sealed"),
            _ => {}
        }
    }
}

/// Seals everything that is due by the history's clock, server by server. Idempotent.
///
/// # Errors
/// [`StoreError`] when it can't be known what is due.
pub async fn seal_due(history: &History) -> Result<Sealed, StoreError> {
    let before_us = window_of(history.clock.now_us() - GRACE_US);
    let mut sealed = Sealed::default();
    for (org, server) in history.store.servers_to_seal(before_us).await? {
        if let Err(error) = seal_server(history, (org, server), before_us, &mut sealed).await {
            sealed.failed += 1;
            metrics::counter!("muster_sealing_failures_total").increment(1);
            tracing::warn!(%server, error = %crate::app::chain(&error), "a server could not be sealed");
        }
    }
    Ok(sealed)
}

async fn seal_server(
    history: &History,
    (org, server): (OrgId, ServerId),
    before_us: i64,
    sealed: &mut Sealed,
) -> Result<(), Error> {
    while let Some(first_us) = history.store.first_to_seal_us(server, before_us).await? {
        let revision = history.store.sealing_revision(server).await?;
        let end_us = before_us.min(window_of(first_us) + WINDOW_US);
        let frames = history.store.frames_to_seal(server, (end_us, before_us), MAX_FRAMES).await?;
        let (frames, poison) = seal(history, (org, server), frames, revision).await?;
        sealed.frames += frames;
        sealed.quarantined += poison;
        if frames + poison == 0 {
            // Somebody else sealed this server meanwhile, and goes on with it.
            return Ok(());
        }
    }
    Ok(())
}

/// One sealing. Answers how many frames are sealed now, and how many are in quarantine.
async fn seal(
    history: &History,
    (org, server): (OrgId, ServerId),
    frames: Vec<Result<StoredFrame, PoisonFrame>>,
    revision: i64,
) -> Result<(usize, usize), Error> {
    let store = &history.store;
    let mut declared = HashMap::new();
    for frame in frames.iter().flatten() {
        let Entry::Vacant(unknown) = declared.entry(frame.epoch) else { continue };
        unknown.insert(match store.lists_of(org, server, frame.epoch).await {
            Ok(lists) => Some(lists),
            Err(StoreError::Unreadable { .. }) => None,
            Err(error) => return Err(error.into()),
        });
    }
    let survey = computed(move || Survey::of(frames, &declared)).await?;
    let mut blocks = Vec::new();
    let (mut days, windows) = (BTreeSet::new(), plan::windows_around(&survey));
    for window in windows.iter().copied() {
        for resolution in [Resolution::Second, Resolution::Minute] {
            blocks.extend(store.blocks((org, server), resolution, (window, window)).await?);
        }
        if days.insert(day_of(window)) {
            blocks.extend(store.blocks((org, server), Resolution::Hour, (day_of(window), day_of(window))).await?);
        }
    }
    let lent = lend::lend(history, (org, server), &windows).await?;
    let (damaged, sealing) = computed(move || {
        let mut stored = Stored::of(blocks, &plan::lookups(&survey)).with(lent);
        (stored.damaged(), plan::plan(&survey, &mut stored, revision))
    })
    .await?;
    for (key, damage) in damaged {
        history.note_damaged((org, server), key, damage).await;
    }
    if !store.seal(server, &sealing, history.clock.now_us()).await? {
        return Ok((0, 0));
    }
    for frame in &sealing.poison {
        metrics::counter!("muster_sealing_quarantined_total", "reason" => frame.reason).increment(1);
        tracing::warn!(%server, epoch = frame.epoch, seq = frame.seq, reason = frame.reason, "stored frame quarantined");
    }
    metrics::counter!("muster_sealing_frames_total").increment(sealing.frames.len() as u64);
    Ok((sealing.frames.len(), sealing.poison.len()))
}

/// Computes beside the tasks that wait for others.
pub(super) async fn computed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)
}

/// The window that a moment is in.
pub(super) fn window_of(at_us: i64) -> i64 {
    at_us.div_euclid(WINDOW_US).saturating_mul(WINDOW_US)
}

/// The day that a moment is in: the window of a block of hours.
pub(super) fn day_of(at_us: i64) -> i64 {
    at_us.div_euclid(DAY_US).saturating_mul(DAY_US)
}

/// Puts points in order of time, each moment once: of two values the lesser counts, whoever told first.
pub(super) fn merged(points: &mut Points) {
    if !points.is_sorted_by(|one, other| one.0 < other.0) {
        points.sort_unstable();
        points.dedup_by_key(|point| point.0);
    }
}
