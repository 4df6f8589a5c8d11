//! Servers: the fleet's record of each host.

mod connection;
mod facts;
mod known_facts;
mod login;
mod names;
mod row;
mod secrets;
mod server;
mod shown;
mod status;

pub use connection::{
    Addresses, Connection, ConnectionPatch, DEFAULT_SSH_PORT, SshAccount, SshAuth, SshLogin, SshTarget,
};
pub use facts::{FactsKept, FactsRow};
use known_facts::KnownFacts;
pub use login::LoginChange;
pub use names::{
    ContainerRef, Description, EnvironmentName, Fingerprint, HostName, IdempotencyKey, InvalidName, KeyPairName, Label,
    ProjectName, ServerName, Slug, Username,
};
pub(crate) use names::{is_label_text, names};
pub use row::ServerRow;
pub use secrets::SealedAuth;
pub use server::{
    Agent, ConnectionRecord, DEFAULT_PAGE, Detected, EnvironmentTally, MAX_PAGE, NewServer, PreflightRecord, Resources,
    Server, ServerFilter, ServerPatch,
};
pub(crate) use status::words;
pub use status::{AddressChoice, AgentStatus, AuthMethod, ConnectionOutcome, HealthStatus, ServerStatus, SudoMode};

use std::sync::Arc;

use muster_shared::{
    facts::Facts,
    id::{OrgId, ServerId},
    preflight::PreflightReport,
};

use serde_json::json;

use crate::{
    access::Act,
    audit::{Action, Record},
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    filter::{Candidate, Column, Filter},
    keyring::Keyring,
    store::{FactsCell, Store, StoreError},
};

/// How often an update starts over when somebody else changed the same server meanwhile.
const UPDATE_ATTEMPTS: usize = 5;

type Result<T> = std::result::Result<T, Error>;

/// The servers of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct Servers {
    store: Store,
    keyring: Keyring,
    events: Events,
    known_facts: KnownFacts,
}

impl Servers {
    /// The servers in `store`, whose secrets `keyring` opens.
    #[must_use]
    pub fn new(store: Store, keyring: Keyring, events: Events) -> Self {
        Self { store, keyring, events, known_facts: KnownFacts::default() }
    }

    /// Makes a server that is reached over SSH. The same key with the same server answers the one made before.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without a usable address; [`ErrorKind::NotFound`] for a key pair that the organisation
    /// does not have; [`ErrorKind::Conflict`] when the name is taken, or the key was
    /// used for another server.
    pub async fn create(
        &self,
        act: &Act,
        server: NewServer,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Server> {
        let org = act.org_id;
        require_address(&server.connection.addresses)?;
        if let Some(made) = self.made_before(org, &server, idempotency_key).await? {
            return Ok(made);
        }
        self.require_key_pair(org, Some(&server.connection.auth)).await?;
        let id = ServerId::generate();
        let auth = secrets::seal(&self.keyring, org, id, &server.connection.auth).map_err(Error::internal)?;
        let row = ServerRow::of_new(id, &server, auth);
        let repeat = match idempotency_key {
            Some(key) => Some((key, self.sealed_digest(org, key, &server)?)),
            None => None,
        };
        let record = Record::new(act, Action::ServerCreated, id, &row.name).after(row.shown());
        match self.store.insert_server(&row, repeat.as_ref(), &record).await {
            Ok(()) => {
                self.events.publish(org, id, EventKind::ServerCreated);
                self.get(org, id).await
            }
            // Either the name is taken, or the same call is running twice and the other one was faster.
            Err(error @ StoreError::Conflict(_)) => match self.made_before(org, &server, idempotency_key).await? {
                Some(made) => Ok(made),
                None => Err(name_taken(&server.name).because(error)),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The server `id`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId, id: ServerId) -> Result<Server> {
        self.store.server(org, id).await?.ok_or_else(|| Error::not_found("server"))
    }

    /// The server that `reference`, an id or a name, means.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn resolve(&self, org: OrgId, reference: &str) -> Result<Server> {
        if let Ok(id) = reference.parse() {
            return self.get(org, id).await;
        }
        self.store.server_named(org, reference).await?.ok_or_else(|| Error::not_found("server"))
    }

    /// The servers of a page, oldest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, org: OrgId, filter: ServerFilter) -> Result<Vec<Server>> {
        let filter = ServerFilter { limit: filter.limit.clamp(1, MAX_PAGE), ..filter };
        Ok(self.store.list_servers(org, filter).await?)
    }

    /// The servers of a page that `asked` matches, oldest first. The page's bounds count matches.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list_matching(
        &self,
        org: OrgId,
        page: ServerFilter,
        asked: &Filter,
        now_us: i64,
    ) -> Result<Vec<Server>> {
        let limit = page.limit.clamp(1, MAX_PAGE) as usize;
        let (mut skip, mut found, mut position) = (page.skip, Vec::new(), None);
        loop {
            let scanned = self.store.scan_servers(org, page.status, asked.columns(), position.as_ref()).await?;
            let mut servers = scanned.servers().collect::<std::result::Result<Vec<_>, _>>()?;
            let facts = self.facts_of(org, asked, &servers).await?;
            for ((_, cells), lines) in servers.iter_mut().zip(&facts) {
                if let Some(cell) = asked.place(Column::Facts).and_then(|place| cells.get_mut(place)) {
                    *cell = lines;
                }
            }
            for (id, cells) in servers {
                if !asked.matches(&Candidate::new(asked.columns(), cells), now_us) {
                } else if skip > 0 {
                    skip -= 1;
                } else {
                    found.push(id);
                }
                if found.len() == limit {
                    return Ok(self.store.servers_by_id(org, &found).await?);
                }
            }
            match scanned.next {
                Some(next) => position = Some(next),
                None => return Ok(self.store.servers_by_id(org, &found).await?),
            }
        }
    }

