//! An environment, and what a caller may say of one.

use muster_shared::id::{EnvironmentId, OrgId, ProjectId, ServerId};
use serde_json::{Value, json};

use crate::{
    access::Act,
    audit::{Action, Record},
    quota::{Amounts, counted, number},
    servers::{ContainerRef, EnvironmentName, HostName, Label, ProjectName, ServerName, Slug, words},
};

words! {
    /// What an environment is for.
    EnvironmentType {
        Production = "production",
        Staging = "staging",
        Development = "development",
    }

    /// How an environment's containers were last seen.
    EnvironmentStatus {
        /// None was seen yet.
        Pending = "pending",
        Running = "running",
        Stopped = "stopped",
        /// One restarts over and over, is dead or fails its health check.
        Error = "error",
    }
}

/// An environment of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    pub id: EnvironmentId,
    pub org_id: OrgId,
    pub project: ProjectOf,
    pub name: EnvironmentName,
    pub environment_type: EnvironmentType,
    pub domain: Option<HostName>,
    pub port: Option<u16>,
    /// The container it runs in, by id or name.
    pub container_id: Option<ContainerRef>,
    /// Thousandths of cores, MB and GB; a replica has those of what it replicates.
    pub sizes: Amounts,
    pub replica_of: Option<EnvironmentId>,
    /// Only active environments count.
    pub is_active: bool,
    /// Where it runs.
    pub server: Option<ServerOf>,
    pub status: EnvironmentStatus,
    pub status_at_us: Option<i64>,
    pub created_at_us: i64,
    pub updated_at_us: i64,
}

/// The project an environment belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectOf {
    pub id: ProjectId,
    pub name: ProjectName,
    pub slug: Slug,
    pub odoo_version: Label,
}

/// The server an environment runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOf {
    pub id: ServerId,
    pub name: ServerName,
}

/// An environment to be made.
#[derive(Debug, Clone)]
pub struct NewEnvironment {
    pub name: EnvironmentName,
    pub environment_type: EnvironmentType,
    pub domain: Option<HostName>,
    pub port: Option<u16>,
    pub container_id: Option<ContainerRef>,
    pub takes: Takes,
    pub is_active: bool,
    pub server_id: Option<ServerId>,
}

/// What a new environment takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Sizes(Amounts),
    /// It replicates another one of its project, and has its sizes.
    ReplicaOf(EnvironmentId),
}

/// Changes to an environment; `None` leaves a field as it is, `Some(None)` empties it.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentPatch {
    pub name: Option<EnvironmentName>,
    pub environment_type: Option<EnvironmentType>,
    pub domain: Option<Option<HostName>>,
    pub port: Option<Option<u16>>,
    pub container_id: Option<Option<ContainerRef>>,
    pub cpu_milli: Option<u64>,
    pub ram_mb_milli: Option<u64>,
    pub disk_gb_milli: Option<u64>,
    pub is_active: Option<bool>,
    pub server_id: Option<Option<ServerId>>,
}

impl EnvironmentPatch {
    /// Whether it names a size.
    #[must_use]
    pub fn sizes(&self) -> bool {
        self.cpu_milli.is_some() || self.ram_mb_milli.is_some() || self.disk_gb_milli.is_some()
    }
}

impl Environment {
    /// What it counts for in quota and on its server.
    #[must_use]
    pub fn counted(&self) -> Amounts {
        counted(&self.sizes, self.is_active, self.replica_of.is_some())
    }

    /// Where it runs.
    #[must_use]
    pub fn server_id(&self) -> Option<ServerId> {
        self.server.as_ref().map(|server| server.id)
    }

    /// The environment with what `patch` names changed, but for its server: that needs a look at the server.
    #[must_use]
    pub fn patched(&self, patch: &EnvironmentPatch, now_us: i64) -> Self {
        let patch = patch.clone();
        Self {
            name: patch.name.unwrap_or_else(|| self.name.clone()),
            environment_type: patch.environment_type.unwrap_or(self.environment_type),
            domain: patch.domain.unwrap_or_else(|| self.domain.clone()),
            port: patch.port.unwrap_or(self.port),
            container_id: patch.container_id.unwrap_or_else(|| self.container_id.clone()),
            sizes: Amounts {
                cpu_milli: patch.cpu_milli.unwrap_or(self.sizes.cpu_milli),
                ram_mb_milli: patch.ram_mb_milli.unwrap_or(self.sizes.ram_mb_milli),
                disk_gb_milli: patch.disk_gb_milli.unwrap_or(self.sizes.disk_gb_milli),
            },
            is_active: patch.is_active.unwrap_or(self.is_active),
            updated_at_us: now_us,
            ..self.clone()
        }
    }

    /// The environment on another server, or on none: nothing was seen of it there yet.
    #[must_use]
    pub fn moved(&self, to: Option<ServerOf>, now_us: i64) -> Self {
        let (status, status_at_us) = (EnvironmentStatus::Pending, None);
        Self { server: to, status, status_at_us, updated_at_us: now_us, ..self.clone() }
    }

    /// As the audit record shows it.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "project": self.project.slug.as_str(),
            "name": self.name.as_str(),
            "environment_type": self.environment_type.as_str(),
            "domain": self.domain.as_ref().map(HostName::as_str),
            "port": self.port,
            "container_id": self.container_id.as_ref().map(ContainerRef::as_str),
            "cpu_cores": number(self.sizes.cpu_milli),
            "ram_mb": number(self.sizes.ram_mb_milli),
            "disk_gb": number(self.sizes.disk_gb_milli),
            "replica_of": self.replica_of.map(|id| id.to_string()),
            "is_active": self.is_active,
            "vm_id": self.server_id().map(|id| id.to_string()),
            "vm_name": self.server.as_ref().map(|server| server.name.to_string()),
        })
    }

    /// `act` made this environment of `before`.
    #[must_use]
    pub fn change(&self, act: &Act, before: &Self) -> Record {
        let action = match self.server_id() == before.server_id() {
            true => Action::EnvironmentUpdated,
            false => Action::EnvironmentMoved,
        };
        Record::new(act, action, self.id, &before.name).change(&before.shown(), &self.shown())
    }
}
