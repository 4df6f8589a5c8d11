//! What sessions need now and then: telling the store who was heard from, and hosts that nobody watches any more.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Sessions;
use crate::store::Store;

/// How often watchers that left are noticed.
const WATCHERS_INTERVAL: Duration = Duration::from_secs(1);
/// How often `last_seen` is written, in one transaction for all hosts.
const SEEN_INTERVAL: Duration = Duration::from_secs(10);

/// Keeps sessions until `stop`.
pub async fn keep_sessions(sessions: Sessions, store: Store, stop: CancellationToken) {
    let mut watchers = interval(WATCHERS_INTERVAL);
    let mut seen = interval(SEEN_INTERVAL);
    for timer in [&mut watchers, &mut seen] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = watchers.tick() => sessions.forget_unwatched(Instant::now()),
            _ = seen.tick() => record_seen(&sessions, &store).await,
        }
    }
}

/// A failure costs one interval's accuracy: hosts that are still there are heard from again.
async fn record_seen(sessions: &Sessions, store: &Store) {
    metrics::gauge!("muster_agents_online").set(sessions.count() as f64);
    if let Err(error) = store.record_seen(&sessions.take_seen()).await {
        tracing::warn!(error = %crate::app::chain(&error), "last_seen not written");
    }
}
