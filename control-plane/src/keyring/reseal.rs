//! Seals anew what older keys sealed, a few values at a time. Each value is exchanged only where it is still the one
//! that was read, and what is left to do is read from the values themselves: whoever dies on the way, the next run goes
//! on from there.

use std::time::Duration;

use muster_shared::seal::{SealError, sealed_prefix};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Keyring;
use crate::{
    app::chain,
    store::{Exchange, SEALED_COLUMNS, SealedColumn, SealedValue, Store, StoreError},
};

/// Values exchanged in one transaction: writers wait for it.
const AT_ONCE: u32 = 64;
/// How often to look without being told: another replica may have added a key, or died while sealing anew.
const INTERVAL: Duration = Duration::from_secs(60);

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that the newest key seals now.
    pub done: u64,
    /// Values that changed while they were being sealed anew; the next run looks again.
    pub missed: u64,
    /// Values that don't open. They stay as they are.
    pub unopened: u64,
}

/// Seals anew until `stop`, whenever a key is added and once a minute. A failure is logged and the next turn tries
/// again.
pub async fn keep_resealed(store: Store, keyring: Keyring, stop: CancellationToken) {
    let mut timer = interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = async {
            tokio::select! {
                _ = timer.tick() => {}
                () = keyring.shared.turned.notified() => {}
            }
        };
        if stop.run_until_cancelled(due).await.is_none() {
            return;
        }
        match stop.run_until_cancelled(reseal(&store, &keyring)).await {
            Some(Ok(resealed)) if resealed != Resealed::default() => {
                metrics::counter!("muster_keyring_resealed_total").increment(resealed.done);
                tracing::info!(resealed.done, resealed.missed, resealed.unopened, "secrets sealed with the newest key");
            }
            Some(Err(error)) => tracing::warn!(error = %chain(&error), "secrets could not be sealed anew"),
            _ => {}
        }
    }
}

/// Seals anew everything that another key than the newest sealed. Idempotent.
///
/// # Errors
/// [`StoreError`]; what was exchanged before it stays exchanged.
pub async fn reseal(store: &Store, keyring: &Keyring) -> Result<Resealed, StoreError> {
    let mut resealed = Resealed::default();
    let Some(newest) = keyring.newest().ring.newest().map(sealed_prefix) else { return Ok(resealed) };
    for column in SEALED_COLUMNS {
        let mut after = None;
        loop {
            let values = store.sealed_values_without(column, &newest, after.as_ref(), AT_ONCE).await?;
            let Some(last) = values.last().cloned() else { break };
            let exchanges: Vec<_> = values.into_iter().filter_map(|value| exchange(keyring, column, value)).collect();
            let done = if exchanges.is_empty() { 0 } else { store.exchange_sealed(column, &exchanges).await? };
            resealed.done += done;
            resealed.missed += (exchanges.len() as u64).saturating_sub(done);
            after = Some(last);
        }
        resealed.unopened += store.count_sealed_without(column, &newest).await?;
    }
    resealed.unopened = resealed.unopened.saturating_sub(resealed.missed);
    Ok(resealed)
}

fn exchange(keyring: &Keyring, column: &'static SealedColumn, value: SealedValue) -> Option<Exchange> {
    let place = column.place(&value);
    let anew = keyring.open(&place, &value.sealed).and_then(|secret| keyring.seal(&place, &secret));
    match anew {
        Ok(anew) => Some(Exchange { value, anew }),
        Err(error @ (SealError::Malformed | SealError::UnknownKey(_) | SealError::Refused)) => {
            tracing::error!(table = column.table, column = column.column, row = value.row, %error, "a secret does not open");
            None
        }
        Err(_) => None,
    }
}