    /// The lines of the facts of `scanned`, in its order, where `asked` needs them.
    async fn facts_of(&self, org: OrgId, asked: &Filter, scanned: &[(ServerId, Vec<&str>)]) -> Result<Vec<Arc<str>>> {
        let Some(place) = asked.place(Column::Facts) else { return Ok(Vec::new()) };
        let cells = scanned.iter().map(|(id, cells)| (*id, cells.get(place).copied().unwrap_or_default()));
        let cells: Vec<_> = cells.map(|(id, cell)| (id, FactsCell::of(cell))).collect();
        Ok(self.known_facts.lines(&self.store, org, &cells).await?)
    }

    /// Changes what `patch` names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Invalid`] when no usable address would be left;
    /// [`ErrorKind::Conflict`] when the name is taken.
    pub async fn update(&self, act: &Act, id: ServerId, patch: &ServerPatch) -> Result<Server> {
        let org = act.org_id;
        let login = patch.connection.as_ref().and_then(|connection| connection.auth.as_ref());
        self.require_key_pair(org, login).await?;
        for _ in 0..UPDATE_ATTEMPTS {
            let mut row = self.store.server_row(org, id).await?.ok_or_else(|| Error::not_found("server"))?;
            let before = row.clone();
            self.apply(org, &mut row, patch)?;
            let record = Record::new(act, Action::ServerUpdated, id, &before.name)
                .change(&before.shown(), &row.shown_beside(&before));
            match self.store.update_server(&row, &record).await {
                Ok(true) => {
                    self.events.publish(org, id, EventKind::ServerChanged);
                    return self.get(org, id).await;
                }
                Ok(false) => {}
                Err(error @ StoreError::Conflict(_)) => return Err(name_taken(&row.name).because(error)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "busy", "the server is being changed by others; try again"))
    }

    /// The whole facts document and when it was collected; `None` before the first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn facts(&self, org: OrgId, id: ServerId) -> Result<Option<(Facts, i64)>> {
        let Some((json, collected_at_us)) = self.store.facts(org, id).await? else {
            self.get(org, id).await?;
            return Ok(None);
        };
        Ok(Some((serde_json::from_slice(&json).map_err(Error::internal)?, collected_at_us)))
    }

