//! The rules of the stream, pure: `(event, now) → actions`. No clock, no IO; the shell obeys.
//!
//! - The first message each way is Hello and Welcome. The Welcome's generation is saved before it is confirmed, and no
//!   frame is sent before that.
//! - Fresh frames (cut in this session) go first, oldest first; then the backlog, newest first, marked `backfill`.
//!   Never more than the control plane allows are in flight.
//! - Frames, facts and command updates are sent again in a new session until they are acknowledged, and within a
//!   session when no acknowledgement came for [`RESEND_AFTER`]. Only what was sent can be acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use muster_shared::wire::{self, agent_message, control_message};

use crate::spool::FrameKey;

/// Version of the stream's rules.
pub const PROTOCOL: u32 = 1;
/// How long the Welcome may take before the stream is given up.
pub const WELCOME_WITHIN: Duration = Duration::from_secs(15);
/// How long an acknowledgement may take before the thing is sent again.
pub const RESEND_AFTER: Duration = Duration::from_secs(30);
/// Frames in flight where the control plane names no number, and the most it may name.
pub const DEFAULT_WINDOW: usize = 16;
pub const MAX_WINDOW: usize = 64;
/// Command updates in flight at once; the rest wait for acknowledgements.
pub const UPDATES_WINDOW: usize = 64;
/// Command updates held before [`Session::wants_updates`] asks the executor's journal to wait. Nothing is dropped.
pub const MAX_HELD_UPDATES: usize = 512;

/// What a host says of itself in every Hello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostWords {
    pub agent_version: String,
    pub boot_id: String,
    pub machine_id_sha256: String,
    pub hostname: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stream is open.
    Opened {
        now_us: i64,
        allowed_families: Vec<String>,
    },
    /// The stream is gone.
    Closed,
    Received(wire::ControlMessage),
    /// The generation asked for by [`Action::SaveGeneration`] is on disk.
    GenerationSaved(u64),
    /// The spool has one frame more.
    Cut(FrameKey),
    /// The spool lost these.
    Lost(Vec<FrameKey>),
    /// The facts as they are now.
    Facts(wire::FactsReport),
    /// The executor reports.
    Update(wire::CommandUpdate),
    /// [`Session::wake_at`] has come.
    Woke,
}

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Send(agent_message::Kind),
    /// Read the frame from the spool and send it; tell [`Event::Lost`] when it is not there.
    SendFrame {
        key: FrameKey,
        backfill: bool,
    },
    SaveGeneration(u64),
    /// These were sent and are durable.
    Free(wire::FrameAck),
    /// One frame a second, or one in ten.
    SetLive(bool),
    /// Make a frame of what waits, so that the fresh session has something to show.
    Cut,
    SaveEndpoints(wire::Endpoints),
    Submit(wire::SignedCommand),
    CancelCommand(String),
    AckUpdates {
        command_id: String,
        seq: u64,
    },
    /// Close the stream and dial again.
    Close(&'static str),
    /// The server was deleted.
    Retire(String),
}

/// One host's side of the stream, across reconnections.
#[derive(Debug)]
pub struct Session {
    host: HostWords,
    generation: u64,
    phase: Phase,
    /// Spooled frames that are not in flight and not fresh.
    backlog: BTreeSet<FrameKey>,
    facts: Option<Facts>,
    updates: BTreeMap<(String, u64), HeldUpdate>,
}

#[derive(Debug)]
enum Phase {
    Offline,
    Greeting {
        since: Duration,
    },
    /// The Welcome's generation is being saved.
    Confirming(wire::Welcome),
    Open(Open),
}

#[derive(Debug)]
struct Open {
    window: usize,
    fresh: VecDeque<FrameKey>,
    in_flight: BTreeMap<FrameKey, InFlight>,
    /// Sent in this session, unacknowledged for too long and back in the backlog.
    overdue: BTreeSet<FrameKey>,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    sent_at: Duration,
}

#[derive(Debug)]
struct Facts {
    report: wire::FactsReport,
    delivery: Delivery,
}

