//! The link's loop: one task that samples, spools, drives the session and obeys it.
//!
//! Timers are monotonic. Wall time stamps samples and judges certificates only, so a clock that jumps by years moves a
//! tick by no more than a second.

mod credentials;
mod obey;

use std::{sync::Arc, time::Duration};

use muster_shared::{
    backoff::Backoff,
    facts::Container,
    wire::{self, executor_reply, executor_request},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    dial::{DialError, Dialer},
    enroll::EnrollError,
    facts::FactsWatch,
    port::{ExecutorPort, FromExecutor},
    renew,
    session::{Event, HostWords, Session},
    source::TickSource,
    stream::{self, Connection, Ended, FromStream},
};
use crate::{
    clock::Clock,
    spool::{self, Declared, Spool, cut::Cutter},
    state::{Identity, LinkState, StateError},
};

const SECOND_US: i64 = 1_000_000;
/// How often facts are read again, and containers.
const FACTS_EVERY: Duration = Duration::from_secs(60);
const CONTAINERS_EVERY: Duration = Duration::from_secs(10);
/// How soon containers are read again when one has appeared.
const CONTAINERS_SOON: Duration = Duration::from_secs(1);
/// How often the certificate's age is looked at.
const LOOK_AT_CERTIFICATE_EVERY: Duration = Duration::from_secs(60);
/// How long the first stream waits for the executor, so that its Hello can say what the host's policy allows.
const EXECUTOR_WITHIN: Duration = Duration::from_millis(1500);
/// The longest wait is short enough for a healed network to be noticed within ten seconds.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// When the host is not wanted (revoked, quarantined): it asks again, but seldom.
const DENIED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
const RENEW_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// What the link needs.
pub struct Settings {
    pub clock: Arc<dyn Clock>,
    pub state: LinkState,
    pub source: Box<dyn TickSource>,
    pub executor: ExecutorPort,
    pub host: HostWords,
    pub spool: spool::Limits,
}

/// Why the link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to.
    Stopped,
    /// The server was deleted; the identity is gone.
    Retired(String),
}

/// Why the link can't run.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the spool can't be opened")]
    Spool(#[source] std::io::Error),
    #[error("this host has joined as another server; starting over as that one")]
    Replaced,
}

/// Runs until `shutdown` ends or the control plane retires this host.
///
/// # Errors
/// [`LinkError`] when the host has not joined or its state can't be used.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<Exit, LinkError> {
    let mut link = Link::open(settings)?;
    tokio::pin!(shutdown);
    let exit = loop {
        if let Some(exit) = link.exit.take() {
            break exit?;
        }
        tokio::select! {
            () = &mut shutdown => break Exit::Stopped,
            happened = link.next() => {
                link.happened(happened);
                link.tell_if_drained();
            }
        }
    };
    link.end(&exit)?;
    Ok(exit)
}

/// A new identity, and where to dial from now on.
type Renewal = Result<(Identity, Option<wire::Endpoints>), EnrollError>;

/// One thing the loop woke up for.
enum Happened {
    Tick,
    Executor(Option<FromExecutor>),
    Stream(FromStream),
    Renewed(Renewal),
    DialDue,
    SessionDue,
    SyncDue,
    FactsDue,
    ContainersDue,
    CertificateDue,
}

/// The transport, as far as it got.
enum Wire {
    Waiting { until: Instant },
    Connecting(Connection),
    Up { connection: Connection, outgoing: mpsc::Sender<wire::AgentMessage>, declared: Declared },
}

struct Link {
    settings: Settings,
    started: Instant,
    identity: Identity,
    renew_due_us: i64,
    dialer: Dialer,
    attempt: usize,
    reconnect: Backoff,
    denied: Backoff,
    renew_again: Backoff,
    renewal: Option<JoinHandle<Renewal>>,
    wire: Wire,
    session: Session,
    spool: Spool,
    cutter: Cutter,
    facts: FactsWatch,
    /// What the policy allows, once the executor said so; and what the last Hello said.
    families: Option<Vec<String>>,
    announced: Vec<String>,
    /// The public half of the key that signs this host's receipts, once the executor said so; empty before.
    receipt_key: Vec<u8>,
    /// The executor waits for everything held to be sent: the host is about to be powered off.
    draining: bool,
    tick_at: Instant,
    sync_at: Instant,
    facts_at: Instant,
    containers_at: Instant,
    certificate_at: Instant,
    exit: Option<Result<Exit, LinkError>>,
}

