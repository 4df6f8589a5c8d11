//! A summary that is seconds old even though an unwatched host reports every ten seconds only.

use std::time::Duration;

use muster_shared::id::{OrgId, ServerId};
use tokio::time::{Instant, timeout_at};

use super::{Heads, Summary};
use crate::{
    clock::Clock,
    error::Error,
    events::{EventKind, Events},
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
    while sessions.is_online(server) && !is_fresh() {
        match timeout_at(deadline, happening.next()).await {
            Ok(Some(Ok(event))) if event.server_id == server && matches!(event.kind, EventKind::Sample(_)) => break,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    heads.summary(org, server).await
}
