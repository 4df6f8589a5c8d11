//! The privileged role: obeys signed, fresh, unseen commands that the host's policy allows, and answers what only root
//! can read. It has no network socket; whoever is connected can only hand over what the control plane signed.
//!
//! One task owns the machine and the journal. Connections talk to it over bounded queues: a connection whose queue is
//! full is passed over, and gets every unacknowledged update again when it has room ([`Connection`]).

pub mod host;
pub mod journal;
pub mod machine;
pub mod power;
pub mod receipts;
pub mod socket;
pub mod trust;
mod updates;
pub mod work;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use muster_shared::{
    command::CommandBody,
    id::CommandId,
    policy::{Family, Policy},
    receipt::{ReceiptKey, ReceiptSigner},
    sign,
    wire::{self, CommandOutcome, command_update::Kind, executor_reply, executor_request},
};
use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::{
    journal::Journal,
    machine::{Action, Event, Machine, finished, update},
    trust::Trust,
    work::{Answers, Work},
};
use crate::clock::Clock;

/// Requests and progress waiting for the executor's task; senders wait when it is full.
const INBOX: usize = 256;
/// Replies waiting for a connection; with more it is passed over until it has room.
const REPLIES: usize = 256;
/// How often what waits is looked at again: a full disk may have room, a command may have expired.
const WAKE_EVERY: Duration = Duration::from_secs(5);
/// How long the link may take to send what it holds before the host is powered off; the rest stays on its disk.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// What the executor needs.
pub struct Settings {
    pub clock: Arc<dyn Clock>,
    pub work: Arc<dyn Work>,
    /// The journal's file.
    pub journal: PathBuf,
    /// [`Trust`]'s file.
    pub trust: PathBuf,
    /// The host's policy.
    pub policy: PathBuf,
    /// The key that signs receipts; without it commands end without.
    pub receipts: Option<ReceiptSigner>,
}

/// A running executor; when the last handle and connection are gone it ends.
#[derive(Clone)]
pub struct Executor {
    inbox: mpsc::Sender<Message>,
}

/// One client's two directions.
pub struct Connection {
    pub requests: mpsc::Sender<wire::ExecutorRequest>,
    pub replies: mpsc::Receiver<wire::ExecutorReply>,
}

enum Message {
    Connect(oneshot::Sender<Connection>),
    Request(u64, wire::ExecutorRequest),
    Gone(u64),
    Happened(Event),
}

impl Executor {
    /// Opens the journal, judges what was unfinished, and runs until every handle is gone.
    ///
    /// # Errors
    /// When the journal can't be opened.
    pub fn start(mut settings: Settings) -> io::Result<Self> {
        let (journal, mut machine) = Journal::open(&settings.journal)?;
        let receipts = settings.receipts.take();
        let receipt_key = receipts.as_ref().map(ReceiptSigner::public_key);
        if let Some(signer) = receipts {
            machine.set_receipts(signer);
        }
        let (inbox, messages) = mpsc::channel(INBOX);
        let task = Task {
            answers: Arc::new(Answers::new(Arc::clone(&settings.work))),
            settings,
            journal,
            machine,
            connections: BTreeMap::new(),
            next_connection: 0,
            drained: None,
            policy: Policy::default(),
            receipt_key,
            inbox: inbox.downgrade(),
        };
        tokio::spawn(task.run(messages));
        Ok(Self { inbox })
    }

    /// A new connection; `None` when the executor has ended.
    pub async fn connect(&self) -> Option<Connection> {
        let (answer, connection) = oneshot::channel();
        self.inbox.send(Message::Connect(answer)).await.ok()?;
        connection.await.ok()
    }
}

struct Peer {
    replies: mpsc::Sender<wire::ExecutorReply>,
    subscribed: bool,
    /// Its queue was full: it needs everything again.
    behind: bool,
    /// What its last hello said.
    told: BTreeSet<Family>,
}

