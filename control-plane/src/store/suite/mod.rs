//! The store's suite: every test runs on SQLite and, where `MUSTER_TEST_POSTGRES_URL` names a server, on PostgreSQL.

mod audit;
mod command_model;
mod commands;
mod compaction;
mod enrollment;
mod environments;
mod faults;
mod filter;
mod fleet_runs;
mod hardening;
mod health;
mod keyring;
mod oidc;
mod people;
mod power;
mod projects;
mod retention;
mod sealed_world;
mod sealing;
mod sealing_faults;
mod sealing_kill;
mod servers;
mod sessions;
mod ssh_key_rotations;
mod ssh_keys;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use muster_shared::{
    id::{ApiTokenId, CommandId, OrgId, ServerId, UserId},
    sign::CommandSigner,
};
use secrecy::SecretString;

use super::{AuditFilter, Enrolled, Enrolment, FirstOwner, IssuedCertificate, NewJoinToken, Store};
use crate::{
    access::{Act, Actor, Credential, Origin, Token},
    audit::{Action, Record},
    commands::{Commands, Wake},
    environments::Environments,
    events::Events,
    keyring::Keyring,
    projects::Projects,
    quota::Quotas,
    servers::{Addresses, Connection, Label, NewServer, Resources, Server, ServerName, Servers, SshAuth, SudoMode},
    sessions::{Closing, Entry},
    ssh_keys::SshKeyPairs,
};

pub(crate) const NOW_US: i64 = 1_800_000_000_000_000;
pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const MINUTE_US: i64 = 60 * SECOND_US;

/// An organisation with its nouns.
pub(crate) struct Fleet {
    pub(crate) store: Store,
    pub(crate) org: OrgId,
    pub(super) user: UserId,
    pub(crate) events: Events,
    pub(crate) servers: Servers,
    pub(super) ssh_keys: SshKeyPairs,
    pub(crate) commands: Commands,
    pub(super) projects: Projects,
    pub(super) environments: Environments,
    pub(super) quotas: Quotas,
    pub(super) woken: Arc<Woken>,
}

