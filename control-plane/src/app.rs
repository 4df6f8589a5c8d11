//! The control plane put together: every noun's handle, the tasks that run beside the requests, and the way down.

use std::{error::Error, io, os::unix::fs::DirBuilderExt as _, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::Access,
    agent_binary::AgentBinaries,
    api,
    api_tokens::ApiTokens,
    audit::{Audit, AuditOpenError},
    bootstrap::{Bootstrap, Whereabouts},
    clock::Clock,
    commands::{Commands, keep_reconciled},
    config::Config,
    connection_test::ConnectionTest,
    dial::{AddressPolicy, Dialler, OwnPorts},
    edge::{self, Doors, EdgeError, Limits, Routers, TlsSettings},
    enrollment::Enrollment,
    environments::Environments,
    events::Events,
    facts::FactsRefresh,
    fix::Fixes,
    fleet_runs::FleetRuns,
    hardening::Hardenings,
    health::{Checks, keep_checked},
    identity::{Identity, open::OpenError},
    ingest::{Ingest, Writer},
    keyring::{Keyring, KeyringError, Rotation, keep_resealed},
    link::{self, LinkContext},
    login_requests::LoginRequests,
    members::Members,
    metrics::{
        Heads, History, MetricStore,
        compact::{self, keep_compacted},
        engine::Trouble,
        exchange::Client,
        forward::Forwarder,
        remote_write::{self, RemoteWrite},
        seal::keep_sealed,
    },
    observability::Counters,
    oidc::Oidc,
    organizations::Organizations,
    power::Power,
    preflight::Preflight,
    projects::Projects,
    proof::Proof,
    quota::Quotas,
    retention::{MetricsRetentions, keep_trimmed},
    running::Running,
    secure::Secure,
    server_deletion::ServerDeletion,
    servers::Servers,
    sessions::{Ledger, LedgerWriter, Sessions, keep_sessions},
    ssh::{Connector, Entrance},
    ssh_key_rotations::SshKeyRotations,
    ssh_keys::SshKeyPairs,
    store::{Store, StoreError},
    totp::Totp,
    user_sessions::UserSessions,
    users::{Passwords, Tries, Users},
    workload,
};

/// How long each of the last steps of stopping may take, after the doors are closed.
const FINISH_GRACE: Duration = Duration::from_millis(400);

/// Every handle a request may need. Clones share them.
#[derive(Debug, Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub store: Store,
    pub keyring: Keyring,
    pub rotation: Rotation,
    pub events: Events,
    pub identity: Identity,
    pub access: Access,
    pub audit: Audit,
    pub organizations: Organizations,
    pub members: Members,
    pub users: Users,
    pub api_tokens: ApiTokens,
    pub login_requests: LoginRequests,
    pub totp: Totp,
    pub user_sessions: UserSessions,
    pub oidc: Oidc,
    pub servers: Servers,
    pub ssh_keys: SshKeyPairs,
    pub ssh_key_rotations: SshKeyRotations,
    pub server_deletion: ServerDeletion,
    pub projects: Projects,
    pub environments: Environments,
    pub quotas: Quotas,
    pub metrics_retentions: MetricsRetentions,
    pub sessions: Sessions,
    pub ledger: Ledger,
    pub heads: Heads,
    pub history: History,
    pub metric_store: MetricStore,
    pub ingest: Ingest,
    pub commands: Commands,
    pub enrollment: Enrollment,
    pub agent_binaries: AgentBinaries,
    pub bootstrap: Bootstrap,
    pub secure: Secure,
    pub connection_test: ConnectionTest,
    pub dialler: Dialler,
    pub facts: FactsRefresh,
    pub power: Power,
    pub proof: Proof,
    pub hardenings: Hardenings,
    pub checks: Checks,
    pub preflight: Preflight,
    pub fixes: Fixes,
    pub fleet_runs: FleetRuns,
    pub counters: Counters,
    /// The agents' streams.
    streams: TaskTracker,
    /// Cancelled when the control plane stops: streams end on it.
    pub shutdown: CancellationToken,
}

/// The tasks that write what many agents bring in shared transactions.
#[derive(Debug)]
pub struct Writers {
    frames: Writer,
    ledger: LedgerWriter,
}

