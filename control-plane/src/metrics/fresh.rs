//! A summary that is seconds old even though an unwatched host reports every ten seconds only.

use std::time::Duration;

use muster_shared::id::{OrgId, ServerId};
use tokio::time::{Instant, timeout_at};

use super::{Heads, Summary};
use crate::{
    clock::Clock,
    error::Error,
    events::{Events, Subscription},
    sessions::Sessions,
};

/// A sample that arrived no longer ago than this is fresh.
const FRESH_US: i64 = 1_500_000;
/// How long to wait for a fresh one from a host that is online; it sends one a second once it is told to.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The newest summary; from a host that is online, a fresh one if it comes within [`PATIENCE`].
///
/// # Errors
/// [`Error`] when the store fails.
pub async fn fresh_summary(
    (sessions, heads, events): (&Sessions, &Heads, &Events),
    clock: &Clock,
    org: OrgId,
    server: ServerId,
) -> Result<Option<Summary>, Error> {
    let _watching = sessions.watch_live(server);
    let mut happening = events.subscribe();
    let is_fresh =
        || heads.arrived_at_us(org, server).is_some_and(|arrived| clock.now_us().saturating_sub(arrived) <= FRESH_US);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let summary = heads.summary(org, server).await?;
        // A first sample alone makes no rates, so there may be none although one has just arrived.
        let is_good = summary.is_some() && is_fresh();
        if is_good || !sessions.is_online(server) || !news_of(server, &mut happening, deadline).await {
            return Ok(summary);
        }
    }
}

/// Whether something happened to `server` before `deadline`.
async fn news_of(server: ServerId, happening: &mut Subscription, deadline: Instant) -> bool {
    loop {
        match timeout_at(deadline, happening.next()).await {
            Ok(Some(Ok(event))) if event.server_id == Some(server) => return true,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
}
