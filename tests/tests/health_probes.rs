//! Health checks of servers without agents, against SSH servers that accept, refuse or lie.

use anyhow::Result;
use muster::{
    access::{API_TOKEN_PREFIX, Act, Token},
    agent_binary::AgentBinaries,
    audit::AuditSigner,
    clock::Clock,
    connection_test::ConnectionTest,
    dial::AddressPolicy,
    events::{EventKind, Events, Subscription},
    health::{Checks, EVERY_US},
    keyring::Keyring,
    metrics::Heads,
    servers::{
        Addresses, Connection, ConnectionPatch, Fingerprint, HealthStatus, NewServer, Resources, Server, ServerPatch,
        Servers, SshAuth, SudoMode,
    },
    ssh::{Connector, Entrance},
    store::{DatabaseUrl, FirstOwner, Store},
};
use muster_shared::id::{ApiTokenId, OrgId, ServerId, UserId};
use muster_tests::ssh_server::{Accepts, Shown, SshServer};
use russh::keys::{HashAlg, PrivateKey, decode_secret_key};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;

const NOW_US: i64 = 1_800_000_000_000_000;
const SECOND_US: i64 = 1_000_000;
const PASSWORD: &str = "canary correct horse";
const HOST_KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh.pem");
const OTHER_KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-pkcs8.pem");

fn private(pem: &str) -> PrivateKey {
    decode_secret_key(pem, None).expect("a key")
}

fn fingerprint(pem: &str) -> Fingerprint {
    private(pem).public_key().fingerprint(HashAlg::Sha256).to_string().parse().expect("a fingerprint")
}

async fn host() -> Result<SshServer> {
    SshServer::start(vec![private(HOST_KEY)], Accepts::Password(PASSWORD.to_owned())).await
}

fn password(text: &str) -> SshAuth {
    SshAuth::Password(SecretString::from(text))
}

/// The part of a control plane that checks health, on a clock of its own.
struct Stage {
    store: Store,
    servers: Servers,
    checks: Checks,
    events: Events,
    clock: Clock,
    org: OrgId,
    folder: TempDir,
}

impl Stage {
    async fn set() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(&DatabaseUrl::sqlite_in(folder.path())).await?;
        store.sign_audit_with(AuditSigner::from_pkcs8(&AuditSigner::generate_pkcs8()?)?);
        let keyring = Keyring::open_or_create(folder.path(), &store, NOW_US).await?;
        let (events, clock) = (Events::default(), Clock::standing_at(NOW_US));
        let servers = Servers::new(store.clone(), keyring, events.clone());
        let org = OrgId::generate();
        let owner = FirstOwner {
            org_id: org,
            org_name: "Acme Corp",
            user_id: UserId::generate(),
            user_name: "owner",
            token_id: ApiTokenId::generate(),
            token_hash: Token::generate(API_TOKEN_PREFIX)?.hash(),
        };
        store.create_first_owner(&owner, NOW_US).await?;
        let connector = Connector::new(AddressPolicy { allow_loopback: true, allow_private: true });
        let entrance = Entrance::new(connector.clone(), servers.clone(), clock.clone());
        let binaries = AgentBinaries::new(folder.path());
        let test = ConnectionTest::new(connector, binaries, servers.clone(), clock.clone());
        let heads = Heads::new(store.clone());
        let checks =
            Checks::new((store.clone(), servers.clone(), events.clone()), heads, entrance, test, clock.clone());
        Ok(Self { store, servers, checks, events, clock, org, folder })
    }

    async fn server(&self, port: u16, auth: SshAuth, host_key: Option<&str>) -> Result<ServerId> {
        let server = NewServer {
            name: "web-1".parse()?,
            provider: "custom".parse()?,
            region: "Frankfurt".parse()?,
            connection: Connection {
                addresses: Addresses { ipv4: Some([127, 0, 0, 1].into()), ..Addresses::default() },
                port,
                username: "ops".parse()?,
                auth: auth.into(),
                sudo_mode: SudoMode::None,
                host_key: host_key.map(fingerprint),
            },
            declared: Resources::default(),
            max_projects: None,
        };
        Ok(self.servers.create(&self.act(), server, None).await?.id)
    }

    fn act(&self) -> Act {
        Act::of_system(self.org, self.clock.now_us())
    }

    /// The server after one turn of everybody who is due.
    async fn after_a_turn(&self, id: ServerId) -> Result<Server> {
        self.checks.run_once().await?;
        Ok(self.servers.get(self.org, id).await?)
    }

    /// Lets time pass, ten seconds a turn.
    async fn pass(&self, seconds: i64) -> Result<()> {
        for _ in 0..seconds / 10 {
            self.clock.advance(10 * SECOND_US);
            self.checks.run_once().await?;
        }
        Ok(())
    }

    fn status(&self, server: &Server) -> HealthStatus {
        server.health(self.clock.now_us()).status
    }
}

/// The words of what was told so far.
async fn told(events: &mut Subscription) -> Vec<&'static str> {
    let mut words = Vec::new();
    while let Ok(Some(Ok(event))) = tokio::time::timeout(std::time::Duration::from_millis(20), events.next()).await {
        words.push(event.kind.word());
    }
    words
}

