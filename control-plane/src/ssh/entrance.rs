//! How the control plane enters a server it keeps a record of: every outcome goes on the record, and the host's key is
//! recorded before the login that may send a credential to it.

use muster_shared::id::{OrgId, ServerId};

use super::{Connector, Session, SshError};
use crate::{
    access::Act,
    clock::Clock,
    error::{Error, ErrorKind},
    servers::{ConnectionOutcome, Fingerprint, Servers, SshTarget},
};

/// Where entering stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entering {
    /// The host has this key; `first_contact` where it was not known before.
    HostKey {
        fingerprint: Fingerprint,
        first_contact: bool,
    },
    Authenticated,
}

/// Why a server was not entered, or something in it failed.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// The host's or the connection's part.
    #[error(transparent)]
    Host(#[from] SshError),
    /// The record's part.
    #[error(transparent)]
    Record(#[from] Error),
}

/// Enters recorded servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Entrance {
    connector: Connector,
    servers: Servers,
    clock: Clock,
}

impl Entrance {
    #[must_use]
    pub fn new(connector: Connector, servers: Servers, clock: Clock) -> Self {
        Self { connector, servers, clock }
    }

    /// Connects, verifies or records the host's key, and logs in; `tell` hears how it gets on.
    ///
    /// # Errors
    /// [`EntranceError`]; the attempt's outcome is on the record by then.
    pub async fn enter(
        &self,
        org: OrgId,
        id: ServerId,
        target: &SshTarget,
        mut tell: impl FnMut(Entering),
    ) -> Result<Session, EntranceError> {
        let entered = self.log_in(org, id, target, &mut tell).await;
        let (outcome, detail) = match &entered {
            Ok(_) => (ConnectionOutcome::Success, "Connection successful".to_owned()),
            Err(EntranceError::Host(error)) => (error.outcome(), error.to_string()),
            Err(EntranceError::Record(_)) => return entered,
        };
        if let Err(EntranceError::Host(SshError::HostKeyMismatch { presented, .. })) = &entered {
            self.servers.offer_host_key(&Act::of_system(org, self.clock.now_us()), id, presented).await?;
        }
        self.servers.record_connection(org, id, outcome, &detail, self.clock.now_us()).await?;
        entered
    }

    async fn log_in(
        &self,
        org: OrgId,
        id: ServerId,
        target: &SshTarget,
        tell: &mut impl FnMut(Entering),
    ) -> Result<Session, EntranceError> {
        let dialled = self.connector.dial(target).await?;
        let (fingerprint, first_contact) = (dialled.host_key.clone(), dialled.first_contact);
        if first_contact {
            self.servers.record_host_key(&Act::of_system(org, self.clock.now_us()), id, &fingerprint).await?;
        }
        tell(Entering::HostKey { fingerprint, first_contact });
        let session = dialled.authenticate().await?;
        tell(Entering::Authenticated);
        Ok(session)
    }
}

impl From<SshError> for Error {
    fn from(error: SshError) -> Self {
        let detail = format!("{error}. {}", error.remedy());
        Self::new(ErrorKind::Precondition, error.code(), detail).because(error)
    }
}
