//! What can happen, and what each kind of event asks of its reader. A kind that says nothing of that does not compile.

use std::sync::Arc;

use muster_shared::id::{CommandId, EnvironmentId, ProjectId, UserId};

use crate::{access::Permission, metrics::Summary};

/// What happened: to a server, unless it says otherwise.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The server's record was made.
    ServerCreated,
    /// The server's record was changed.
    ServerChanged,
    /// The server was deleted; its record is no longer shown.
    ServerDeleted,
    /// An environment was made, changed, moved or deleted. The server is the one it is on then, if it is on any.
    EnvironmentChanged {
        environment: EnvironmentId,
        project: ProjectId,
    },
    /// A project was made, changed or deleted, or others belong to it. Of no server.
    ProjectChanged(ProjectId),
    /// Somebody became a member, is another one, or is none any more. Of no server.
    MemberChanged(UserId),
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
    /// Stored samples of the server can't be read any more.
    SamplesDamaged,
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
            Self::EnvironmentChanged { .. } => Permission::EnvironmentsList,
            Self::ProjectChanged(_) => Permission::ProjectsList,
            Self::MemberChanged(_) => Permission::MembersList,
            Self::CommandChanged(_) | Self::CommandUpdated { .. } => Permission::CommandsView,
            Self::Sample(_) | Self::SamplesDamaged => Permission::MonitoringView,
        }
    }

    /// The project it is about: who is bound to some projects is told of those only.
    #[must_use]
    pub fn project(&self) -> Option<ProjectId> {
        match self {
            Self::EnvironmentChanged { project, .. } | Self::ProjectChanged(project) => Some(*project),
            Self::ServerCreated
            | Self::ServerChanged
            | Self::ServerDeleted
            | Self::HealthChanged
            | Self::HardeningChanged
            | Self::AgentOnline
            | Self::AgentOffline
            | Self::MemberChanged(_)
            | Self::CommandChanged(_)
            | Self::CommandUpdated { .. }
            | Self::SamplesDamaged
            | Self::Sample(_) => None,
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
            | Self::SamplesDamaged
            | Self::EnvironmentChanged { .. }
            | Self::ProjectChanged(_)
            | Self::MemberChanged(_)
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
            Self::EnvironmentChanged { .. } => "environment_changed",
            Self::ProjectChanged(_) => "project_changed",
            Self::MemberChanged(_) => "member_changed",
            Self::HealthChanged => "health_changed",
            Self::HardeningChanged => "hardening_changed",
            Self::CommandChanged(_) => "command_changed",
            Self::CommandUpdated { .. } => "command_updated",
            Self::Sample(_) => "sample",
            Self::AgentOnline => "agent_online",
            Self::AgentOffline => "agent_offline",
            Self::SamplesDamaged => "samples_damaged",
        }
    }
}
