//! Trying a connection: before a server is saved and after. What it finds comes from the agent's own probe, carried to
//! the host and removed again, so that it reads like everything an installed agent will ever say.

mod found;
mod login;

use muster_shared::{
    facts::{Facts, MAX_FACTS_BYTES},
    id::{OrgId, ServerId},
};

pub use self::found::{Detected, TestResult};
use crate::{
    agent_binary::AgentBinaries,
    clock::Clock,
    error::Error,
    servers::{Connection, Servers, SshTarget, SudoMode},
    ssh::{Carriage, Connector, Entering, Entrance, EntranceError, RunEvent, Session, SshError, probe},
};

/// Tests connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectionTest {
    connector: Connector,
    entrance: Entrance,
    binaries: AgentBinaries,
    servers: Servers,
    clock: Clock,
}

impl ConnectionTest {
    #[must_use]
    pub fn new(connector: Connector, binaries: AgentBinaries, servers: Servers, clock: Clock) -> Self {
        let entrance = Entrance::new(connector.clone(), servers.clone(), clock.clone());
        Self { connector, entrance, binaries, servers, clock }
    }

    /// Tests a connection that is not saved. Nothing is recorded.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) where there is no address to connect to;
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a key pair that is not the organisation's. A failed
    /// connection is a result, not an error.
    pub async fn run(&self, org: OrgId, connection: &Connection) -> Result<TestResult, Error> {
        let Some(target) = self.servers.target_of(org, connection).await? else {
            return Err(Error::invalid("address_required", "give the address that connection_host_type asks for"));
        };
        Ok(self.try_out(&target).await.0)
    }

    /// Connects, logs in and looks around. Nothing is recorded.
    async fn try_out(&self, target: &SshTarget) -> (TestResult, Option<Seen>) {
        let dialled = match self.connector.dial(target).await {
            Ok(dialled) => dialled,
            Err(error) => return (TestResult::failed(&error, None), None),
        };
        let host_key = Some(dialled.host_key.clone());
        let answer = match dialled.authenticate().await {
            Ok(session) => self.look_around(session, target).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(seen) => (TestResult::of_seen(&seen, target, host_key), Some(seen)),
            Err(error) => (TestResult::failed(&error, host_key), None),
        }
    }

    /// Tests the connection of a saved server and records what it finds: the host key of a first contact, how the
    /// attempt ended, the facts, and the sudo mode that works.
    ///
    /// # Errors
    /// No such server, no credentials, or the store failed. A failed connection is a result, not an error.
    pub async fn run_saved(&self, org: OrgId, id: ServerId) -> Result<TestResult, Error> {
        let target = self.servers.ssh_target(org, id).await?;
        let mut host_key = None;
        let entered = self.entrance.enter(org, id, &target, |step| {
            if let Entering::HostKey { fingerprint, .. } = step {
                host_key = Some(fingerprint);
            }
        });
        let session = match entered.await {
            Ok(session) => session,
            Err(EntranceError::Host(error)) => return Ok(TestResult::failed(&error, host_key)),
            Err(EntranceError::Record(error)) => return Err(error),
        };
        match self.look_around(session, &target).await {
            Ok(seen) => {
                let result = TestResult::of_seen(&seen, &target, host_key);
                self.record(org, id, &seen, &result).await?;
                Ok(result)
            }
            Err(error) => {
                let now_us = self.clock.now_us();
                self.servers.record_connection(org, id, error.outcome(), &error.to_string(), now_us).await?;
                Ok(TestResult::failed(&error, host_key))
            }
        }
    }

    /// Looks around in a session that somebody opened on a saved server, ends it, and records the facts.
    ///
    /// # Errors
    /// The host could not be asked, or the store failed. How the login went is not this look's to record.
    pub async fn look(&self, org: OrgId, id: ServerId, session: Session, target: &SshTarget) -> Result<(), Error> {
        let seen = self.look_around(session, target).await?;
        let now_us = self.clock.now_us();
        self.servers.record_facts(org, id, seen.json.as_bytes(), now_us, now_us).await
    }

    async fn record(&self, org: OrgId, id: ServerId, seen: &Seen, result: &TestResult) -> Result<(), Error> {
        let now_us = self.clock.now_us();
        self.servers.record_facts(org, id, seen.json.as_bytes(), now_us, now_us).await?;
        match (&result.detected, &result.remedy) {
            (Some(detected), None) => self.servers.record_sudo_mode(org, id, detected.sudo_mode, now_us).await?,
            // What `auto` comes to is open as long as sudo refuses: the next password may be right.
            _ => self.servers.record_connection(org, id, result.outcome, &result.message, now_us).await?,
        }
        Ok(())
    }

    /// Asks as root where root can be reached, since root sees more; else as the login, and says why.
    async fn look_around(&self, session: Session, target: &SshTarget) -> Result<Seen, SshError> {
        let seen = match self.ask(&session, target, target.sudo_mode).await {
            Err(SshError::Elevation(refusal)) => {
                let refusal = SshError::Elevation(refusal);
                self.ask(&session, target, SudoMode::None).await.map(|seen| Seen { refusal: Some(refusal), ..seen })
            }
            seen => seen,
        };
        session.close().await;
        seen
    }

    async fn ask(&self, session: &Session, target: &SshTarget, sudo_mode: SudoMode) -> Result<Seen, SshError> {
        let mut json = String::new();
        let mut login_is_root = false;
        let each = |event| match event {
            RunEvent::Greeted { is_root, .. } => login_is_root = is_root,
            RunEvent::Line(line) if json.len() + line.len() < MAX_FACTS_BYTES => {
                json.push_str(&line);
                json.push('\n');
            }
            _ => {}
        };
        probe(session, &self.binaries, target, sudo_mode, &["facts", "--json"], each).await?;
        let facts = serde_json::from_str(&json).map_err(|_| SshError::Carriage(Carriage::AnswerUnreadable))?;
        Ok(Seen { facts, json, login_is_root, refusal: None })
    }
}

/// What a look around showed.
#[derive(Debug)]
struct Seen {
    facts: Facts,
    json: String,
    login_is_root: bool,
    /// Why root could not be reached.
    refusal: Option<SshError>,
}