/// Runs `work` until it has waited `waits` times, then drops it, as if the process had died there.
pub(super) async fn die_after<T>(waits: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut waited = 0;
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

/// Remembers who was woken.
#[derive(Default)]
pub(super) struct Woken(Mutex<Vec<ServerId>>);

impl Woken {
    pub(super) fn take(&self) -> Vec<ServerId> {
        std::mem::take(&mut *self.0.lock().expect("no test panics while it holds this"))
    }
}

impl Wake for Woken {
    fn wake(&self, server: ServerId) {
        self.0.lock().expect("no test panics while it holds this").push(server);
    }
}

impl Fleet {
    /// A new organisation in `store`.
    pub(crate) async fn new(store: Store) -> Self {
        Self::sealed_by(store, Keyring::of_key(1)).await
    }

    /// A new organisation in `store`, whose secrets `keyring` seals.
    pub(super) async fn sealed_by(store: Store, keyring: Keyring) -> Self {
        let (org, user) = (OrgId::generate(), UserId::generate());
        let owner = FirstOwner {
            org_id: org,
            org_name: "Acme Corp",
            user_id: user,
            user_name: &user.to_string(),
            token_id: ApiTokenId::generate(),
            token_hash: Token::generate("mst_").expect("randomness").hash(),
        };
        store.create_first_owner(&owner, NOW_US).await.expect("an organisation");
        let events = Events::default();
        let servers = Servers::new(store.clone(), keyring.clone(), events.clone());
        let ssh_keys = SshKeyPairs::new(store.clone(), keyring);
        let key = CommandSigner::generate_pkcs8().expect("randomness");
        let signer = Arc::new(CommandSigner::from_pkcs8("k1", &key).expect("a key"));
        let woken = Arc::new(Woken::default());
        let commands = Commands::new(store.clone(), servers.clone(), signer, events.clone(), woken.clone());
        Self {
            projects: Projects::new(store.clone(), events.clone()),
            environments: Environments::new(store.clone(), events.clone()),
            quotas: Quotas::new(store.clone()),
            store,
            org,
            user,
            events,
            servers,
            ssh_keys,
            commands,
            woken,
        }
    }

    /// What the organisation's owner does at [`NOW_US`].
    pub(crate) fn act(&self) -> Act {
        self.act_at(NOW_US)
    }

    /// What the organisation's owner does at `at_us`.
    pub(super) fn act_at(&self, at_us: i64) -> Act {
        let credential = Credential::Token(ApiTokenId::generate());
        let actor = Actor::User { id: self.user, name: "owner".into(), credential };
        Act { org_id: self.org, actor, origin: Origin::default(), at_us }
    }

    /// A record of something the owner does.
    pub(super) fn record(&self, action: Action) -> Record {
        Record::new(&self.act(), action, self.org, "")
    }

    /// What is on record of something, newest first.
    pub(crate) async fn recorded_of(&self, id: impl ToString) -> Vec<String> {
        let filter = AuditFilter { resource_id: Some(id.to_string()), limit: 100, ..AuditFilter::default() };
        let entries = self.store.list_audit(self.org, &filter).await.expect("read");
        entries.into_iter().map(|entry| entry.action).collect()
    }

    /// A server that is reached over SSH.
    pub(super) async fn create(&self, name: &str) -> Server {
        self.servers.create(&self.act(), new_server(name), None).await.expect("a server")
    }

    /// A join token and what is shown of it.
    pub(super) async fn join_token(&self, for_server: Option<ServerId>) -> Token {
        let token = Token::generate("mjt_").expect("randomness");
        let kept = NewJoinToken {
            id: muster_shared::id::JoinTokenId::generate(),
            hash: token.hash(),
            for_server,
            server_name: None,
            allowed_families: vec![muster_shared::policy::Family::Observe],
            created_by: self.user,
            expires_at_us: NOW_US + 10 * MINUTE_US,
        };
        assert!(self.store.insert_join_token(&kept, &self.record(Action::JoinTokenCreated)).await.expect("kept"));
        token
    }

    /// A host that just joined, and its certificate's serial.
    pub(crate) async fn joined(&self, hostname: &str) -> (ServerId, String) {
        let token = self.join_token(None).await;
        match self.store.enroll(&enrolment(&token, hostname), |_, _| signed(), NOW_US).await.expect("answered") {
            Enrolled::Consumed(joined) => (joined.server_id, joined.made),
            other => panic!("not joined: {other:?}"),
        }
    }

    /// The session that claimed commands as `lease_owner` ends.
    pub(super) async fn requeue_lost(&self, lease_owner: &str) {
        let closing = Closing {
            org: self.org,
            server: ServerId::generate(),
            generation: 1,
            lease_owner: lease_owner.to_owned(),
            is_current: false,
            last_seen_at_us: NOW_US,
        };
        self.store.enter(&[Entry::Close(closing)], NOW_US).await.expect("put back");
    }
}

impl Store {
    /// Makes a command's row one that this version can't read.
    pub(crate) async fn spoil_command(&self, id: CommandId) {
        sqlx::query("UPDATE commands SET body = 'of a later version' WHERE id = $1")
            .bind(id.to_string())
            .execute(self.write())
            .await
            .expect("spoilt");
    }

    /// Makes a server's row one that this version can't read.
    pub(crate) async fn spoil_agent_status(&self, server: ServerId) {
        sqlx::query("UPDATE servers SET agent_status = 'of a later version' WHERE id = $1")
            .bind(server.to_string())
            .execute(self.write())
            .await
            .expect("spoilt");
    }
}

pub(super) fn new_server(name: &str) -> NewServer {
    NewServer {
        name: name.parse().expect("a name"),
        provider: label("custom"),
        region: label("Frankfurt"),
        connection: Connection {
            addresses: Addresses { ipv4: Some([203, 0, 113, 10].into()), ..Addresses::default() },
            port: 22,
            username: "root".parse().expect("a user"),
            auth: SshAuth::Password(SecretString::from("canary-password".to_owned())).into(),
            sudo_mode: SudoMode::Auto,
            host_key: None,
        },
        declared: Resources { cpu_cores: Some(4.0), memory_gb: Some(7.5), disk_gb: None },
        max_projects: Some(8),
    }
}

pub(super) fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

pub(super) fn name(text: &str) -> ServerName {
    text.parse().expect("a name")
}

pub(crate) fn enrolment(token: &Token, hostname: &str) -> Enrolment {
    Enrolment {
        token: token.hash(),
        hostname: hostname.parse().ok(),
        machine_id_sha256: "machine-1".into(),
        agent_version: "0.1.0".into(),
        previous_server: None,
        origin: Origin::default(),
    }
}

/// A certificate as the authority would sign it, and its serial.
pub(crate) fn signed() -> Result<(IssuedCertificate, String), std::convert::Infallible> {
    let serial = ServerId::generate().to_string();
    let certificate = IssuedCertificate {
        serial: serial.clone(),
        public_key_sha256: [7; 32],
        not_before_us: NOW_US,
        not_after_us: NOW_US + 24 * 60 * MINUTE_US,
    };
    Ok((certificate, serial))
}
