//! What sessions need now and then: telling the store who was heard from, telling hosts that nobody watches any more,
//! and cutting those whose identity was withdrawn elsewhere.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Cut, Sessions};
use crate::{servers::AgentStatus, store::Store};

/// How often watchers that left are noticed.
const WATCHERS_INTERVAL: Duration = Duration::from_secs(1);
/// How often `last_seen` is written, in one transaction for all hosts.
const SEEN_INTERVAL: Duration = Duration::from_secs(10);

/// How often the store is asked whose identity was withdrawn: what this process withdraws is cut at once, what another
/// process does is noticed here.
const WITHDRAWN_INTERVAL: Duration = Duration::from_secs(3);

/// Keeps sessions until `stop`.
pub async fn keep_sessions(sessions: Sessions, store: Store, stop: CancellationToken) {
    let mut watchers = interval(WATCHERS_INTERVAL);
    let mut seen = interval(SEEN_INTERVAL);
    let mut withdrawn = interval(WITHDRAWN_INTERVAL);
    for timer in [&mut watchers, &mut seen, &mut withdrawn] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = watchers.tick() => sessions.forget_unwatched(Instant::now()),
            _ = seen.tick() => record_seen(&sessions, &store).await,
            _ = withdrawn.tick() => cut_withdrawn(&sessions, &store).await,
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

async fn cut_withdrawn(sessions: &Sessions, store: &Store) {
    if sessions.count() == 0 {
        return;
    }
    match store.withdrawn_agents().await {
        Ok(agents) => agents.into_iter().for_each(|(server, status)| sessions.cut(server, why(status))),
        Err(error) => tracing::warn!(error = %crate::app::chain(&error), "withdrawn identities not looked for"),
    }
}

fn why(status: AgentStatus) -> Cut {
    match status {
        AgentStatus::Quarantined => Cut::Quarantined,
        AgentStatus::Retired => Cut::Retired,
        _ => Cut::Revoked,
    }
}
