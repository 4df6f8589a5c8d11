//! One host's stream, from its Welcome to its end.
//!
//! Bounds and what happens at them: [`MAX_FRAMES_IN_FLIGHT`] frames between reading and their commit, then nothing more
//! is read; [`OUTBOUND_MESSAGES`] messages waiting to be sent, where acknowledgements wait to be merged, pings are
//! skipped, and commands wait [`SLOW_READER`] before the stream is ended as too slow (they stay stored). Nothing but the
//! Welcome is sent before the host has confirmed its generation.

use std::{future, sync::Arc, time::Duration};

use muster_shared::{
    id::{OrgId, ServerId},
    tls::PeerCertificate,
    wire::{self, control_message},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tonic::Status;

use super::{
    acks::Acks,
    budget::Budget,
    end::{End, unreadable},
    framing::Inbound,
    pulse::{Beat, Pulse},
    service::LinkContext,
    status::refusal,
};
use crate::{
    error::{Error, ErrorKind},
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
    pub(super) context: LinkContext,
    pub(super) host: Host,
    pub(super) certificate: Arc<PeerCertificate>,
    pub(super) inbound: Inbound,
    pub(super) outbound: mpsc::Sender<Result<wire::ControlMessage, Status>>,
    pub(super) guard: SessionGuard,
    pub(super) outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    pub(super) acks: Acks,
    pub(super) budget: Budget,
    /// From the host's Confirm on.
    pub(super) pulse: Option<Pulse>,
    pub(super) confirm_by: Instant,
    pub(super) in_flight: u32,
    /// A frame that found the queue full.
    pub(super) held: Option<Box<Incoming>>,
    /// The host spoke too fast; nothing is read until then.
    pub(super) quiet_until: Option<Instant>,
    pub(super) reading_since: Option<Instant>,
    pub(super) told_live: bool,
    pub(super) lease_owner: String,
}

impl HostStream {
    pub(super) fn new(
        context: LinkContext,
        (host, certificate): (Host, Arc<PeerCertificate>),
        inbound: Inbound,
        outbound: mpsc::Sender<Result<wire::ControlMessage, Status>>,
        guard: SessionGuard,
    ) -> Self {
        let now = Instant::now();
        Self {
            budget: Budget::full(context.clock.now_us()),
            context,
            host,
            certificate,
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
            let stopping = self.context.shutdown.clone();
            let handled = tokio::select! {
                handled = self.handle(next) => handled,
                () = stopping.cancelled() => Err(End::Stopping),
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

    /// Does as the registry says: looks for commands, tells the host whether somebody watches.
    pub(super) async fn obey(&mut self) -> Result<(), End> {
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
    pub(super) async fn dispatch(&mut self) -> Result<(), End> {
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

    pub(super) fn look_at_the_clock(&mut self) -> Result<(), End> {
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
    pub(super) async fn send(&self, kind: control_message::Kind) -> Result<(), End> {
        match timeout(SLOW_READER, self.outbound.send(message(kind))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(self.refuse("slow_reader", "the host reads too slowly")),
        }
    }

    pub(super) fn refuse(&self, code: &'static str, detail: &str) -> End {
        End::Refused(refusal(ErrorKind::Precondition, code, detail), code)
    }
}

pub(super) fn message(kind: control_message::Kind) -> Result<wire::ControlMessage, Status> {
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
