//! Push over SSH: enters a server, carries the agent there, lets it install itself and join, and waits until its first
//! sample is here.
//!
//! One connection, one exec. A run tells its steps as progress events and goes on when its listener leaves. There is
//! one run a server at a time in this process; two processes at once are safe too, since whichever join comes second
//! finds the host enrolled. A host that is joined and online is left as it is.

mod story;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use muster_shared::id::ServerId;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::story::{Happening, Step, Story};
use crate::{
    access::Act,
    agent_binary::AgentBinaries,
    audit::{Action, Record},
    clock::Clock,
    config::Config,
    enrollment::{Enrollment, NewJoinToken},
    error::{Error, ErrorKind},
    events::{EventKind, Events, Subscription},
    identity::CertificateAuthority,
    progress::{self, ProgressSender, ProgressStream},
    running::Running,
    servers::{AgentStatus, Servers, SshTarget},
    sessions::Sessions,
    ssh::{AgentRun, Entering, Entrance, EntranceError, RunEvent, Session},
};

/// Time for the agent to install itself and join.
const JOIN_TIME_LIMIT: Duration = Duration::from_secs(120);
/// Time from the agent's join to its first sample. Ten times what a slow host needs.
const ARRIVAL_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Life of the join token made for a run, in seconds: the run's own limit.
const TOKEN_TTL_SECONDS: u32 = 180;
/// Events of a run that wait while the listener is told; the run waits when they are full.
const PENDING_RUN_EVENTS: usize = 64;

/// Where hosts find the control plane and whom they may believe.
#[derive(Debug, Clone)]
pub struct Whereabouts {
    /// The configured address, such as `https://fleet.example.com:8443`.
    pub public_url: Option<String>,
    /// Where agents are served, for when none is configured: hosts then dial the address this machine has towards them.
    pub listen: SocketAddr,
    /// The CA's pin, in hex.
    pub ca_sha256: String,
}

impl Whereabouts {
    /// What `config` says of the control plane that `authority` signs for.
    #[must_use]
    pub fn of(config: &Config, authority: &CertificateAuthority) -> Self {
        Self {
            public_url: config.agent_url(),
            listen: config.agent_listen.unwrap_or(config.listen),
            ca_sha256: authority.pin().to_string(),
        }
    }

    fn url(&self, session: &Session) -> String {
        let local = SocketAddr::new(session.local_ip(), self.listen.port());
        self.public_url.clone().unwrap_or_else(|| format!("https://{local}"))
    }
}

/// Installs agents over SSH. Clones share what runs.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub entrance: Entrance,
    pub binaries: AgentBinaries,
    pub servers: Servers,
    pub enrollment: Enrollment,
    pub sessions: Sessions,
    pub events: Events,
    pub clock: Clock,
    pub whereabouts: Whereabouts,
    pub running: Running,
}

/// One run.
#[derive(Debug, Clone)]
struct Run {
    act: Act,
    server: ServerId,
    started: Instant,
}

