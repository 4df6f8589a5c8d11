//! What is kept for how long, and the reconciler that removes the rest.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    store::{Store, StoreError},
};

/// How long samples are kept as they arrived, unless the configuration says otherwise.
pub const FRAMES_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a repeated creation is recognised.
pub const IDEMPOTENCY_KEYS_KEPT_US: i64 = DAY_US;
/// How long a certificate is known after it expired: a host may renew it for 30 days.
pub const CERTIFICATES_KEPT_US: i64 = 31 * DAY_US;
/// How long the hourly points of disk use are kept: a forecast looks at the last two weeks.
pub const DISK_USE_KEPT_US: i64 = 90 * DAY_US;
/// How often to look.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Frames removed in one transaction: writers wait for it.
const FRAMES_AT_ONCE: u32 = 1000;
const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// What one turn removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub frames: u64,
    pub series: u64,
    pub idempotency_keys: u64,
    pub certificates: u64,
    pub disk_use: u64,
    pub checks_of_deleted: u64,
}

/// Removes what is too old until `stop`. A failure is logged and the next turn tries again.
pub async fn keep_trimmed(store: Store, clock: Clock, frames_kept: Duration, stop: CancellationToken) {
    let mut timer = interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        match stop.run_until_cancelled(trim(&store, frames_kept, clock.now_us())).await {
            Some(Ok(removed)) if removed != Removed::default() => {
                metrics::counter!("muster_retention_frames_removed_total").increment(removed.frames);
                tracing::debug!(frames = removed.frames, series = removed.series, "old samples removed");
            }
            Some(Err(error)) => {
                tracing::warn!(error = %crate::app::chain(&error), "old samples could not be removed");
            }
            _ => {}
        }
    }
}

/// Removes what is too old at `now_us`. Idempotent.
///
/// # Errors
/// [`StoreError`]; what was removed before it stays removed.
pub async fn trim(store: &Store, frames_kept: Duration, now_us: i64) -> Result<Removed, StoreError> {
    let idempotency_keys = store.forget_idempotency_keys(now_us.saturating_sub(IDEMPOTENCY_KEYS_KEPT_US)).await?;
    let certificates = store.forget_certificates(now_us.saturating_sub(CERTIFICATES_KEPT_US)).await?;
    let disk_use = store.forget_disk_use(now_us.saturating_sub(DISK_USE_KEPT_US) / HOUR_US).await?;
    let checks_of_deleted = store.forget_checks_of_deleted().await?;
    let mut removed = Removed { idempotency_keys, certificates, disk_use, checks_of_deleted, ..Removed::default() };
    let before_us = now_us.saturating_sub(i64::try_from(frames_kept.as_micros()).unwrap_or(i64::MAX));
    for server in store.servers_with_frames_before(before_us).await? {
        loop {
            let frames = store.delete_frames_before(server, before_us, FRAMES_AT_ONCE).await?;
            removed.frames += frames;
            if frames < u64::from(FRAMES_AT_ONCE) {
                break;
            }
        }
        removed.series += store.delete_unused_series(server).await?;
    }
    Ok(removed)
}
