//! A server as the fleet knows it, and what a caller may say of one.

use muster_shared::{
    facts::Facts,
    id::{OrgId, ServerId, SshKeyPairId},
    policy::Family,
    preflight::Qualification,
};
use ring::digest::{Context, SHA256};
use secrecy::ExposeSecret as _;

use super::{
    connection::{Addresses, Connection, ConnectionPatch, SshAccount, SshAuth, SshLogin},
    names::{Fingerprint, Label, ServerName},
    status::{AgentStatus, ConnectionOutcome, ServerStatus},
};
use crate::health::{Health, HealthRecord, health_of};

/// A server: everything a list shows. Secrets and the facts document are read apart from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub id: ServerId,
    pub org_id: OrgId,
    pub organization_name: String,
    pub name: ServerName,
    pub provider: Label,
    pub region: Label,
    pub status: ServerStatus,
    pub addresses: Addresses,
    /// How to log in; `None` for a host that joined by itself.
    pub ssh: Option<SshAccount>,
    /// The organisation's key pair it is entered with.
    pub key_pair: Option<SshKeyPairId>,
    /// The host key to accept; `None` before the first contact.
    pub host_key: Option<Fingerprint>,
    /// Another key the host showed since, which nobody accepted.
    pub host_key_offered: Option<Fingerprint>,
    pub connection: Option<ConnectionRecord>,
    /// What its owner says of it.
    pub declared: Resources,
    pub max_projects: Option<u32>,
    pub detected: Detected,
    pub facts_collected_at_us: Option<i64>,
    pub preflight: Option<PreflightRecord>,
    /// How many of a hundred parts of the hardening profile hold, as its host last told.
    pub hardening_score: Option<u8>,
    pub agent: Agent,
    /// What the last check found; `None` before the first.
    pub health_record: Option<HealthRecord>,
    /// Counts changes by people.
    pub revision: i64,
    pub environments: EnvironmentTally,
    pub created_at_us: i64,
    pub updated_at_us: i64,
}

/// Sizes, in the units people buy them in (1 GB is 10^9 bytes).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Resources {
    pub cpu_cores: Option<f64>,
    pub memory_gb: Option<f64>,
    pub disk_gb: Option<f64>,
}

impl Resources {
    /// What is said, and where nothing is, what was found; sizes to a tenth.
    #[must_use]
    pub fn or_found(self, cpu_cores: Option<u64>, memory_bytes: Option<u64>, disk_bytes: Option<u64>) -> Self {
        let gb = |bytes: u64| (bytes as f64 / 1e8).round() / 10.0;
        Self {
            cpu_cores: self.cpu_cores.or(cpu_cores.map(|cores| cores as f64)),
            memory_gb: self.memory_gb.or(memory_bytes.map(gb)),
            disk_gb: self.disk_gb.or(disk_bytes.map(gb)),
        }
    }
}

/// The part of the facts that lists and health need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detected {
    pub hostname: Option<String>,
    pub os_type: Option<String>,
    pub os_version: Option<String>,
    pub os_arch: Option<String>,
    pub docker_status: Option<String>,
    pub docker_version: Option<String>,
    pub cpu_cores: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
    pub disk_available_bytes: Option<u64>,
}

/// How the last attempt over SSH ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRecord {
    pub outcome: ConnectionOutcome,
    /// In words.
    pub detail: String,
    pub at_us: i64,
}

/// What the last preflight run added up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreflightRecord {
    pub verdict: Qualification,
    pub checked_at_us: i64,
}

/// A server's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub status: AgentStatus,
    pub version: Option<String>,
    /// What the host's own policy accepts, as it last said.
    pub allowed_families: Vec<Family>,
    pub last_seen_at_us: Option<i64>,
}

/// How many environments are on a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EnvironmentTally {
    /// Active ones.
    pub active: u32,
    /// Active ones that run, as was last seen.
    pub running: u32,
}

impl Server {
    /// The address to dial, or where there is none, the name the host calls itself by.
    #[must_use]
    pub fn connection_host(&self) -> Option<String> {
        self.addresses.host().or_else(|| self.detected.hostname.clone())
    }