#[derive(Debug)]
struct HeldUpdate {
    update: wire::CommandUpdate,
    delivery: Delivery,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Due,
    Sent(Duration),
    Acknowledged,
}

impl Delivery {
    fn is_due(self, now: Duration) -> bool {
        match self {
            Self::Due => true,
            Self::Sent(at) => now >= at + RESEND_AFTER,
            Self::Acknowledged => false,
        }
    }
}

impl Session {
    /// A session that is offline, with `pending` frames in the spool.
    #[must_use]
    pub fn new(host: HostWords, generation: u64, pending: impl IntoIterator<Item = FrameKey>) -> Self {
        Self {
            host,
            generation,
            phase: Phase::Offline,
            backlog: pending.into_iter().collect(),
            facts: None,
            updates: BTreeMap::new(),
        }
    }

    /// Takes in one event. `now` is monotonic, from any fixed start.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Opened { now_us, allowed_families } => self.opened(now_us, allowed_families, now, &mut actions),
            Event::Closed => self.closed(&mut actions),
            Event::Received(message) => self.received(message, &mut actions),
            Event::GenerationSaved(generation) => self.generation_saved(generation, &mut actions),
            Event::Cut(key) => match &mut self.phase {
                Phase::Open(open) => open.fresh.push_back(key),
                _ => _ = self.backlog.insert(key),
            },
            Event::Lost(keys) => keys.into_iter().for_each(|key| self.forget(key)),
            Event::Facts(report) => self.facts_changed(report),
            Event::Update(update) => {
                let key = (update.command_id.clone(), update.seq);
                self.updates.entry(key).or_insert(HeldUpdate { update, delivery: Delivery::Due });
            }
            Event::Woke => {
                if matches!(self.phase, Phase::Greeting { since } if now >= since + WELCOME_WITHIN) {
                    actions.push(Action::Close("no welcome came"));
                }
            }
        }
        self.pump(now, &mut actions);
        actions
    }

    /// When [`Event::Woke`] is due, whatever else happens.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let open = match &self.phase {
            Phase::Offline | Phase::Confirming(_) => return None,
            Phase::Greeting { since } => return Some(*since + WELCOME_WITHIN),
            Phase::Open(open) => open,
        };
        let frames = open.in_flight.values().map(|frame| frame.sent_at);
        let deliveries = self.facts.iter().map(|facts| facts.delivery);
        let deliveries = deliveries.chain(self.updates.values().map(|held| held.delivery));
        let sent = deliveries.filter_map(|delivery| match delivery {
            Delivery::Sent(at) => Some(at),
            Delivery::Due | Delivery::Acknowledged => None,
        });
        frames.chain(sent).min().map(|at| at + RESEND_AFTER)
    }

    /// Whether more of the executor's updates may be read; otherwise they wait in its journal.
    #[must_use]
    pub fn wants_updates(&self) -> bool {
        self.updates.len() < MAX_HELD_UPDATES
    }

    /// Whether the Welcome was confirmed on the stream that is open now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Frames that wait or are in flight.
    #[must_use]
    pub fn held_frames(&self) -> usize {
        let open = match &self.phase {
            Phase::Open(open) => open.fresh.len() + open.in_flight.len(),
            _ => 0,
        };
        self.backlog.len() + open
    }

    fn opened(&mut self, now_us: i64, allowed_families: Vec<String>, now: Duration, actions: &mut Vec<Action>) {
        self.closed(actions);
        self.phase = Phase::Greeting { since: now };
        actions.push(Action::Send(agent_message::Kind::Hello(wire::Hello {
            protocol: PROTOCOL,
            agent_version: self.host.agent_version.clone(),
            boot_id: self.host.boot_id.clone(),
            machine_id_sha256: self.host.machine_id_sha256.clone(),
            hostname: self.host.hostname.clone(),
            generation: self.generation,
            spooled_frames: self.backlog.len() as u64,
            now_us,
            allowed_families,
        })));
    }

    fn closed(&mut self, actions: &mut Vec<Action>) {
        if let Phase::Open(open) = std::mem::replace(&mut self.phase, Phase::Offline) {
            self.backlog.extend(open.fresh);
            self.backlog.extend(open.in_flight.into_keys());
            actions.push(Action::SetLive(false));
        }
        if let Some(facts) = &mut self.facts {
            facts.delivery = Delivery::Due;
        }
        for held in self.updates.values_mut() {
            held.delivery = Delivery::Due;
        }
    }

    fn received(&mut self, message: wire::ControlMessage, actions: &mut Vec<Action>) {
        use control_message::Kind;
        // A later version's message: the wire only grows, so what isn't known is passed over.
        let Some(kind) = message.kind else { return };
        match (&mut self.phase, kind) {
            (Phase::Offline, _) => {}
            (Phase::Greeting { .. }, Kind::Welcome(welcome)) => {
                actions.push(Action::SaveGeneration(welcome.generation));
                self.phase = Phase::Confirming(welcome);
            }
            (_, Kind::Retire(retire)) => actions.push(Action::Retire(retire.reason)),
            (_, Kind::Ping(ping)) => {
                actions.push(Action::Send(agent_message::Kind::Pong(wire::Pong { nonce: ping.nonce })));
            }
            (_, Kind::Welcome(_)) => actions.push(Action::Close("a second welcome came")),
            (Phase::Open(open), Kind::FrameAck(ack)) => {
                let ack = open.acknowledged(&ack, &mut self.backlog);
                if !ack.ranges.is_empty() {
                    actions.push(Action::Free(ack));
                }
            }
            (Phase::Open(_), Kind::FactsAck(ack)) => {
                if let Some(facts) = self.facts.as_mut().filter(|facts| facts.report.sha256 == ack.sha256) {
                    facts.delivery = Delivery::Acknowledged;
                }
            }
            (Phase::Open(_), Kind::CommandAck(ack)) => self.updates_acknowledged(ack, actions),
            (Phase::Open(_), Kind::Deliver(deliver)) => actions.extend(deliver.command.map(Action::Submit)),
            (Phase::Open(_), Kind::Cancel(cancel)) => actions.push(Action::CancelCommand(cancel.command_id)),
            (Phase::Open(_), Kind::SetLive(set)) => {
                actions.push(Action::SetLive(set.live));
                if set.live {
                    actions.push(Action::Cut);
                }
            }
            (Phase::Open(_), Kind::Endpoints(endpoints)) => actions.push(Action::SaveEndpoints(endpoints)),
            (Phase::Greeting { .. } | Phase::Confirming(_), _) => {
                actions.push(Action::Close("the control plane spoke before its welcome was confirmed"));
            }
        }
    }

    fn generation_saved(&mut self, generation: u64, actions: &mut Vec<Action>) {
        self.generation = generation;
        match std::mem::replace(&mut self.phase, Phase::Offline) {
            Phase::Confirming(welcome) if welcome.generation == generation => {
                actions.push(Action::Send(agent_message::Kind::Confirm(wire::Confirm { generation })));
                actions.extend(welcome.endpoints.map(Action::SaveEndpoints));
                actions.push(Action::SetLive(welcome.live));
                actions.push(Action::Cut);
                let window = match welcome.max_frames_in_flight as usize {
                    0 => DEFAULT_WINDOW,
                    asked => asked.min(MAX_WINDOW),
                };
                self.phase = Phase::Open(Open {
                    window,
                    fresh: VecDeque::new(),
                    in_flight: BTreeMap::new(),
                    overdue: BTreeSet::new(),
                });
            }
            phase => self.phase = phase,
        }
    }

    fn facts_changed(&mut self, report: wire::FactsReport) {
        let known = self.facts.as_ref().is_some_and(|facts| facts.report.sha256 == report.sha256);
        if !known {
            self.facts = Some(Facts { report, delivery: Delivery::Due });
        }
    }

    fn updates_acknowledged(&mut self, ack: wire::CommandAck, actions: &mut Vec<Action>) {
        let held = self.updates.range((ack.command_id.clone(), 0)..=(ack.command_id.clone(), ack.seq));
        // Only what was sent: an acknowledgement of an update still waiting can't be true.
        let sent: Vec<_> =
            held.filter(|(_, held)| held.delivery != Delivery::Due).map(|(key, _)| key.clone()).collect();
        let Some(seq) = sent.last().map(|(_, seq)| *seq) else { return };
        for key in sent {
            self.updates.remove(&key);
        }
        actions.push(Action::AckUpdates { command_id: ack.command_id, seq });
    }

    fn forget(&mut self, key: FrameKey) {
        self.backlog.remove(&key);
        if let Phase::Open(open) = &mut self.phase {
            open.in_flight.remove(&key);
            open.overdue.remove(&key);
            open.fresh.retain(|fresh| *fresh != key);
        }
    }

    /// Sends what may be sent now.
    fn pump(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Phase::Open(open) = &mut self.phase else { return };
        if let Some(facts) = self.facts.as_mut().filter(|facts| facts.delivery.is_due(now)) {
            facts.delivery = Delivery::Sent(now);
            actions.push(Action::Send(agent_message::Kind::Facts(facts.report.clone())));
        }
        let mut in_flight = self.updates.values().filter(|held| matches!(held.delivery, Delivery::Sent(_))).count();
        for held in self.updates.values_mut().filter(|held| held.delivery.is_due(now)) {
            if held.delivery == Delivery::Due {
                if in_flight >= UPDATES_WINDOW {
                    continue;
                }
                in_flight += 1;
            }
            held.delivery = Delivery::Sent(now);
            actions.push(Action::Send(agent_message::Kind::CommandUpdate(held.update.clone())));
        }
        open.send_frames(&mut self.backlog, now, actions);
    }
}

