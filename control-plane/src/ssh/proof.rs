//! Logins that prove something about a host: made anew each time, with nothing on any record.

use std::time::Duration;

use super::{Connector, Session, SshError};
use crate::servers::SshTarget;

/// sshd that reads its settings anew leaves its port for a moment.
const COMEBACK: Duration = Duration::from_millis(250);
const COMEBACK_TRIES: usize = 12;

impl Connector {
    /// Logs in anew. A port that is closed just then is tried again for a while.
    ///
    /// # Errors
    /// As [`Connector::dial`] and [`Dialled::authenticate`](super::Dialled::authenticate).
    pub async fn log_in(&self, target: &SshTarget) -> Result<Session, SshError> {
        let mut tries = 0;
        loop {
            match self.log_in_once(target).await {
                Err(SshError::Unreachable { .. } | SshError::Broken { .. }) if tries < COMEBACK_TRIES => {
                    tries += 1;
                    tokio::time::sleep(COMEBACK).await;
                }
                decided => return decided,
            }
        }
    }

    /// Whether the host refuses `target`'s login.
    ///
    /// # Errors
    /// It can't be told: the host was not reached, or broke off.
    pub async fn is_refused(&self, target: &SshTarget) -> Result<bool, SshError> {
        match self.log_in(target).await {
            Err(SshError::AuthFailed { .. }) => Ok(true),
            Err(error) => Err(error),
            Ok(session) => {
                session.close().await;
                Ok(false)
            }
        }
    }

    async fn log_in_once(&self, target: &SshTarget) -> Result<Session, SshError> {
        self.dial(target).await?.authenticate().await
    }
}
