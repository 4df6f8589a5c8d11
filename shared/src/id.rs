//! Identifiers. Each noun has its own type, so that a server's id can't be passed where an organisation's is due.
//! All are UUIDv7: they sort by the time they were made, and their text form is what databases and wires carry.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {noun} id: expected a UUID")]
pub struct InvalidId {
    /// What it should have identified.
    pub noun: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, sorting after those made before it.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id as a UUID.
            #[must_use]
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text).map(Self).map_err(|_| InvalidId { noun: $noun })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}

ids! {
    /// An organisation: the tenant. Every query over a tenant's rows takes one.
    OrgId = "organization";
    /// A user.
    UserId = "user";
    /// An API token.
    ApiTokenId = "API token";
    /// A server.
    ServerId = "server";
    /// A join token.
    JoinTokenId = "join token";
    /// A command.
    CommandId = "command";
    /// An organisation's SSH key pair.
    SshKeyPairId = "SSH key pair";
    /// The rotation of an organisation's SSH key pair.
    SshKeyRotationId = "SSH key rotation";
    /// One typed command to many servers.
    FleetRunId = "fleet run";
    /// A project.
    ProjectId = "project";
    /// An environment of a project.
    EnvironmentId = "environment";
    /// A user's session in a browser.
    UserSessionId = "session";
}