impl Link {
    fn open(settings: Settings) -> Result<Self, LinkError> {
        let identity = settings.state.identity()?;
        let endpoints = settings.state.endpoints()?;
        let dialer = Dialer::enrolled(&identity, &endpoints)?;
        let spool = Spool::open(&settings.state.spool_dir(), settings.spool, settings.clock.now_us())
            .map_err(LinkError::Spool)?;
        let session = Session::new(settings.host.clone(), settings.state.generation()?, spool.pending());
        let now = Instant::now();
        let mut link = Self {
            renew_due_us: renew::due_at_us(identity.not_before_us, identity.not_after_us, dice()),
            identity,
            dialer,
            attempt: 0,
            reconnect: Backoff::new(RECONNECT.0, RECONNECT.1),
            denied: Backoff::new(DENIED.0, DENIED.1),
            renew_again: Backoff::new(RENEW_AGAIN.0, RENEW_AGAIN.1),
            renewal: None,
            wire: Wire::Waiting { until: now + EXECUTOR_WITHIN },
            session,
            spool,
            cutter: Cutter::default(),
            facts: FactsWatch::default(),
            families: None,
            announced: Vec::new(),
            receipt_key: Vec::new(),
            draining: false,
            tick_at: now,
            sync_at: now + spool::SYNC_EVERY,
            facts_at: now + FACTS_EVERY,
            containers_at: now + CONTAINERS_EVERY,
            certificate_at: now,
            exit: None,
            started: now,
            settings,
        };
        link.cutter.hurry();
        Ok(link)
    }

    async fn next(&mut self) -> Happened {
        let session_at = self.session.wake_at().map(|at| self.started + at);
        let wants_updates = self.session.wants_updates();
        tokio::select! {
            biased;
            () = sleep_until(self.tick_at) => Happened::Tick,
            () = sleep_until(self.certificate_at) => Happened::CertificateDue,
            () = sleep_until(self.sync_at) => Happened::SyncDue,
            () = sleep_until(self.facts_at) => Happened::FactsDue,
            () = sleep_until(self.containers_at) => Happened::ContainersDue,
            () = at(session_at) => Happened::SessionDue,
            renewed = finished(&mut self.renewal) => Happened::Renewed(renewed),
            event = self.wire.next() => event,
            event = self.settings.executor.next(), if wants_updates => Happened::Executor(event),
        }
    }