struct Task {
    settings: Settings,
    answers: Arc<Answers>,
    journal: Journal,
    machine: Machine,
    connections: BTreeMap<u64, Peer>,
    next_connection: u64,
    /// Waits for the link to have sent what it holds.
    drained: Option<oneshot::Sender<()>>,
    /// As last read.
    policy: Policy,
    receipt_key: Option<ReceiptKey>,
    inbox: mpsc::WeakSender<Message>,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        self.machine.set_boot_id(self.settings.work.boot_id());
        self.read_policy();
        let actions = self.machine.recover(self.settings.clock.now_us());
        self.obey(actions);
        let mut wake = interval(WAKE_EVERY);
        wake.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Connect(answer)) => self.connect(answer),
                    Some(Message::Request(from, request)) => self.requested(from, request),
                    Some(Message::Gone(connection)) => _ = self.connections.remove(&connection),
                    Some(Message::Happened(event)) => self.happened(event),
                    None => return,
                },
                _ = wake.tick() => self.happened(Event::Woke),
            }
            self.catch_up();
        }
    }

    fn connect(&mut self, answer: oneshot::Sender<Connection>) {
        let (replies, answers) = mpsc::channel(REPLIES);
        let (requests, mut asked) = mpsc::channel(INBOX);
        self.read_policy();
        // A fresh queue has room.
        let _ = replies.try_send(hello(&self.policy, self.receipt_key));
        let id = self.next_connection;
        self.next_connection += 1;
        self.connections
            .insert(id, Peer { replies, subscribed: false, behind: false, told: self.policy.allow.clone() });
        let Some(inbox) = self.inbox.upgrade() else { return };
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                if inbox.send(Message::Request(id, request)).await.is_err() {
                    return;
                }
            }
            let _ = inbox.send(Message::Gone(id)).await;
        });
        let _ = answer.send(Connection { requests, replies: answers });
    }

    fn requested(&mut self, from: u64, request: wire::ExecutorRequest) {
        use executor_request::Kind;
        match request.kind {
            Some(Kind::Submit(signed)) => self.submitted(from, signed),
            Some(Kind::Cancel(cancel)) => {
                if let Ok(id) = cancel.command_id.parse() {
                    self.happened(Event::Cancelled(id));
                }
            }
            Some(Kind::Ack(ack)) => {
                if let Ok(id) = ack.command_id.parse() {
                    self.happened(Event::Acknowledged { id, seq: ack.seq });
                }
            }
            Some(Kind::Subscribe(_)) => {
                if let Some(peer) = self.connections.get_mut(&from) {
                    (peer.subscribed, peer.behind) = (true, true);
                }
            }
            Some(Kind::ReadFacts(_)) => self.read(from, |answers| async move { answers.facts().await }),
            Some(Kind::ReadContainers(_)) => self.read(from, |answers| async move { answers.containers().await }),
            Some(Kind::Drained(_)) => {
                if let Some(waiting) = self.drained.take() {
                    let _ = waiting.send(());
                }
            }
            None => self.answer(from, error("unknown_request", "this executor does not know the request")),
        }
    }

    fn submitted(&mut self, from: u64, signed: wire::SignedCommand) {
        let now_us = self.settings.clock.now_us();
        let trust = match Trust::load(&self.settings.trust) {
            Ok(trust) => trust,
            Err(cause) => {
                tracing::warn!(%cause, "a command came, but this host knows no command key");
                self.answer(from, error("not_enrolled", &cause.to_string()));
                return;
            }
        };
        match sign::verify(&signed, &trust.wire_keys(), trust.server_id, now_us) {
            Ok(envelope) => {
                if self.machine.knows(envelope.command_id) {
                    self.answer(from, error("replayed", "this command was submitted before"));
                }
                self.happened(Event::Submitted { signed, envelope });
                self.happened(Event::Woke);
            }
            Err(refusal) => {
                tracing::warn!(code = refusal.code(), "refused a command");
                self.answer(from, error(refusal.code(), &refusal.to_string()));
                // Nothing is remembered of it: the id in a forged envelope may be a true command's.
                let claimed = claimed_id(&signed).filter(|id| !self.machine.knows(*id));
                if let Some(id) = claimed {
                    let refused = finished(CommandOutcome::Refused, refusal.code(), &refusal.to_string());
                    self.report(&update(id, 1, now_us, Kind::Finished(refused)));
                }
            }
        }
    }

    fn happened(&mut self, event: Event) {
        self.read_policy();
        let actions = self.machine.handle(event, self.settings.clock.now_us());
        self.obey(actions);
        if let Err(cause) = self.journal.compact_if_grown(&self.machine) {
            tracing::warn!(%cause, "the journal can't be rewritten");
        }
    }

    fn obey(&mut self, actions: Vec<Action>) {
        let mut not_kept = HashSet::new();
        for action in actions {
            match action {
                Action::Keep { id, notes, durable } => {
                    if not_kept.contains(&id) {
                        continue;
                    }
                    if let Err(cause) = self.journal.append(&notes, durable) {
                        tracing::error!(%cause, command_id = %id, "the journal can't be written");
                        not_kept.insert(id);
                    }
                }
                Action::Report(update) => {
                    let kept = update.command_id.parse().is_ok_and(|id: CommandId| !not_kept.contains(&id));
                    if kept {
                        self.report(&update);
                    }
                }
                Action::Run { id, body } => {
                    if !not_kept.contains(&id) {
                        self.begin(id, body);
                    }
                }
                Action::Settle { id, body, begun } => self.settle(id, body, begun),
            }
        }
        for id in not_kept {
            let actions = self.machine.handle(Event::NotKept(id), self.settings.clock.now_us());
            for action in actions {
                if let Action::Report(update) = action {
                    self.report(&update);
                }
            }
        }
    }

    fn begin(&mut self, id: CommandId, body: CommandBody) {
        let Some(inbox) = self.inbox.upgrade() else { return };
        let stops = body == CommandBody::Stop;
        let drained = stops.then(|| self.drain());
        let work = Arc::clone(&self.settings.work);
        tokio::spawn(async move {
            let (progress, mut reported) = mpsc::channel(work::PROGRESS);
            let forward = async {
                while let Some(progress) = reported.recv().await {
                    let _ = inbox.send(Message::Happened(Event::Progressed(id, progress))).await;
                }
            };
            let run = async {
                if let Some(drained) = drained {
                    power::tell(&progress, "sending what this host holds");
                    // Whoever was to answer may be gone; what it holds is on its disk.
                    let _ = timeout(DRAIN_WITHIN, drained).await;
                    power::tell(&progress, "powering off");
                }
                work::run_within_limit(work.as_ref(), (id, body), progress).await
            };
            let (finished, ()) = tokio::join!(run, forward);
            let _ = inbox.send(Message::Happened(Event::Ended(id, finished))).await;
            if stops {
                sleep(power::BOOT_ENDS_WITHIN).await;
                let _ = inbox.send(Message::Happened(Event::StillUp(id))).await;
            }
        });
    }

    /// Has the link send what it holds; the answer comes when that is done, or fails at once where there is no link.
    fn drain(&mut self) -> oneshot::Receiver<()> {
        let (waiting, drained) = oneshot::channel();
        let asked = self.connections.values().filter(|peer| peer.subscribed);
        let asked =
            asked.filter(|peer| peer.replies.try_send(reply(executor_reply::Kind::Drain(wire::Drain {}))).is_ok());
        self.drained = (asked.count() > 0).then_some(waiting);
        drained
    }

    fn settle(&self, id: CommandId, body: CommandBody, begun: machine::Begun) {
        let Some(inbox) = self.inbox.upgrade() else { return };
        let (work, now_us) = (Arc::clone(&self.settings.work), self.settings.clock.now_us());
        tokio::spawn(async move {
            let finished = work.settle(id, body, begun, now_us).await;
            let _ = inbox.send(Message::Happened(Event::Settled(id, finished))).await;
        });
    }

    fn read<F>(&self, from: u64, ask: impl FnOnce(Arc<Answers>) -> F)
    where
        F: Future<Output = wire::ExecutorReply> + Send + 'static,
    {
        let Some(peer) = self.connections.get(&from) else { return };
        let (replies, answer) = (peer.replies.clone(), ask(Arc::clone(&self.answers)));
        tokio::spawn(async move { replies.send(answer.await).await });
    }

    fn report(&mut self, update: &wire::CommandUpdate) {
        for peer in self.connections.values_mut().filter(|peer| peer.subscribed && !peer.behind) {
            let sent = peer.replies.try_send(reply(executor_reply::Kind::Update(update.clone())));
            peer.behind = sent.is_err();
        }
    }

    /// Tells of a changed policy, and gives those that are behind everything again, as far as it fits.
    fn catch_up(&mut self) {
        for peer in self.connections.values_mut().filter(|peer| peer.told != self.policy.allow) {
            if peer.replies.try_send(hello(&self.policy, self.receipt_key)).is_ok() {
                peer.told.clone_from(&self.policy.allow);
            }
        }
        let room = |peer: &Peer| peer.replies.capacity() > REPLIES / 2;
        for peer in self.connections.values_mut().filter(|peer| peer.behind && room(peer)) {
            let all = self.machine.unacknowledged();
            let sent = all
                .into_iter()
                .all(|update| peer.replies.try_send(reply(executor_reply::Kind::Update(update))).is_ok());
            peer.behind = !sent;
        }
    }

    fn answer(&self, to: u64, answer: wire::ExecutorReply) {
        if let Some(peer) = self.connections.get(&to) {
            // A client that does not read its answers goes without.
            let _ = peer.replies.try_send(answer);
        }
    }

    fn read_policy(&mut self) {
        self.policy = trust::load_policy(&self.settings.policy).unwrap_or_else(|cause| {
            tracing::error!(%cause, "the host's policy can't be relied on, so nothing is allowed");
            Policy { allow: BTreeSet::new() }
        });
        self.machine.set_policy(self.policy.clone());
    }
}

fn hello(policy: &Policy, receipt_key: Option<ReceiptKey>) -> wire::ExecutorReply {
    let allowed_families = policy.allow.iter().map(ToString::to_string).collect();
    let agent_version = env!("CARGO_PKG_VERSION").to_owned();
    let receipt_key = receipt_key.map(Vec::from).unwrap_or_default();
    reply(executor_reply::Kind::Hello(wire::ExecutorHello { agent_version, allowed_families, receipt_key }))
}

fn claimed_id(signed: &wire::SignedCommand) -> Option<CommandId> {
    if signed.envelope.len() > sign::MAX_ENVELOPE_BYTES {
        return None;
    }
    wire::CommandEnvelope::decode(signed.envelope.as_slice()).ok()?.command_id.parse().ok()
}

pub(crate) fn reply(kind: executor_reply::Kind) -> wire::ExecutorReply {
    wire::ExecutorReply { kind: Some(kind) }
}

pub(crate) fn error(code: &str, detail: &str) -> wire::ExecutorReply {
    reply(executor_reply::Kind::Error(wire::ExecutorError { code: code.to_owned(), detail: detail.to_owned() }))
}

#[cfg(test)]
mod tests;