impl Bootstrap {
    /// Starts a run and returns its events: `status` for each step, then `complete` or `error`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] without SSH credentials or while the server's identity is
    /// quarantined; [`ErrorKind::Conflict`] while another run is on.
    pub async fn start(&self, act: &Act, server: ServerId) -> Result<ProgressStream, Error> {
        let org = act.org_id;
        let run = Run { act: act.clone(), server, started: Instant::now() };
        let (sender, stream) = progress::channel();
        let record = self.servers.get(org, server).await?;
        if record.agent.status == AgentStatus::Quarantined {
            let detail = "the server is quarantined: release the quarantine first";
            return Err(Error::new(ErrorKind::Precondition, "quarantined", detail));
        }
        if self.sessions.is_online(server) {
            sender.send("complete", already_online(&run));
            return Ok(stream);
        }
        let target = self.servers.ssh_target(org, server).await?;
        let claim = self.running.claim(server).ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                "bootstrap_running",
                "the server is being bootstrapped or secured already: wait for it",
            )
        })?;
        let started = Record::new(act, Action::ServerBootstrapStarted, server, &record.name);
        self.servers.record(&started).await?;
        let bootstrap = self.clone();
        tokio::spawn(async move {
            bootstrap.conduct(run, target, &sender).await;
            drop(claim);
        });
        Ok(stream)
    }

    async fn conduct(&self, run: Run, target: SshTarget, sender: &ProgressSender) {
        let mut teller = Teller { run: run.clone(), sender, story: Story::default() };
        let ended = self.install(&mut teller, &target).await;
        let elapsed_ms = run.elapsed_ms();
        match ended {
            Ok(()) => {
                tracing::info!(server = %run.server, elapsed_ms, "server bootstrapped");
                metrics::counter!("muster_bootstraps_total", "outcome" => "complete").increment(1);
                sender.send("complete", complete(&run, "The server is online and its first sample is here", true));
            }
            Err(error) => {
                tracing::warn!(server = %run.server, elapsed_ms, step = teller.story.step(), %error, "bootstrap failed");
                metrics::counter!("muster_bootstraps_total", "outcome" => "error").increment(1);
                sender.send("error", failure(&run, teller.story.step(), &error));
            }
        }
    }

    async fn install(&self, teller: &mut Teller<'_>, target: &SshTarget) -> Result<(), EntranceError> {
        let (act, server) = (teller.run.act.clone(), teller.run.server);
        // Whoever joins while this is held sends every second, so the first sample needs no wait for a batch.
        let _live = self.sessions.watch_live(server);
        let watching = self.events.subscribe();
        teller.tell(Happening::Connecting { host: target.host.clone(), port: target.port });
        let session = self.entrance.enter(act.org_id, server, target, |step| teller.tell(step.into())).await?;
        let new =
            NewJoinToken { ttl_seconds: Some(TOKEN_TTL_SECONDS), for_server: Some(server), ..NewJoinToken::default() };
        let (token, secret) = self.enrollment.create_token(&act.at(self.clock.now_us()), new).await?;
        let secret = SecretString::from(secret.reveal());
        let url = self.whereabouts.url(&session);
        let arguments =
            ["join", "--url", &url, "--ca-sha256", &self.whereabouts.ca_sha256, "--token-file", "-"].map(str::to_owned);
        let joined = AgentRun {
            arguments: &arguments,
            sudo_mode: target.sudo_mode,
            sudo_password: target.auth.sudo_password(),
            secret: Some(&secret),
            time_limit: JOIN_TIME_LIMIT,
        };
        let arrived = self.join_and_arrive(teller, &session, joined, watching).await;
        // What was used stays used; a host that had joined before leaves the token over.
        let _ = self.enrollment.revoke_token(&act.at(self.clock.now_us()), token.id).await;
        session.close().await;
        arrived
    }

    /// The host's end and this end of the join, side by side: the stream is often here before the exec has ended.
    async fn join_and_arrive(
        &self,
        teller: &mut Teller<'_>,
        session: &Session,
        join: AgentRun<'_>,
        mut watching: Subscription,
    ) -> Result<(), EntranceError> {
        let (events, mut told) = mpsc::channel(PENDING_RUN_EVENTS);
        let joining = session.run_agent(join, &self.binaries, &events);
        tokio::pin!(joining);
        let mut arrival_limit = None;
        while !teller.story.is_over() {
            let limit = async {
                match arrival_limit {
                    Some(limit) => tokio::time::sleep_until(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(event) = told.recv() => teller.hear_host(event)?,
                ended = &mut joining, if arrival_limit.is_none() => {
                    // First what the host said on the way there: a failure names the step that it got to.
                    while let Ok(event) = told.try_recv() {
                        teller.hear_host(event)?;
                    }
                    ended?;
                    arrival_limit = Some(tokio::time::Instant::now() + ARRIVAL_TIME_LIMIT);
                    teller.tell(Happening::Joined);
                }
                event = watching.next() => self.hear(teller, event)?,
                () = limit => return Err(not_arrived(teller.story.step()).into()),
            }
        }
        Ok(())
    }

    fn hear(
        &self,
        teller: &mut Teller<'_>,
        event: Option<Result<crate::events::Event, crate::events::Missed>>,
    ) -> Result<(), EntranceError> {
        let server = teller.run.server;
        match event {
            Some(Ok(event)) if event.server_id == Some(server) => match event.kind {
                EventKind::AgentOnline => teller.tell(Happening::Online),
                EventKind::Sample(_) => teller.tell(Happening::Sampled),
                _ => {}
            },
            Some(Ok(_)) => {}
            // Samples come every second, so only the stream's own opening can have been missed for good.
            Some(Err(_)) if self.sessions.is_online(server) => teller.tell(Happening::Online),
            Some(Err(_)) => {}
            None => return Err(Error::new(ErrorKind::Unavailable, "stopping", "the control plane is stopping").into()),
        }
        Ok(())
    }
}

/// Tells a run's listener what its story makes of what happens.
struct Teller<'a> {
    run: Run,
    sender: &'a ProgressSender,
    story: Story,
}

impl Teller<'_> {
    /// A host that is somebody else already stays so, and would be waited for in vain.
    fn hear_host(&mut self, event: RunEvent) -> Result<(), Error> {
        let other = story::joined_as(&event).filter(|joined| *joined != self.run.server);
        self.tell(Happening::Run(event));
        match other {
            None => Ok(()),
            Some(other) => {
                let detail =
                    format!("this host has joined already, as server {other}: use that server, or delete it first");
                Err(Error::new(ErrorKind::Conflict, "joined_as_another", detail))
            }
        }
    }

    fn tell(&mut self, happening: Happening) {
        for Step { step, message, more } in self.story.then(happening) {
            let mut data = json!({ "step": step, "message": message, "elapsed_ms": self.run.elapsed_ms() });
            if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
                data.extend(more);
            }
            self.sender.send("status", data);
        }
    }
}

impl Run {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl From<Entering> for Happening {
    fn from(step: Entering) -> Self {
        match step {
            Entering::HostKey { fingerprint, first_contact } => Self::HostKey { fingerprint, first_contact },
            Entering::Authenticated => Self::Authenticated,
        }
    }
}

fn already_online(run: &Run) -> Value {
    complete(run, "The agent is installed and online already: nothing was changed", false)
}

fn complete(run: &Run, message: &str, changed: bool) -> Value {
    json!({
        "status": "online",
        "message": message,
        "vm_id": run.server,
        "changed": changed,
        "elapsed_ms": run.elapsed_ms(),
    })
}

fn failure(run: &Run, step: &str, error: &EntranceError) -> Value {
    let (code, detail, remedy) = match error {
        EntranceError::Host(error) => (error.code(), error.to_string(), error.remedy()),
        EntranceError::Record(error) => (error.code, error.detail.clone(), String::new()),
    };
    json!({
        "step": step,
        "code": code,
        "detail": detail,
        "remedy": remedy,
        "vm_id": run.server,
        "elapsed_ms": run.elapsed_ms(),
    })
}

fn not_arrived(step: &str) -> Error {
    let detail = match step {
        "online" => "the agent is online, but no sample came: see `journalctl -u muster-agent-link` on the server",
        _ => {
            "the agent was installed, but did not connect: check that the server can reach the control plane's address, \
             and see `journalctl -u muster-agent-link` on it"
        }
    };
    Error::new(ErrorKind::Unavailable, "agent_not_arrived", detail)
}
