//! One host's stream, from its Welcome to its end.
//!
//! Bounds and what happens at them: [`MAX_FRAMES_IN_FLIGHT`] frames between reading and their commit, then nothing more
//! is read; [`OUTBOUND_MESSAGES`] messages waiting to be sent, where acknowledgements wait to be merged, pings are
//! skipped, and commands wait [`SLOW_READER`] before the stream is ended as too slow (they stay stored). Nothing but the
//! Welcome is sent before the host has confirmed its generation.

use std::{future, time::Duration};

use muster_shared::{
    id::{OrgId, ServerId},
    wire::{self, agent_message::Kind, control_message},
};
use prost::Message as _;
use ring::digest;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Status, Streaming};

use super::{
    acks::Acks,
    budget::Budget,
    pulse::{Beat, Pulse},
    service::LinkContext,
    status::refusal,
};
use crate::{
    commands::{self, Recorded},
    error::{Error, ErrorKind},
    events::EventKind,
    ingest::{Incoming, Outcome, Verdict},
    sessions::{Cut, SessionGuard},
};

/// Frames a host may have between sending and acknowledgement.
pub(super) const MAX_FRAMES_IN_FLIGHT: u32 = 32;
/// Messages waiting to be sent to one host.
pub(super) const OUTBOUND_MESSAGES: usize = 32;
/// How long a message that must not be dropped waits for room before the stream is ended (`slow_reader`).
const SLOW_READER: Duration = Duration::from_secs(20);
/// From the Welcome to the host's Confirm (`confirm_timeout`).
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);
/// Between attempts to store what must not be lost, while the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// Whose stream it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    pub(super) org: OrgId,
    pub(super) server: ServerId,
    pub(super) generation: u64,
    /// When its certificate expires: the stream does, too.
    pub(super) not_after_us: i64,
    /// What the Welcome said about being watched.
    pub(super) told_live: bool,
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// The host closed it or the connection is gone.
    Gone,
    /// The control plane stops: the host shall come back.
    Stopping,
    Cut(Cut),
    /// We ended it, for this reason.
    Refused(Status, &'static str),
}

/// What the stream does next.
enum Next {
    Message(Option<wire::AgentMessage>),
    Orders,
    Outcome(Outcome),
    RoomForAck,
    Place(Option<mpsc::OwnedPermit<Incoming>>),
    ReadAgain,
    Timer,
    End(End),
}

pub(super) struct HostStream {
    context: LinkContext,
    host: Host,
    inbound: Streaming<wire::AgentMessage>,
    outbound: mpsc::Sender<Result<wire::ControlMessage, Status>>,
    guard: SessionGuard,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    acks: Acks,
    budget: Budget,
    /// From the host's Confirm on.
    pulse: Option<Pulse>,
    confirm_by: Instant,
    in_flight: u32,
    /// A frame that found the queue full.
    held: Option<Box<Incoming>>,
    /// The host spoke too fast; nothing is read until then.
    quiet_until: Option<Instant>,
    reading_since: Option<Instant>,
    told_live: bool,
    lease_owner: String,
}

impl HostStream {
    pub(super) fn new(
        context: LinkContext,
        host: Host,
        inbound: Streaming<wire::AgentMessage>,
        outbound: mpsc::Sender<Result<wire::ControlMessage, Status>>,
        guard: SessionGuard,
    ) -> Self {
        let now = Instant::now();
        Self {
            budget: Budget::full(context.clock.now_us()),
            context,
            host,
            inbound,
            outbound,
            guard,
            outcomes: mpsc::channel(MAX_FRAMES_IN_FLIGHT as usize),
            acks: Acks::default(),
            pulse: None,
            confirm_by: now + CONFIRM_TIMEOUT,
            in_flight: 0,
            held: None,
            quiet_until: None,
            reading_since: None,
            told_live: host.told_live,
            lease_owner: format!("{}/{}", host.server, host.generation),
        }
    }

    /// Serves the stream to its end, and leaves everything as the next one needs it.
    pub(super) async fn run(mut self) {
        metrics::gauge!("muster_link_streams").increment(1.0);
        tracing::info!(server = %self.host.server, generation = self.host.generation, "agent connected");
        let end = loop {
            let next = self.next().await;
            let mut cut = self.guard.orders.clone();
            let handled = tokio::select! {
                handled = self.handle(next) => handled,
                // Whatever the store is slow at, a withdrawn identity is out at once.
                Ok(why) = async { cut.wait_for(|orders| orders.cut.is_some()).await.map(|orders| orders.cut) } => {
                    Err(why.map_or(End::Gone, End::Cut))
                }
            };
            if let Err(end) = handled {
                break end;
            }
        };
        metrics::gauge!("muster_link_streams").decrement(1.0);
        self.finish(end).await;
    }