impl Open {
    fn send_frames(&mut self, backlog: &mut BTreeSet<FrameKey>, now: Duration, actions: &mut Vec<Action>) {
        let late: Vec<FrameKey> = self
            .in_flight
            .iter()
            .filter(|(_, frame)| now >= frame.sent_at + RESEND_AFTER)
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            self.in_flight.remove(&key);
            self.overdue.insert(key);
            backlog.insert(key);
        }
        while self.in_flight.len() < self.window {
            let (key, backfill) = match self.fresh.pop_front() {
                Some(key) => (key, false),
                None => match backlog.pop_last() {
                    Some(key) => (key, true),
                    None => break,
                },
            };
            self.overdue.remove(&key);
            self.in_flight.insert(key, InFlight { sent_at: now });
            actions.push(Action::SendFrame { key, backfill });
        }
    }

    /// Takes acknowledged frames out; answers those that were really sent in this session.
    fn acknowledged(&mut self, ack: &wire::FrameAck, backlog: &mut BTreeSet<FrameKey>) -> wire::FrameAck {
        let epoch = ack.epoch;
        let mut seqs = BTreeSet::new();
        for range in ack.ranges.iter().filter(|range| range.first <= range.last) {
            let keys = FrameKey { epoch, seq: range.first }..=FrameKey { epoch, seq: range.last };
            seqs.extend(self.in_flight.range(keys.clone()).map(|(key, _)| key.seq));
            seqs.extend(self.overdue.range(keys).map(|key| key.seq));
        }
        for seq in &seqs {
            let key = FrameKey { epoch, seq: *seq };
            self.in_flight.remove(&key);
            if self.overdue.remove(&key) {
                backlog.remove(&key);
            }
        }
        wire::FrameAck { epoch, ranges: ranges(seqs) }
    }
}

/// Ascending numbers as ranges, both ends included.
fn ranges(seqs: impl IntoIterator<Item = u64>) -> Vec<wire::SeqRange> {
    let mut ranges: Vec<wire::SeqRange> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == seq => range.last = seq,
            _ => ranges.push(wire::SeqRange { first: seq, last: seq }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