#[tokio::test]
async fn a_server_that_lets_us_in_is_healthy_and_tried_every_two_minutes() -> Result<()> {
    let (stage, host) = (Stage::set().await?, host().await?);
    let id = stage.server(host.port(), password(PASSWORD), Some(HOST_KEY)).await?;
    let mut events = stage.events.subscribe();
    let server = stage.after_a_turn(id).await?;
    assert_eq!(stage.status(&server), HealthStatus::Healthy, "{:?}", server.health(stage.clock.now_us()));
    assert_eq!(host.shown(), [Shown::Password(PASSWORD.to_owned())]);
    let health_changed = EventKind::HealthChanged.word();
    assert_eq!(told(&mut events).await.iter().filter(|word| **word == health_changed).count(), 1);
    let since_us = server.health(stage.clock.now_us()).since_us;
    stage.pass(600).await?;
    let attempts = host.shown().len();
    assert!((5..=7).contains(&attempts), "{attempts} in ten minutes");
    assert_eq!(told(&mut events).await, Vec::<&str>::new(), "the same again is no news");
    let server = stage.after_a_turn(id).await?;
    let health = server.health(stage.clock.now_us());
    assert_eq!((health.status, health.since_us), (HealthStatus::Healthy, since_us));
    assert!(health.checked_at_us.is_some_and(|at_us| stage.clock.now_us() - at_us <= EVERY_US));
    Ok(())
}

#[tokio::test]
async fn a_refused_login_is_not_repeated_until_somebody_changes_it() -> Result<()> {
    let (stage, host) = (Stage::set().await?, host().await?);
    let id = stage.server(host.port(), password("wrong"), Some(HOST_KEY)).await?;
    let server = stage.after_a_turn(id).await?;
    assert_eq!(stage.status(&server), HealthStatus::AuthFailed);
    stage.pass(590).await?;
    assert!(host.shown().len() <= 2, "{:?}: a host would lock us out", host.shown());
    let server = stage.servers.get(stage.org, id).await?;
    let record = server.health_record.as_ref().expect("checked");
    assert!(stage.clock.now_us() - record.checked_at_us <= EVERY_US, "it is looked at all the same");
    let patch = ServerPatch {
        connection: Some(ConnectionPatch { auth: Some(password(PASSWORD).into()), ..ConnectionPatch::default() }),
        ..ServerPatch::default()
    };
    stage.servers.update(&stage.act(), id, &patch).await?;
    stage.checks.check(&[(stage.org, id)]).await?;
    stage.pass(130).await?;
    let server = stage.servers.get(stage.org, id).await?;
    assert_eq!(stage.status(&server), HealthStatus::Healthy);
    assert_eq!(host.shown().last(), Some(&Shown::Password(PASSWORD.to_owned())));
    Ok(())
}

#[tokio::test]
async fn no_credential_goes_to_a_host_that_nobody_accepted() -> Result<()> {
    let (stage, host) = (Stage::set().await?, host().await?);
    let id = stage.server(host.port(), password(PASSWORD), None).await?;
    stage.pass(300).await?;
    let server = stage.after_a_turn(id).await?;
    assert_eq!(stage.status(&server), HealthStatus::Unknown);
    assert_eq!(server.host_key, None, "a first contact is a person's");
    assert_eq!(host.shown(), []);
    Ok(())
}

#[tokio::test]
async fn another_host_key_stops_the_probe_before_any_credential() -> Result<()> {
    let (stage, host) = (Stage::set().await?, host().await?);
    let id = stage.server(host.port(), password(PASSWORD), Some(OTHER_KEY)).await?;
    let server = stage.after_a_turn(id).await?;
    assert_eq!(stage.status(&server), HealthStatus::Unhealthy);
    assert!(server.health(NOW_US).reason.contains("host key changed"));
    assert_eq!(server.host_key_offered, Some(fingerprint(HOST_KEY)));
    assert_eq!(host.shown(), []);
    stage.servers.accept_host_key(&stage.act(), id, &fingerprint(HOST_KEY)).await?;
    stage.pass(130).await?;
    let server = stage.servers.get(stage.org, id).await?;
    assert_eq!(stage.status(&server), HealthStatus::Healthy, "tried again once it was accepted");
    Ok(())
}

#[tokio::test]
async fn a_closed_port_is_unreachable_since_then_and_its_return_is_seen() -> Result<()> {
    let stage = Stage::set().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    drop(listener);
    let id = stage.server(port, password(PASSWORD), Some(HOST_KEY)).await?;
    let server = stage.after_a_turn(id).await?;
    let first = server.health(stage.clock.now_us());
    assert_eq!(first.status, HealthStatus::Unreachable);
    assert_eq!(first.evidence[0].word.as_deref(), Some("unreachable"));
    assert!(first.next_check_at_us - stage.clock.now_us() <= 15 * SECOND_US, "a blip is told from an outage soon");
    stage.pass(300).await?;
    let server = stage.servers.get(stage.org, id).await?;
    let later = server.health(stage.clock.now_us());
    assert_eq!((later.status, later.since_us), (HealthStatus::Unreachable, first.since_us));
    assert!(later.checked_at_us.is_some_and(|at_us| stage.clock.now_us() - at_us <= EVERY_US + 10 * SECOND_US));
    let reopened = Store::open(&DatabaseUrl::sqlite_in(stage.folder.path())).await?;
    let after_restart = reopened.server(stage.org, id).await?.expect("there").health(stage.clock.now_us());
    assert_eq!(after_restart.since_us, first.since_us);
    assert_eq!(stage.store.disk_use(stage.org, id, 0).await?, []);
    Ok(())
}