    fn is_reading(&self) -> bool {
        self.held.is_none() && self.quiet_until.is_none() && self.in_flight < MAX_FRAMES_IN_FLIGHT
    }

    async fn next(&mut self) -> Next {
        let reading = self.is_reading();
        self.reading_since = if reading { self.reading_since.or_else(|| Some(Instant::now())) } else { None };
        let timer = self.deadline();
        tokio::select! {
            biased;
            () = self.context.shutdown.cancelled() => Next::End(End::Stopping),
            changed = self.guard.orders.changed() => if changed.is_ok() { Next::Orders } else { Next::End(End::Cut(Cut::Superseded)) },
            () = self.outbound.closed() => Next::End(End::Gone),
            Some(outcome) = self.outcomes.1.recv() => Next::Outcome(outcome),
            room = self.outbound.reserve(), if !self.acks.is_empty() => {
                if room.is_ok() { Next::RoomForAck } else { Next::End(End::Gone) }
            }
            place = self.context.ingest.place(), if self.held.is_some() => Next::Place(place),
            () = wait_until(self.quiet_until) => Next::ReadAgain,
            message = self.inbound.message(), if reading => match message {
                Ok(message) => Next::Message(message),
                Err(status) => Next::End(unreadable(status)),
            },
            () = sleep_until(timer) => Next::Timer,
        }
    }