    fn happened(&mut self, happened: Happened) {
        let now = Instant::now();
        match happened {
            Happened::Tick => self.tick(now),
            Happened::Executor(Some(event)) => self.executor_said(event, now),
            // The port's task ended with the runtime: nothing can be heard any more.
            Happened::Executor(None) => self.exit = Some(Ok(Exit::Stopped)),
            Happened::Stream(event) => self.stream_said(event),
            Happened::Renewed(outcome) => self.renewed(outcome, now),
            Happened::DialDue => self.dial(),
            Happened::SessionDue => self.tell(Event::Woke),
            Happened::SyncDue => {
                self.sync_at = now + spool::SYNC_EVERY;
                if let Some(file) = self.spool.take_unsynced() {
                    // A slow disk must not hold up the next tick.
                    tokio::task::spawn_blocking(move || file.sync_data());
                }
            }
            Happened::FactsDue => {
                self.facts_at = now + FACTS_EVERY;
                self.settings.executor.ask(executor_request::Kind::ReadFacts(wire::ReadFacts {}));
            }
            Happened::ContainersDue => {
                self.containers_at = now + CONTAINERS_EVERY;
                self.settings.executor.ask(executor_request::Kind::ReadContainers(wire::ReadContainers {}));
            }
            Happened::CertificateDue => {
                self.certificate_at = now + LOOK_AT_CERTIFICATE_EVERY;
                if self.settings.clock.now_us() >= self.renew_due_us {
                    self.renew();
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        let now_us = self.settings.clock.now_us();
        let tick = self.settings.source.tick(now_us);
        let into_second = now_us.rem_euclid(SECOND_US);
        self.tick_at = now + Duration::from_micros((SECOND_US - into_second).unsigned_abs());
        if self.settings.source.wants_inventory() {
            self.containers_at = self.containers_at.min(now + CONTAINERS_SOON);
        }
        if self.cutter.must_cut_before(&tick) {
            self.cut();
        }
        self.spool.learn(&tick.declared);
        self.cutter.push(tick);
        if self.cutter.is_due() {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let Some(cut) = self.spool.cut(&mut self.cutter) else { return };
        if !cut.dropped.is_empty() {
            tracing::warn!(
                frames = cut.dropped.len(),
                total = self.spool.counters().dropped_frames,
                "the spool is full; dropped the oldest frames"
            );
        }
        let kept = !cut.dropped.contains(&cut.key);
        self.tell(Event::Lost(cut.dropped));
        if kept {
            self.tell(Event::Cut(cut.key));
        }
    }

    fn executor_said(&mut self, event: FromExecutor, now: Instant) {
        match event {
            FromExecutor::Up(hello) => {
                self.facts_at = now;
                self.containers_at = now;
                self.receipt_key = hello.receipt_key;
                let families = hello.allowed_families;
                if matches!(self.wire, Wire::Up { .. }) && families != self.announced {
                    self.give_up("the host's policy has changed");
                }
                if self.families.replace(families).is_none()
                    && let Wire::Waiting { until } = &mut self.wire
                {
                    *until = now;
                }
            }
            FromExecutor::Reply(executor_reply::Kind::Update(update)) => self.tell(Event::Update(update)),
            FromExecutor::Reply(executor_reply::Kind::FactsJson(json)) => {
                let since_start = now.duration_since(self.started);
                if let Some(report) = self.facts.judge(json, self.settings.clock.now_us(), since_start) {
                    self.tell(Event::Facts(report));
                }
            }
            FromExecutor::Reply(executor_reply::Kind::ContainersJson(json)) => {
                match serde_json::from_str::<Vec<Container>>(&json) {
                    Ok(containers) => self.settings.source.set_inventory(&containers),
                    Err(error) => tracing::warn!(%error, "the executor's containers can't be read"),
                }
            }
            FromExecutor::Reply(executor_reply::Kind::Error(error)) => {
                tracing::debug!(code = error.code, detail = error.detail, "the executor said no");
            }
            FromExecutor::Reply(executor_reply::Kind::Drain(_)) => {
                self.draining = true;
                self.cut();
            }
            FromExecutor::Reply(executor_reply::Kind::Hello(_)) => {}
            FromExecutor::Down => tracing::warn!("the executor is gone; waiting for it"),
        }
    }

    fn tell_if_drained(&mut self) {
        if self.draining && self.session.is_open() && self.session.held_frames() == 0 {
            self.draining = false;
            self.settings.executor.ask(executor_request::Kind::Drained(wire::Drained {}));
        }
    }

    fn stream_said(&mut self, event: FromStream) {
        match event {
            FromStream::Opened(outgoing) => {
                let waiting = Wire::Waiting { until: Instant::now() };
                let Wire::Connecting(connection) = std::mem::replace(&mut self.wire, waiting) else { return };
                self.wire = Wire::Up { connection, outgoing, declared: Declared::default() };
                self.announced = self.families.clone().unwrap_or_default();
                let now_us = self.settings.clock.now_us();
                self.tell(Event::Opened { now_us, allowed_families: self.announced.clone() });
            }
            FromStream::Message(message) => self.tell(Event::Received(message)),
            FromStream::Ended(ended) => self.ended(&ended),
        }
    }

    fn dial(&mut self) {
        self.wire = Wire::Connecting(stream::open(self.dialer.clone(), self.attempt));
    }

    fn ended(&mut self, ended: &Ended) {
        let wait = if ended.is_denied() { self.denied.failed(dice()) } else { self.reconnect.failed(dice()) };
        tracing::warn!(
            error = %chain(ended),
            retry_in_ms = wait.as_millis() as u64,
            "no stream to the control plane"
        );
        self.attempt = self.attempt.wrapping_add(1);
        if ended.is_denied() || ended.asks_for_renewal() {
            let taken = self.take_identity_from_disk();
            if !taken && ended.asks_for_renewal() {
                self.renew();
            }
        }
        self.wire = Wire::Waiting { until: Instant::now() + wait };
        self.tell(Event::Closed);
    }

    fn give_up(&mut self, why: &'static str) {
        self.ended(&Ended::Given(why));
    }

    fn end(mut self, exit: &Exit) -> Result<(), StateError> {
        match exit {
            Exit::Stopped => {
                self.cut();
                if let Some(file) = self.spool.take_unsynced()
                    && let Err(error) = file.sync_data()
                {
                    tracing::warn!(%error, "the last frames may not be on disk");
                }
                Ok(())
            }
            Exit::Retired(reason) => {
                tracing::info!(reason, "the control plane retired this host; removing its identity");
                self.settings.state.remove_identity()
            }
        }
    }
}

impl Wire {
    async fn next(&mut self) -> Happened {
        let connection = match self {
            Self::Waiting { until } => {
                sleep_until(*until).await;
                return Happened::DialDue;
            }
            Self::Connecting(connection) | Self::Up { connection, .. } => connection,
        };
        Happened::Stream(connection.events.recv().await.unwrap_or(FromStream::Ended(Ended::Closed)))
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn finished<T>(task: &mut Option<JoinHandle<Result<T, EnrollError>>>) -> Result<T, EnrollError> {
    let Some(running) = task else { return std::future::pending().await };
    let outcome = running.await;
    *task = None;
    outcome.unwrap_or(Err(EnrollError::Incomplete("everything: the attempt was cut short")))
}

/// An error with what caused it, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Transparent errors say what their source says.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Uniform in 0..=1.
fn dice() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the jitter is lost, nothing else.
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