    /// Sizes: what its owner says, else what was found.
    #[must_use]
    pub fn resources(&self) -> Resources {
        self.declared.or_found(self.detected.cpu_cores, self.detected.memory_bytes, self.detected.disk_bytes)
    }

    /// How the server is at `now_us`.
    #[must_use]
    pub fn health(&self, now_us: i64) -> Health {
        health_of(self, now_us)
    }

    /// Whether it is ready for deployments at `now_us`; `None` before the first preflight run.
    #[must_use]
    pub fn qualification(&self, now_us: i64) -> Option<Qualification> {
        self.preflight.map(|record| record.verdict.aged(record.checked_at_us, now_us))
    }
}

/// A server to be made.
#[derive(Debug, Clone)]
pub struct NewServer {
    pub name: ServerName,
    pub provider: Label,
    pub region: Label,
    pub connection: Connection,
    pub declared: Resources,
    pub max_projects: Option<u32>,
}

/// Changes to a server; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ServerPatch {
    pub name: Option<ServerName>,
    pub provider: Option<Label>,
    pub region: Option<Label>,
    pub declared: Resources,
    pub max_projects: Option<u32>,
    pub connection: Option<ConnectionPatch>,
}

/// Which servers to list, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerFilter {
    pub status: Option<ServerStatus>,
    pub skip: u32,
    /// At most [`MAX_PAGE`].
    pub limit: u32,
}

/// Servers in a page, at most and unless asked otherwise.
pub const MAX_PAGE: u32 = 1000;
pub const DEFAULT_PAGE: u32 = 100;

impl Default for ServerFilter {
    fn default() -> Self {
        Self { status: None, skip: 0, limit: DEFAULT_PAGE }
    }
}

impl NewServer {
    /// A digest of everything in it, secrets too: tells a repeated creation from another one.
    pub(super) fn digest(&self) -> [u8; 32] {
        let connection = &self.connection;
        let addresses = &connection.addresses;
        let shown = format!(
            "{:?}",
            (
                (&self.name, &self.provider, &self.region, self.declared, self.max_projects),
                (addresses, connection.port, &connection.username, connection.sudo_mode, &connection.host_key),
            )
        );
        let secrets = match &connection.auth {
            SshLogin::Own(SshAuth::Password(password)) => [Some(password), None, None],
            SshLogin::Own(SshAuth::Key { private_key, passphrase, sudo_password }) => {
                [Some(private_key), passphrase.as_ref(), sudo_password.as_ref()]
            }
            SshLogin::KeyPair { sudo_password, .. } => [None, None, sudo_password.as_ref()],
        };
        let mut context = Context::new(&SHA256);
        context.update(shown.as_bytes());
        context.update(connection.auth.method().as_str().as_bytes());
        if let Some(pair) = connection.auth.key_pair() {
            context.update(pair.as_uuid().as_bytes());
        }
        for secret in secrets.map(|secret| secret.map_or("", |secret| secret.expose_secret())) {
            context.update(&(secret.len() as u64).to_be_bytes());
            context.update(secret.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

impl From<&Facts> for Detected {
    fn from(facts: &Facts) -> Self {
        let text = |text: &str| {
            Some(text.chars().filter(|c| !c.is_control()).take(200).collect::<String>()).filter(|text| !text.is_empty())
        };
        let disk = facts.data_disk.as_ref();
        Self {
            hostname: text(&facts.hostname),
            os_type: text(&facts.os.name),
            os_version: text(&facts.os.version),
            os_arch: text(&facts.arch),
            docker_status: Some(facts.docker.status.as_str().to_owned()),
            docker_version: facts.docker.version.as_deref().and_then(text),
            cpu_cores: Some(u64::from(facts.cpu.cores)).filter(|cores| *cores > 0),
            memory_bytes: Some(facts.memory.total_bytes).filter(|bytes| *bytes > 0),
            disk_bytes: disk.map(|mount| mount.total_bytes),
            disk_available_bytes: disk.map(|mount| mount.available_bytes),
        }
    }
}