    /// The last preflight report; `None` before the first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn preflight(&self, org: OrgId, id: ServerId) -> Result<Option<PreflightReport>> {
        let Some(json) = self.store.preflight(org, id).await? else {
            self.get(org, id).await?;
            return Ok(None);
        };
        Ok(Some(serde_json::from_str(&json).map_err(Error::internal)?))
    }

    /// What is needed to connect over SSH, secrets open.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] for a server without SSH credentials.
    pub async fn ssh_target(&self, org: OrgId, id: ServerId) -> Result<SshTarget> {
        self.ssh_target_if_any(org, id).await?.ok_or_else(no_ssh_credentials)
    }

    /// [`Self::ssh_target`]; `None` for a server without SSH credentials.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn ssh_target_if_any(&self, org: OrgId, id: ServerId) -> Result<Option<SshTarget>> {
        let row = self.store.server_row(org, id).await?.ok_or_else(|| Error::not_found("server"))?;
        let auth = self.opened(org, &row).await?;
        let (Some(host), Some(ssh), Some(auth)) = (row.addresses.host(), row.ssh, auth) else { return Ok(None) };
        Ok(Some(SshTarget {
            host,
            port: ssh.port,
            username: ssh.username,
            auth,
            sudo_mode: ssh.sudo_mode,
            host_key: row.host_key,
        }))
    }

    /// Records the host key of the first contact; a recorded one stays.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn record_host_key(&self, act: &Act, id: ServerId, key: &Fingerprint) -> Result<()> {
        if self.store.record_host_key(act, id, key).await? {
            self.events.publish(act.org_id, id, EventKind::ServerChanged);
        }
        Ok(())
    }

    /// Records that the host showed another key than the recorded one: nothing connects until it is accepted.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn offer_host_key(&self, act: &Act, id: ServerId, key: &Fingerprint) -> Result<()> {
        if self.store.offer_host_key(act, id, key).await? {
            self.events.publish(act.org_id, id, EventKind::ServerChanged);
        }
        Ok(())
    }

    /// Makes `key` the server's host key: a person compared it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn accept_host_key(&self, act: &Act, id: ServerId, key: &Fingerprint) -> Result<Server> {
        let org = act.org_id;
        let before = self.get(org, id).await?;
        let shown = |key: Option<&Fingerprint>| json!({ "ssh_host_key_fingerprint": key.map(ToString::to_string) });
        let record = Record::new(act, Action::ServerHostKeyAccepted, id, &before.name)
            .change(&shown(before.host_key.as_ref()), &shown(Some(key)));
        if !self.store.accept_host_key(id, key, &record).await? {
            return Err(Error::not_found("server"));
        }
        self.events.publish(org, id, EventKind::ServerChanged);
        self.get(org, id).await
    }

    /// Records how an attempt over SSH ended, `detail` in words. One that ended like the last is no news.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn record_connection(
        &self,
        org: OrgId,
        id: ServerId,
        outcome: ConnectionOutcome,
        detail: &str,
        now_us: i64,
    ) -> Result<()> {
        let record = ConnectionRecord { outcome, detail: detail.to_owned(), at_us: now_us };
        if self.store.record_connection(org, id, &record).await? {
            self.events.publish(org, id, EventKind::ServerChanged);
        }
        Ok(())
    }

    /// Records the sudo mode that was found to work where the record says to find out.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn record_sudo_mode(&self, org: OrgId, id: ServerId, mode: SudoMode, now_us: i64) -> Result<()> {
        Ok(self.store.record_sudo_mode(org, id, mode, now_us).await?)
    }

    /// Stores a facts document unless a younger one is there.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a document that is too large or can't be read.
    pub async fn record_facts(
        &self,
        org: OrgId,
        id: ServerId,
        json: &[u8],
        collected_at_us: i64,
        now_us: i64,
    ) -> Result<()> {
        let facts = FactsRow::read(org, id, json, collected_at_us, now_us)?;
        self.store.record_facts(&facts).await?.publish(&self.events, org, id);
        Ok(())
    }

    /// Stores a preflight report unless a younger one is there.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn record_preflight(&self, org: OrgId, id: ServerId, report: &PreflightReport) -> Result<()> {
        let json = serde_json::to_string(report).map_err(Error::internal)?;
        let record = PreflightRecord { verdict: report.verdict(), checked_at_us: report.checked_at_us };
        if self.store.record_preflight(org, id, &json, record).await? {
            self.events.publish(org, id, EventKind::ServerChanged);
        }
        Ok(())
    }

    /// Puts on record what was done about a server without changing its row.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn record(&self, record: &Record) -> Result<()> {
        Ok(self.store.record_audit(record).await?)
    }

    fn apply(&self, org: OrgId, row: &mut ServerRow, patch: &ServerPatch) -> Result<()> {
        row.apply(patch);
        if let Some(connection) = &patch.connection {
            row.apply_connection(connection)?;
            require_address(&row.addresses)?;
            if let Some(auth) = &connection.auth {
                row.auth = secrets::seal(&self.keyring, org, row.id, auth).map_err(Error::internal)?;
            }
        }
        Ok(())
    }

    async fn made_before(
        &self,
        org: OrgId,
        server: &NewServer,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Server>> {
        let Some(key) = key else { return Ok(None) };
        let Some((id, sealed)) = self.store.idempotent_creation(org, key).await? else { return Ok(None) };
        let org_text = org.to_string();
        let digest = self.keyring.open(&idempotency_place(&org_text, key), &sealed).map_err(Error::internal)?;
        if digest.as_slice() != server.digest().as_slice() {
            let detail = "this idempotency key was used for another server: use a new key";
            return Err(Error::new(ErrorKind::Conflict, "idempotency_key_reused", detail));
        }
        self.get(org, id).await.map(Some)
    }

    /// The digest covers the password, so it is sealed: a plain one could be guessed against.
    fn sealed_digest(&self, org: OrgId, key: &IdempotencyKey, server: &NewServer) -> Result<Vec<u8>> {
        let org = org.to_string();
        self.keyring.seal(&idempotency_place(&org, key), &server.digest()).map_err(Error::internal)
    }
}

fn idempotency_place<'a>(organization: &'a str, key: &'a IdempotencyKey) -> muster_shared::seal::Place<'a> {
    muster_shared::seal::Place { organization, table: "idempotency_keys", row: key.as_str(), column: "body_sealed" }
}

fn require_address(addresses: &Addresses) -> Result<()> {
    if addresses.host().is_some() {
        return Ok(());
    }
    let detail = match addresses.choice {
        AddressChoice::Auto => "at least one of ipv4_address, ipv6_address, fqdn and hostname is needed".to_owned(),
        choice => format!("connection_host_type is {}, but there is no such address", choice.as_str()),
    };
    Err(Error::invalid("address_required", detail))
}

fn no_ssh_credentials() -> Error {
    let detail = "the server has no SSH address and credentials: add them to the server first";
    Error::new(ErrorKind::Precondition, "no_ssh_credentials", detail)
}

fn name_taken(name: &ServerName) -> Error {
    Error::new(ErrorKind::Conflict, "name_taken", format!("there is a server named {name} already"))
}