    /// When something is due whether or not anything arrives.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let left_us = self.host.not_after_us.saturating_sub(self.context.clock.now_us());
        let expiry = now + Duration::from_micros(u64::try_from(left_us).unwrap_or(0)).min(Duration::from_secs(3600));
        match &self.pulse {
            None => expiry.min(self.confirm_by),
            Some(pulse) => expiry.min(pulse.next_look(now, self.reading_since)),
        }
    }

    async fn handle(&mut self, next: Next) -> Result<(), End> {
        match next {
            Next::End(end) => Err(end),
            Next::Message(None) => Err(End::Gone),
            Next::Message(Some(message)) => self.message(message).await,
            Next::Orders => self.obey().await,
            Next::Outcome(outcome) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                if outcome.verdict == Verdict::Rejected {
                    tracing::warn!(server = %self.host.server, seq = outcome.seq, "frame rejected by the store");
                }
                self.acks.add(outcome.epoch, outcome.seq);
                Ok(())
            }
            Next::RoomForAck => {
                if let Some(ack) = self.acks.take() {
                    // Room was seen a moment ago, and this task alone fills it.
                    let _ = self.outbound.try_send(message(control_message::Kind::FrameAck(ack)));
                }
                Ok(())
            }
            Next::Place(Some(place)) => {
                if let Some(incoming) = self.held.take() {
                    place.send(*incoming);
                }
                Ok(())
            }
            Next::Place(None) => Err(End::Stopping),
            Next::ReadAgain => {
                self.quiet_until = None;
                Ok(())
            }
            Next::Timer => self.look_at_the_clock(),
        }
    }

    async fn message(&mut self, message: wire::AgentMessage) -> Result<(), End> {
        let now_us = self.context.clock.now_us();
        self.guard.seen(now_us);
        if let Some(wait) = self.budget.take(message.encoded_len(), now_us) {
            metrics::counter!("muster_link_throttled_total").increment(1);
            self.quiet_until = Some(Instant::now() + wait);
        }
        let is_confirmed = self.pulse.is_some();
        match message.kind {
            Some(Kind::Confirm(confirm)) if confirm.generation == self.host.generation => self.confirmed().await,
            Some(Kind::Hello(_) | Kind::Confirm(_)) => {
                Err(self.refuse("unexpected_message", "the stream is open already"))
            }
            _ if !is_confirmed => Err(self.refuse("confirm_expected", "the welcome has to be confirmed first")),
            Some(Kind::Frame(frame)) => self.frame(frame),
            Some(Kind::Facts(report)) => self.facts(report).await,
            Some(Kind::CommandUpdate(update)) => self.command_update(update).await,
            Some(Kind::Pong(pong)) => {
                if let Some(pulse) = &mut self.pulse
                    && let Some(round_trip) = pulse.answered(pong.nonce, Instant::now())
                {
                    metrics::histogram!("muster_link_round_trip_seconds").record(round_trip);
                }
                Ok(())
            }
            // A newer agent's message: the wire only grows.
            None => {
                metrics::counter!("muster_link_unknown_messages_total").increment(1);
                Ok(())
            }
        }
    }

    async fn confirmed(&mut self) -> Result<(), End> {
        if self.pulse.is_some() {
            return Ok(());
        }
        let Host { org, server, generation, .. } = self.host;
        let store = &self.context.store;
        self.insist(|| async move { Ok(store.confirm_generation(org, server, generation).await?) }).await;
        self.pulse = Some(Pulse::start(Instant::now()));
        self.obey().await?;
        self.look_at_the_clock()?;
        self.dispatch().await
    }

    fn frame(&mut self, frame: wire::Frame) -> Result<(), End> {
        let (epoch, seq) = (frame.epoch, frame.seq);
        let head = self.context.heads.cell(self.host.org, self.host.server);
        let accepted = {
            let mut head = head.lock();
            if head.is_overfull() {
                *head = crate::metrics::head::Head::default();
                return Err(self.refuse("too_many_series", "too many series were declared: declare those alive anew"));
            }
            head.accept(frame)
        };
        match accepted {
            Ok(frame) => {
                metrics::counter!("muster_ingest_series_refused_total").increment(frame.refused_series as u64);
                self.in_flight += 1;
                let outcomes = self.outcomes.0.clone();
                self.held =
                    Some(Box::new(Incoming { org: self.host.org, server: self.host.server, frame, head, outcomes }));
            }
            Err(poison) => {
                metrics::counter!("muster_ingest_poison_total", "reason" => poison.word()).increment(1);
                tracing::warn!(server = %self.host.server, epoch, seq, reason = poison.word(), "frame quarantined: it can't be read");
                self.acks.add(epoch, seq);
            }
        }
        Ok(())
    }

    async fn facts(&mut self, report: wire::FactsReport) -> Result<(), End> {
        let Host { org, server, .. } = self.host;
        if digest::digest(&digest::SHA256, &report.json).as_ref() != report.sha256 {
            metrics::counter!("muster_link_facts_refused_total").increment(1);
            return Err(self.refuse("facts_damaged", "the facts don't match their hash"));
        }
        let (servers, now_us) = (&self.context.servers, self.context.clock.now_us());
        self.insist(|| servers.record_facts(org, server, &report.json, report.collected_at_us, now_us)).await;
        // Facts that can't be read are acknowledged as well: sending them again would not make them readable.
        self.send(control_message::Kind::FactsAck(wire::FactsAck { sha256: report.sha256 })).await
    }

    async fn command_update(&mut self, update: wire::CommandUpdate) -> Result<(), End> {
        let server = self.host.server;
        let ack = wire::CommandAck { command_id: update.command_id.clone(), seq: update.seq };
        match commands::parse_update(update) {
            Ok((id, update)) => {
                let (commands, now_us) = (&self.context.commands, self.context.clock.now_us());
                let recorded = self.insist(|| commands.record(server, id, &update, now_us)).await;
                if matches!(recorded, Some(Recorded::Unknown | Recorded::Foreign)) {
                    metrics::counter!("muster_link_updates_refused_total").increment(1);
                    tracing::warn!(%server, command = %id, "update for a command this server was not given");
                }
            }
            Err(error) => {
                metrics::counter!("muster_link_updates_refused_total").increment(1);
                tracing::warn!(%server, error = %crate::app::chain(&error), "update can't be read");
            }
        }
        self.send(control_message::Kind::CommandAck(ack)).await
    }

    /// Does as the registry says: looks for commands, tells the host whether somebody watches.
    async fn obey(&mut self) -> Result<(), End> {
        let orders = self.guard.orders.borrow_and_update().clone();
        if let Some(why) = orders.cut {
            return Err(End::Cut(why));
        }
        if self.pulse.is_none() {
            return Ok(());
        }
        if orders.live != self.told_live {
            self.told_live = orders.live;
            self.send(control_message::Kind::SetLive(wire::SetLive { live: orders.live })).await?;
        }
        self.dispatch().await
    }

    /// Delivers what waits for this host. A failing store is no reason to end: the periodic scan wakes us again.
    async fn dispatch(&mut self) -> Result<(), End> {
        let (commands, server) = (self.context.commands.clone(), self.host.server);
        let claimed = commands.claim(server, &self.lease_owner, self.context.clock.now_us()).await;
        for command in claimed.unwrap_or_else(|error| not_now(server, &error)) {
            let command = Some(commands.sign(&command));
            self.send(control_message::Kind::Deliver(wire::Deliver { command })).await?;
            metrics::counter!("muster_link_commands_delivered_total").increment(1);
        }
        for id in commands.cancellations(server).await.unwrap_or_else(|error| not_now(server, &error)) {
            self.send(control_message::Kind::Cancel(wire::Cancel { command_id: id.to_string() })).await?;
        }
        Ok(())
    }

    fn look_at_the_clock(&mut self) -> Result<(), End> {
        if self.host.not_after_us <= self.context.clock.now_us() {
            let detail = "the host's certificate has expired: renew it and connect again";
            return Err(End::Refused(
                refusal(ErrorKind::Unauthenticated, "certificate_expired", detail),
                "certificate_expired",
            ));
        }
        let now = Instant::now();
        let Some(pulse) = &mut self.pulse else {
            if now < self.confirm_by {
                return Ok(());
            }
            return Err(self.refuse("confirm_timeout", "the welcome was not confirmed in time"));
        };
        match pulse.beat(now, self.reading_since) {
            Beat::Ask(nonce) => {
                if self.outbound.try_send(message(control_message::Kind::Ping(wire::Ping { nonce }))).is_err() {
                    metrics::counter!("muster_link_pings_skipped_total").increment(1);
                    pulse.answered(nonce, now);
                }
                Ok(())
            }
            Beat::Wait => Ok(()),
            Beat::Dead => Err(self.refuse("unresponsive", "the host does not answer")),
        }
    }

    /// Sends what must not be dropped.
    async fn send(&self, kind: control_message::Kind) -> Result<(), End> {
        match timeout(SLOW_READER, self.outbound.send(message(kind))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(self.refuse("slow_reader", "the host reads too slowly")),
        }
    }

    /// Stores what must not be lost: while the database is away, it is tried again and nothing more is read. `None`
    /// for what the store will never take.
    async fn insist<T, F>(&self, mut store: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match store().await {
                Ok(stored) => return Some(stored),
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    metrics::counter!("muster_link_store_retries_total").increment(1);
                    sleep(RETRY).await;
                }
                Err(error) => {
                    metrics::counter!("muster_link_store_refused_total").increment(1);
                    tracing::warn!(server = %self.host.server, code = error.code, error = %crate::app::chain(&error), "not stored");
                    return None;
                }
            }
        }
    }

    fn refuse(&self, code: &'static str, detail: &str) -> End {
        End::Refused(refusal(ErrorKind::Precondition, code, detail), code)
    }

    async fn finish(self, end: End) {
        let Host { org, server, generation, .. } = self.host;
        let (status, why) = farewell(&end);
        if let End::Cut(Cut::Retired) = end {
            let retire = control_message::Kind::Retire(wire::Retire { reason: "the server was deleted".to_owned() });
            let _ = self.outbound.try_send(message(retire));
        }
        if let Some(status) = status {
            // A full queue means that the host isn't reading; it learns when it connects again.
            let _ = self.outbound.try_send(Err(status));
        }
        let was_current = self.guard.leave();
        tracing::info!(%server, generation, why, "agent disconnected");
        if matches!(end, End::Stopping) {
            // Everybody is set offline by one statement when the process stops.
            return;
        }
        let context = &self.context;
        if let Err(error) = context.commands.requeue_lost(&self.lease_owner).await {
            not_now::<()>(server, &error);
        }
        if was_current {
            match context.store.close_session(org, server, generation, context.clock.now_us()).await {
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%server, error = %crate::app::chain(&error), "agent not recorded as offline yet")
                }
            }
            context.events.publish(org, server, EventKind::AgentOffline);
            context.events.publish(org, server, EventKind::ServerChanged);
        }
    }
}

