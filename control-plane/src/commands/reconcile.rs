//! The periodic look at the store that makes up for every lost hint, crash and restart.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Commands, REPORT_GRACE_US};
use crate::{clock::Clock, error::Error, events::EventKind};

/// How often commands are looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reconciles commands until `stop`. A failure is logged and the next turn tries again.
pub async fn keep_reconciled(commands: Commands, clock: Clock, stop: CancellationToken) {
    let mut timer = interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        if let Err(error) = commands.reconcile(clock.now_us()).await {
            tracing::warn!(error = %crate::app::chain(&error), "commands could not be reconciled");
        }
    }
}

impl Commands {
    /// Ends what nobody will report on any more, and wakes the sessions for which something waits. Idempotent.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn reconcile(&self, now_us: i64) -> Result<(), Error> {
        for ended in self.store.expire_commands(now_us, REPORT_GRACE_US).await? {
            self.events.publish(ended.org_id, ended.server_id, EventKind::CommandChanged(ended.id));
        }
        self.end_awaited(now_us).await?;
        for server in self.store.servers_with_waiting_commands(now_us).await? {
            self.wake.wake(server);
        }
        Ok(())
    }
}
