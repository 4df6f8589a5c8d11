//! What is kept for how long, and the reconciler that removes the rest.

mod own;

use std::time::Duration;

use muster_shared::id::OrgId;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use own::{MIN_OWN, Own, Unacceptable};

use crate::{
    access::Act,
    clock::Clock,
    error::{Error, ErrorKind},
    store::{Resolution, Store, StoreError},
};

/// How long single samples are kept, unless told otherwise.
pub const RAW_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long minutes are.
pub const MINUTES_KEPT: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How long hours are.
pub const HOURS_KEPT: Duration = Duration::from_secs(2 * 365 * 24 * 3_600);
/// How long declarations are known that nothing uses: longer than a host may be away before it declares anew.
pub const DECLARATIONS_KEPT_US: i64 = DAY_US;
/// How long a repeated creation is recognised.
pub const IDEMPOTENCY_KEYS_KEPT_US: i64 = DAY_US;
/// How long a certificate is known after it expired: a host may renew it for 30 days.
pub const CERTIFICATES_KEPT_US: i64 = 31 * DAY_US;
/// How long the hourly points of disk use are kept: a forecast looks at the last two weeks.
pub const DISK_USE_KEPT_US: i64 = 90 * DAY_US;
/// How often to look.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Blocks removed in one transaction: writers wait for it.
const BLOCKS_AT_ONCE: u32 = 200;
/// The same of days: each has some hundred stripes.
const DAYS_AT_ONCE: u32 = 10;
const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// How long samples are kept: the control plane's own, and the most an organisation may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub raw: Duration,
    pub minutes: Duration,
    pub hours: Duration,
}

impl Default for Kept {
    fn default() -> Self {
        Self { raw: RAW_KEPT, minutes: MINUTES_KEPT, hours: HOURS_KEPT }
    }
}

impl Kept {
    fn of(&self, resolution: Resolution) -> Duration {
        match resolution {
            Resolution::Second => self.raw,
            Resolution::Minute => self.minutes,
            Resolution::Hour => self.hours,
        }
    }
}

/// How long an organisation keeps its samples, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsRetention {
    pub org_id: OrgId,
    /// `None` where an engine keeps them, as long as it is set up to.
    pub kept: Option<Kept>,
    pub own: Own,
    pub max: Kept,
}

/// The retention of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct MetricsRetentions {
    store: Store,
    max: Kept,
    /// Whether the database keeps samples; otherwise an engine does, by a period of its own.
    is_embedded: bool,
}

impl MetricsRetentions {
    /// The retention in `store`, where no organisation keeps more than `max`. Organisations can set one where samples are kept
    /// in the database.
    #[must_use]
    pub fn new(store: Store, max: Kept, is_embedded: bool) -> Self {
        Self { store, max, is_embedded }
    }

    /// How long `org` keeps its samples.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId) -> Result<MetricsRetention, Error> {
        let own = self.store.metrics_retention(org).await?.ok_or_else(|| Error::not_found("organization"))?;
        let kept = self.is_embedded.then(|| own.under(self.max));
        Ok(MetricsRetention { org_id: org, kept, own, max: self.max })
    }

    /// Sets how long the organisation acted in keeps its samples. What is too old by it goes with the next turn of
    /// [`keep_trimmed`], within ten minutes, and does not come back.
    ///
    /// # Errors
    /// [`ErrorKind::Precondition`] where an engine keeps the samples; [`ErrorKind::Invalid`] as [`Own::check`] has it, else
    /// [`ErrorKind::NotFound`].
    pub async fn set(&self, act: &Act, own: Own) -> Result<MetricsRetention, Error> {
        if !self.is_embedded {
            let detail = "samples are kept by the engine at metric_store_url, for all organizations as long as it is set \
                          up to: ask the operator to set that engine's retention";
            return Err(Error::new(ErrorKind::Precondition, "metric_store_is_an_engine", detail));
        }
        own.check(self.max).map_err(|refused| Error::invalid("invalid_field", refused.to_string()))?;
        if !self.store.set_metrics_retention(act, own).await? {
            return Err(Error::not_found("organization"));
        }
        self.get(act.org_id).await
    }
}

/// What one turn removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Of hours and of days.
    pub blocks: u64,
    /// In quarantine, or kept after they were sealed.
    pub frames: u64,
    pub declarations: u64,
    pub idempotency_keys: u64,
    pub certificates: u64,
    pub disk_use: u64,
    pub checks_of_deleted: u64,
}

/// Removes what is too old until `stop`. A failure is logged and the next turn tries again.
pub async fn keep_trimmed(store: Store, clock: Clock, max: Kept, stop: CancellationToken) {
    let mut timer = interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        match stop.run_until_cancelled(trim(&store, max, clock.now_us())).await {
            Some(Ok(removed)) if removed != Removed::default() => {
                metrics::counter!("muster_retention_blocks_removed_total").increment(removed.blocks);
                tracing::debug!(blocks = removed.blocks, declarations = removed.declarations, "old samples removed");
            }
            Some(Err(error)) => {
                tracing::warn!(error = %crate::app::chain(&error), "old samples could not be removed");
            }
            _ => {}
        }
    }
}

/// Removes what is too old at `now_us`: after `max`, or sooner where an organisation set it so. Samples that are in no
/// block yet are never too old: they are sealed first. Idempotent.
///
/// # Errors
/// [`StoreError`]; what was removed before it stays removed.
pub async fn trim(store: &Store, max: Kept, now_us: i64) -> Result<Removed, StoreError> {
    let idempotency_keys = store.forget_idempotency_keys(now_us.saturating_sub(IDEMPOTENCY_KEYS_KEPT_US)).await?;
    let certificates = store.forget_certificates(now_us.saturating_sub(CERTIFICATES_KEPT_US)).await?;
    let disk_use = store.forget_disk_use(now_us.saturating_sub(DISK_USE_KEPT_US) / HOUR_US).await?;
    let checks_of_deleted = store.forget_checks_of_deleted().await?;
    let mut removed = Removed { idempotency_keys, certificates, disk_use, checks_of_deleted, ..Removed::default() };
    for (org, own) in store.every_metrics_retention().await? {
        let kept = own.under(max);
        for resolution in Resolution::ALL {
            let before_us = before(now_us, kept.of(resolution));
            loop {
                let blocks = store.forget_blocks(org, resolution, before_us, BLOCKS_AT_ONCE).await?;
                removed.blocks += blocks;
                if blocks < u64::from(BLOCKS_AT_ONCE) {
                    break;
                }
            }
            loop {
                let days = store.forget_days(org, resolution, before_us, DAYS_AT_ONCE).await?;
                removed.blocks += days;
                if days < u64::from(DAYS_AT_ONCE) {
                    break;
                }
            }
        }
        removed.frames += store.forget_frames(org, before(now_us, kept.raw)).await?;
    }
    let unused_since_us = now_us.saturating_sub(DECLARATIONS_KEPT_US);
    removed.declarations = store.forget_declarations(now_us, unused_since_us).await?;
    Ok(removed)
}

fn before(now_us: i64, kept: Duration) -> i64 {
    now_us.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX))
}