impl Writers {
    /// Writes until `stop`, then what is waiting already.
    async fn run(self, stop: CancellationToken) {
        tokio::join!(self.frames.run(stop.clone()), self.ledger.run(stop));
    }
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the data directory {0:?} can't be made")]
    DataDir(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error("the database can't be opened")]
    Store(#[from] StoreError),
    #[error("the key ring can't be opened")]
    Keyring(#[from] KeyringError),
    #[error("the control plane's identity can't be opened")]
    Identity(#[from] OpenError),
    #[error("the audit record can't be kept")]
    Audit(#[from] AuditOpenError),
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Grpc(#[from] api::grpc::BadDescriptors),
    #[error("what answers at metric_store_url is no metric store")]
    MetricStore(#[from] Trouble),
    #[error("the first owner can't be made")]
    Owner(#[from] crate::error::Error),
}

impl App {
    /// Opens the store and everything on it. Nothing runs yet: the writers are the caller's to run.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(
        config: Config,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Result<(Self, Writers), StartError> {
        let counters = Counters::of_process();
        let data_dir = &config.data_dir;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|source| StartError::DataDir(data_dir.clone(), source))?;
        let store = Store::open(&config.database_url).await?;
        // No stream outlived the process that held it.
        store.close_every_session().await?;
        store.free_key_turns().await?;
        store.free_fleet_work().await?;
        let keyring = Keyring::open_or_create(data_dir, &store, clock.now_us()).await?;
        let identity = Identity::open(&config, &store, &keyring, clock.now_us()).await?;
        let audit = Audit::open(&store, &keyring, clock.now_us()).await?;
        let audit = audit.believing(identity.authority.certificate().clone());
        let access = Access::new(store.clone(), config.session_life);
        access.ensure_owner(data_dir, clock.now_us()).await?;
        let passwords = Passwords::new(config.password_cost);
        let tries = Tries::default();
        let events = Events::default();
        let users = Users::new((store.clone(), events.clone()), passwords.clone(), tries.clone());
        let totp = Totp::new(store.clone(), keyring.clone(), users.clone(), tries.clone());
        let user_sessions =
            UserSessions::new(store.clone(), (passwords, tries.clone()), totp.clone(), config.session_life);
        let servers = Servers::new(store.clone(), keyring.clone(), events.clone());
        let sessions = Sessions::default();
        let commands = Commands::new(
            store.clone(),
            servers.clone(),
            Arc::clone(&identity.signer),
            events.clone(),
            Arc::new(sessions.clone()),
        );
        let enrollment = Enrollment::new(
            store.clone(),
            servers.clone(),
            Arc::clone(&identity.authority),
            (sessions.clone(), events.clone()),
            config.agent_certificate_ttl,
        );
        let (ingest, writer) = Ingest::new(store.clone(), sessions.clone(), events.clone(), clock.clone());
        let (ledger, ledger_writer) = Ledger::new(store.clone(), clock.clone());
        let dialler = dialler(&config);
        let oidc = Oidc::new(
            config.oidc.clone(),
            dialler.clone(),
            (store.clone(), keyring.clone()),
            (user_sessions.clone(), tries),
        )?;
        let connector = Connector::new(dialler.clone());
        let agent_binaries = AgentBinaries::new(&config.agent_dir);
        let connection_test =
            ConnectionTest::new(connector.clone(), agent_binaries.clone(), servers.clone(), clock.clone());
        let entrance = Entrance::new(connector.clone(), servers.clone(), clock.clone());
        let proof = Proof::new(
            (servers.clone(), commands.clone()),
            sessions.clone(),
            (entrance.clone(), connector.clone()),
            clock.clone(),
        );
        let running = Running::default();
        let ssh_keys = SshKeyPairs::new(store.clone(), keyring.clone());
        let bootstrap = Bootstrap {
            entrance: entrance.clone(),
            binaries: agent_binaries.clone(),
            servers: servers.clone(),
            enrollment: enrollment.clone(),
            sessions: sessions.clone(),
            events: events.clone(),
            clock: clock.clone(),
            whereabouts: Whereabouts::of(&config, &identity.authority),
            running: running.clone(),
        };
        let heads = Heads::new(store.clone());
        let history = History::new(store.clone(), events.clone(), clock.clone());
        if config.metric_store.is_some() {
            store.forward_frames();
        }
        let checks = Checks::new(
            (store.clone(), servers.clone(), events.clone()),
            heads.clone(),
            entrance.clone(),
            connection_test.clone(),
            clock.clone(),
        );
        let preflight = Preflight::new(
            (servers.clone(), commands.clone()),
            sessions.clone(),
            entrance.clone(),
            agent_binaries.clone(),
            clock.clone(),
        );
        let api_tokens = ApiTokens::new(store.clone(), config.api_token_max_ttl);
        let app = Self {
            bootstrap,
            checks,
            server_deletion: ServerDeletion::new(store.clone(), heads.clone(), sessions.clone(), events.clone()),
            projects: Projects::new(store.clone(), events.clone()),
            environments: Environments::new(store.clone(), events.clone()),
            quotas: Quotas::new(store.clone()),
            metrics_retentions: MetricsRetentions::new(store.clone(), config.kept, config.metric_store.is_none()),
            facts: FactsRefresh::new(servers.clone(), commands.clone(), sessions.clone(), connection_test.clone()),
            fixes: Fixes::new(
                (servers.clone(), commands.clone()),
                (sessions.clone(), entrance.clone()),
                preflight.clone(),
                clock.clone(),
            ),
            fleet_runs: FleetRuns::new(
                store.clone(),
                (servers.clone(), commands.clone()),
                proof.clone(),
                clock.clone(),
            ),
            hardenings: Hardenings::new(store.clone(), servers.clone(), sessions.clone(), proof.clone()),
            proof,
            preflight,
            power: Power::new(store.clone(), servers.clone(), commands.clone(), sessions.clone()),
            rotation: Rotation::new(store.clone(), keyring.clone()),
            ssh_key_rotations: SshKeyRotations::new(
                (store.clone(), clock.clone()),
                (servers.clone(), ssh_keys.clone()),
                (entrance.clone(), connector.clone()),
                agent_binaries.clone(),
                running.clone(),
            ),
            secure: Secure {
                connector,
                entrance,
                binaries: agent_binaries.clone(),
                servers: servers.clone(),
                ssh_keys: ssh_keys.clone(),
                clock: clock.clone(),
                running,
            },
            ssh_keys,
            heads,
            metric_store: MetricStore::new(history.clone(), config.metric_store.clone().map(|engine| engine.read))?,
            history,
            organizations: Organizations::new(store.clone()),
            members: Members::new(store.clone(), events.clone()),
            login_requests: LoginRequests::new(keyring.clone(), api_tokens.clone()),
            api_tokens,
            users,
            totp,
            user_sessions,
            oidc,
            sessions,
            ledger,
            commands,
            agent_binaries,
            connection_test,
            dialler,
            access,
            audit,
            servers,
            config: Arc::new(config),
            clock,
            store,
            keyring,
            events,
            identity,
            counters,
            ingest,
            enrollment,
            streams: TaskTracker::new(),
            shutdown,
        };
        Ok((app, Writers { frames: writer, ledger: ledger_writer }))
    }

    /// Starts the reconcilers; they end with `shutdown`.
    fn start_tasks(&self, tasks: &TaskTracker) {
        let stop = || self.shutdown.clone();
        tasks.spawn(self.identity.clone().keep_presentable(self.clock.clone(), stop()));
        tasks.spawn(keep_reconciled(self.commands.clone(), self.clock.clone(), stop()));
        tasks.spawn(workload::keep_carried(self.ssh_key_rotations.clone(), stop()));
        tasks.spawn(workload::keep_carried(self.fleet_runs.clone(), stop()));
        tasks.spawn(keep_checked(self.checks.clone(), stop()));
        tasks.spawn(self.counters.clone().keep_folded(stop()));
        tasks.spawn(keep_sessions(self.sessions.clone(), self.store.clone(), stop()));
        tasks.spawn(keep_resealed(self.store.clone(), self.keyring.clone(), stop()));
        if self.config.metric_store.is_none() {
            tasks.spawn(keep_sealed(self.history.clone(), self.config.seal_interval, stop()));
            tasks.spawn(keep_compacted(self.history.clone(), compact::EVERY, stop()));
        }
        tasks.spawn(keep_trimmed(self.store.clone(), self.clock.clone(), self.config.kept, stop()));
    }

    /// What the agents' name serves, and what every other name does.
    async fn routers(&self) -> Result<(Router, Router), StartError> {
        Ok((link::router(self.link_context()), api::router(self).await?))
    }

    fn link_context(&self) -> LinkContext {
        LinkContext {
            store: self.store.clone(),
            clock: self.clock.clone(),
            identity: self.identity.clone(),
            servers: self.servers.clone(),
            commands: self.commands.clone(),
            enrollment: self.enrollment.clone(),
            sessions: self.sessions.clone(),
            ledger: self.ledger.clone(),
            heads: self.heads.clone(),
            ingest: self.ingest.clone(),
            events: self.events.clone(),
            agent_url: self.config.agent_url(),
            streams: self.streams.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    /// After the doors are closed: what is on its way is stored, and everybody is offline.
    async fn finish(self, tasks: TaskTracker, writing: JoinHandle<()>, stop_writing: CancellationToken) {
        for tracker in [&self.streams, &tasks] {
            tracker.close();
            if timeout(FINISH_GRACE, tracker.wait()).await.is_err() {
                tracing::warn!(tasks = tracker.len(), "tasks left behind: the database does not answer");
            }
        }
        let recorded = async { tokio::join!(self.user_sessions.settled(), self.access.settled()) };
        if timeout(FINISH_GRACE, recorded).await.is_err() {
            tracing::warn!("failed sign-ins are not on record: the database does not answer");
        }
        stop_writing.cancel();
        if timeout(FINISH_GRACE, writing).await.is_err() {
            tracing::warn!("frames left with their hosts: the database does not answer");
        }
        let closing = async {
            if let Err(error) = self.store.close_every_session().await {
                tracing::warn!(error = %chain(&error), "agents not recorded as offline");
            }
            self.store.close().await;
        };
        // The next start sets everybody offline as well.
        let _ = timeout(FINISH_GRACE, closing).await;
    }
}

/// The guard of every address that callers name.
fn dialler(config: &Config) -> Dialler {
    let policy = AddressPolicy {
        allow_loopback: config.allow_loopback_addresses,
        allow_private: config.allow_private_addresses,
    };
    let listening = [Some(config.listen), config.http_listen, config.agent_listen];
    Dialler::new(policy, OwnPorts::of(listening.into_iter().flatten()))
}

/// Runs the control plane until `shutdown`, then drains. `ready` hears the addresses once the doors are open.
///
/// # Errors
/// [`StartError`]: the ports are taken, or something on disk or in the database is not usable.
pub async fn serve(
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(&App, &Doors),
) -> Result<(), StartError> {
    let doors = Doors::bind(&config).await?;
    let max_connections = config.max_connections;
    let (app, mut writers) = App::open(config, Clock::system(), shutdown.clone()).await?;
    let tls = TlsSettings::new(&app.identity)?;
    let (tasks, stop_writing) = (TaskTracker::new(), CancellationToken::new());
    if let Some(destination) = app.config.remote_write.clone() {
        let (queue, client) = (remote_write::Queue::default(), Client::new(destination)?);
        writers.frames.write_remotely(queue.clone());
        let sender = RemoteWrite::new(queue, client, app.store.clone(), app.clock.clone());
        tasks.spawn(sender.run(shutdown.clone()));
    }
    if let Some(engine) = app.config.metric_store.clone() {
        app.metric_store.check().await?;
        let (news, from) = (Arc::default(), (app.store.clone(), app.clock.clone()));
        writers.frames.tell_of_frames(Arc::clone(&news));
        let client = Client::new(engine.write)?;
        let forwarder = Forwarder::new(from, client, app.events.clone(), news, app.config.kept.raw);
        tasks.spawn(forwarder.run(shutdown.clone()));
    }
    let writing = tokio::spawn(writers.run(stop_writing.clone()));
    app.start_tasks(&tasks);
    ready(&app, &doors);
    let (agents, everyone) = app.routers().await?;
    let main_door =
        Routers { agents: doors.agents.is_none().then(|| agents.clone()), everyone: Some(everyone.clone()) };
    let agents_door = Routers { agents: Some(agents), everyone: None };
    let limits = Limits::of_tls(max_connections);
    let serve_tls =
        |listener, routers| edge::serve_tls(listener, tls.clone(), routers, limits.clone(), shutdown.clone());
    let on_tls = serve_tls(doors.tls, main_door);
    let on_agents = async {
        if let Some(listener) = doors.agents {
            serve_tls(listener, agents_door).await;
        }
    };
    let on_http = async {
        if let Some(listener) = doors.http {
            edge::serve_plain(listener, everyone, Limits::of_plain(), shutdown.clone()).await;
        }
    };
    tokio::join!(on_tls, on_agents, on_http);
    app.finish(tasks, writing, stop_writing).await;
    Ok(())
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}