fn message(kind: control_message::Kind) -> Result<wire::ControlMessage, Status> {
    Ok(wire::ControlMessage { kind: Some(kind) })
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => future::pending().await,
    }
}

fn not_now<T>(server: ServerId, error: &Error) -> Vec<T> {
    tracing::warn!(%server, error = %crate::app::chain(error), "commands not looked at: the scan comes again");
    Vec::new()
}

/// The end of a stream that can't be read on: the host broke a bound, or the connection broke.
fn unreadable(status: Status) -> End {
    let word = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => "message_too_large",
        Code::Internal | Code::InvalidArgument => "message_unreadable",
        _ => return End::Gone,
    };
    metrics::counter!("muster_link_refused_total", "reason" => word).increment(1);
    End::Refused(status, word)
}

/// What the host hears last, and the log's word for it.
fn farewell(end: &End) -> (Option<Status>, &'static str) {
    match end {
        End::Gone => (None, "gone"),
        End::Stopping => (Some(Status::unavailable("the control plane is stopping: connect again")), "stopping"),
        End::Refused(status, why) => (Some(status.clone()), why),
        End::Cut(why) => {
            let kind = if *why == Cut::Superseded { ErrorKind::Precondition } else { ErrorKind::PermissionDenied };
            let detail = match why {
                Cut::Superseded => "a newer stream of this host took over",
                Cut::Revoked => "this identity was revoked: join the server again with a new token",
                Cut::Quarantined => "two machines showed this identity: release the quarantine and join the right one",
                Cut::Retired => "this server was deleted",
            };
            (Some(refusal(kind, why.as_str(), detail)), why.as_str())
        }
    }
}
