//! What can happen, and what each kind of event asks of its reader. A kind that says neither does not compile.

use std::sync::Arc;

use muster_shared::id::{CommandId, EnvironmentId};

use crate::{access::Permission, metrics::Summary};

/// What happened to a server.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The server's record was made.
    ServerCreated,
    /// The server's record was changed.
    ServerChanged,
    /// The server was deleted; its record is no longer shown.
    ServerDeleted,
    /// An environment on the server was made, changed, moved there or away, or deleted.
    EnvironmentChanged(EnvironmentId),
    /// Its health is another, or is so for another reason.
    HealthChanged,
    /// Some item of the hardening profile stands otherwise than before.
    HardeningChanged,
    /// The command was made or went to another state.
    CommandChanged(CommandId),
    /// The host reported a step of the command, now stored under `seq`.
    CommandUpdated {
        command_id: CommandId,
        seq: u64,
    },
    /// A sample arrived.
    Sample(Arc<Summary>),
    AgentOnline,
    AgentOffline,
}

/// How an event reaches those who read the fleet's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// It is numbered and kept, so that a reader who was away gets it later.
    Kept,
    /// Only who reads just then gets it: the next one replaces it.
    Passing,
    /// Those who watch the very thing get it; the fleet's stream does not carry it.
    Elsewhere,
}

impl EventKind {
    /// What somebody must be allowed to be told.
    #[must_use]
    pub fn permission(&self) -> Permission {
        match self {
            Self::ServerCreated
            | Self::ServerChanged
            | Self::ServerDeleted
            | Self::HealthChanged
            | Self::HardeningChanged
            | Self::AgentOnline
            | Self::AgentOffline => Permission::ServersView,
            // Whose it is the event does not say: the server's record counts it, and whoever may list them reads again.
            Self::EnvironmentChanged(_) => Permission::EnvironmentsList,
            Self::CommandChanged(_) | Self::CommandUpdated { .. } => Permission::CommandsView,
            Self::Sample(_) => Permission::MonitoringView,
        }
    }

    /// How it is told.
    #[must_use]
    pub fn telling(&self) -> Telling {
        match self {
            Self::ServerCreated
            | Self::ServerChanged
            | Self::ServerDeleted
            | Self::HealthChanged
            | Self::HardeningChanged
            | Self::AgentOnline
            | Self::AgentOffline
            | Self::EnvironmentChanged(_)
            | Self::CommandChanged(_) => Telling::Kept,
            Self::Sample(_) => Telling::Passing,
            Self::CommandUpdated { .. } => Telling::Elsewhere,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::ServerCreated => "server_created",
            Self::ServerChanged => "server_changed",
            Self::ServerDeleted => "server_deleted",
            Self::EnvironmentChanged(_) => "environment_changed",
            Self::HealthChanged => "health_changed",
            Self::HardeningChanged => "hardening_changed",
            Self::CommandChanged(_) => "command_changed",
            Self::CommandUpdated { .. } => "command_updated",
            Self::Sample(_) => "sample",
            Self::AgentOnline => "agent_online",
            Self::AgentOffline => "agent_offline",
        }
    }
}
