//! The life of commands on this host, pure: `(event, now) → actions`, obeyed in order.
//!
//! A command goes received → started → finished. `started` is on disk before the effect begins, so whatever is killed
//! when, a command begins at most once. A command that had started when the process died is failed if it only reads
//! and judged by reading otherwise ([`Action::Settle`]); it is never run again. While the host is about to go down it
//! takes and starts no further command. Updates are kept until they are acknowledged.
//!
//! What was seen is remembered after its end too, so that a replay is recognised; when more than [`MAX_REMEMBERED`] are
//! remembered the oldest go, and from then on whatever was issued no later than they is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use muster_shared::{
    command::{CommandBody, Envelope, MAX_LINE_BYTES, MAX_PROGRESS_UPDATES},
    id::CommandId,
    policy::{Family, Policy},
    receipt::ReceiptSigner,
    wire::{self, CommandOutcome, command_update::Kind, progress},
};

use super::receipts;

/// Commands that may wait; one more is refused as `busy`.
pub const MAX_WAITING: usize = 64;
/// Commands whose updates may wait for acknowledgement; with more, new ones are refused as `busy`.
pub const MAX_UNACKNOWLEDGED: usize = 256;
/// Finished and acknowledged commands remembered against replay.
pub const MAX_REMEMBERED: usize = 4096;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A command arrived whose signature, host and freshness were verified. Starts nothing: tell [`Event::Woke`] once
    /// it is kept.
    Submitted {
        signed: wire::SignedCommand,
        envelope: Envelope,
    },
    Cancelled(CommandId),
    Progressed(CommandId, wire::Progress),
    Ended(CommandId, wire::Finished),
    /// How a command ended that an earlier process had started.
    Settled(CommandId, wire::Finished),
    /// The host is up long after it should have been powered off.
    StillUp(CommandId),
    Acknowledged {
        id: CommandId,
        seq: u64,
    },
    /// The last [`Action::Keep`] for this command could not be written; what followed it was not done.
    NotKept(CommandId),
    /// Time passed: what waits may start or expire.
    Woke,
}

/// What goes into the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    Submitted(wire::SignedCommand),
    Update(wire::CommandUpdate),
    Acknowledged { id: CommandId, seq: u64 },
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write these to the journal, and to the disk if `durable`. When that fails, do nothing of what follows for the
    /// same command and tell [`Event::NotKept`].
    Keep { id: CommandId, notes: Vec<Note>, durable: bool },
    /// Send to whoever listens.
    Report(wire::CommandUpdate),
    /// Begin the effect; tell [`Event::Progressed`] and [`Event::Ended`].
    Run { id: CommandId, body: CommandBody },
    /// Find out, by reading only, how this ended; tell [`Event::Settled`].
    Settle { id: CommandId, body: CommandBody, begun: Begun },
}

/// Every command this host knows of.
#[derive(Debug, Default)]
pub struct Machine {
    pub(super) entries: BTreeMap<CommandId, Entry>,
    waiting: VecDeque<CommandId>,
    running: BTreeMap<Family, CommandId>,
    /// Whatever was issued until then and isn't remembered counts as seen.
    pub(super) forgotten_until_us: i64,
    policy: Policy,
    /// Signs how commands end, where this host has a key for that. Signing is a function of the end alone.
    receipts: Option<ReceiptSigner>,
    /// The boot that goes on.
    boot_id: String,
    /// The command that ends it.
    going_down: Option<CommandId>,
}

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Kept until the end.
    pub(super) command: Option<(wire::SignedCommand, Envelope)>,
    pub(super) issued_at_us: i64,
    pub(super) stage: Stage,
    pub(super) last_seq: u64,
    /// Not acknowledged yet.
    pub(super) updates: VecDeque<wire::CommandUpdate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Received,
    Started(Begun),
    Finished,
}

/// The start of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begun {
    pub at_us: i64,
    /// The id of the boot in which it was, where the command ends the boot; empty otherwise.
    pub boot: String,
}

impl Machine {
    /// A machine that remembers `entries`; [`Self::recover`] says what became of the unfinished ones.
    pub(super) fn remembering(entries: BTreeMap<CommandId, Entry>, forgotten_until_us: i64) -> Self {
        Self { entries, forgotten_until_us, ..Self::default() }
    }

    /// The host's policy as its owner has it now.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// From now on how a command ends is signed.
    pub fn set_receipts(&mut self, signer: ReceiptSigner) {
        self.receipts = Some(signer);
    }

    /// Which boot of the host goes on; it does for as long as this process lives.
    pub fn set_boot_id(&mut self, boot_id: String) {
        self.boot_id = boot_id;
    }

    /// Judges what was unfinished when the process ended; call once, before any event.
    pub fn recover(&mut self, now_us: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        let unfinished: Vec<(CommandId, Stage)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.stage != Stage::Finished)
            .map(|(id, entry)| (*id, entry.stage.clone()))
            .collect();
        for (id, stage) in unfinished {
            match (stage, self.body(id).cloned()) {
                (Stage::Started(_), Some(body)) if body.is_read_only() => {
                    let finished = finished(
                        CommandOutcome::Failed,
                        "crashed",
                        "the agent stopped while the command ran; it only reads, so it can be asked again",
                    );
                    self.finish(id, finished, now_us, &mut actions);
                }
                (Stage::Started(begun), Some(body)) => {
                    self.running.insert(body.family(), id);
                    self.going_down = if body.ends_the_boot() { Some(id) } else { self.going_down };
                    actions.push(Action::Settle { id, body, begun });
                }
                (Stage::Started(_), None) => self.finish(id, crashed(), now_us, &mut actions),
                _ => self.waiting.push_back(id),
            }
        }
        self.start_waiting(now_us, &mut actions);
        actions
    }

    /// Takes in one event.
    pub fn handle(&mut self, event: Event, now_us: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Submitted { signed, envelope } => {
                self.submitted(signed, envelope, now_us, &mut actions);
                return actions;
            }
            Event::Cancelled(id) => self.cancelled(id, now_us, &mut actions),
            Event::Progressed(id, progress) => self.progressed(id, progress, now_us, &mut actions),
            Event::Ended(id, finished) => {
                let stopped = finished.outcome() == CommandOutcome::Succeeded;
                let stays = stopped && self.body(id).is_some_and(CommandBody::ends_the_boot);
                self.ended(id, finished, now_us, &mut actions);
                if self.going_down == Some(id) && !stays {
                    self.going_down = None;
                }
            }
            Event::Settled(id, finished) => {
                self.ended(id, finished, now_us, &mut actions);
                self.going_down.take_if(|going| *going == id);
            }
            Event::StillUp(id) => _ = self.going_down.take_if(|going| *going == id),
            Event::Acknowledged { id, seq } => self.acknowledged(id, seq, &mut actions),
            Event::NotKept(id) => return self.not_kept(id, now_us),
            Event::Woke => {}
        }
        self.start_waiting(now_us, &mut actions);
        actions
    }

    /// Every update that waits for acknowledgement, in order within each command.
    #[must_use]
    pub fn unacknowledged(&self) -> Vec<wire::CommandUpdate> {
        self.entries.values().flat_map(|entry| entry.updates.iter().cloned()).collect()
    }

    /// Whether this command was seen before, so that a second submission is a repetition.
    #[must_use]
    pub fn knows(&self, id: CommandId) -> bool {
        self.entries.contains_key(&id)
    }

    fn submitted(&mut self, signed: wire::SignedCommand, envelope: Envelope, now_us: i64, actions: &mut Vec<Action>) {
        let id = envelope.command_id;
        if let Some(entry) = self.entries.get(&id) {
            // Delivery is at least once: a repetition is answered with what is known and runs nothing.
            if entry.updates.is_empty() && entry.stage == Stage::Finished {
                actions.push(Action::Report(replayed(id, entry.last_seq + 1, now_us)));
            }
            actions.extend(entry.updates.iter().cloned().map(Action::Report));
            return;
        }
        if envelope.issued_at_us <= self.forgotten_until_us {
            actions.push(Action::Report(replayed(id, 1, now_us)));
            return;
        }
        if self.going_down.is_some() {
            let detail = "this host is about to go down; ask again when it is back";
            let refused = finished(CommandOutcome::Refused, "going_down", detail);
            actions.push(Action::Report(update(id, 1, now_us, Kind::Finished(refused))));
            return;
        }
        let unacknowledged = self.entries.values().filter(|entry| !entry.updates.is_empty()).count();
        if self.waiting.len() >= MAX_WAITING || unacknowledged >= MAX_UNACKNOWLEDGED {
            let busy =
                finished(CommandOutcome::Refused, "busy", "too many commands wait on this host; try again later");
            actions.push(Action::Report(update(id, 1, now_us, Kind::Finished(busy))));
            return;
        }
        let received = update(id, 1, now_us, Kind::Received(wire::Received {}));
        let entry = Entry {
            issued_at_us: envelope.issued_at_us,
            command: Some((signed.clone(), envelope)),
            stage: Stage::Received,
            last_seq: 1,
            updates: VecDeque::from([received.clone()]),
        };
        self.entries.insert(id, entry);
        self.waiting.push_back(id);
        let notes = vec![Note::Submitted(signed), Note::Update(received.clone())];
        actions.push(Action::Keep { id, notes, durable: true });
        actions.push(Action::Report(received));
    }

    fn ended(&mut self, id: CommandId, finished: wire::Finished, now_us: i64, actions: &mut Vec<Action>) {
        if self.entries.get(&id).is_some_and(Entry::is_started) {
            self.finish(id, finished, now_us, actions);
        }
    }

    fn cancelled(&mut self, id: CommandId, now_us: i64, actions: &mut Vec<Action>) {
        if self.entries.get(&id).is_some_and(|entry| entry.stage == Stage::Received) {
            let cancelled = finished(CommandOutcome::Cancelled, "cancelled", "cancelled before it started");
            self.finish(id, cancelled, now_us, actions);
        }
    }

    fn progressed(&mut self, id: CommandId, progress: wire::Progress, now_us: i64, actions: &mut Vec<Action>) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.is_started()) else { return };
        if entry.last_seq >= MAX_PROGRESS_UPDATES {
            return;
        }
        let progress = wire::Progress { kind: progress.kind.map(cut_line) };
        let update = entry.next_update(id, now_us, Kind::Progress(progress));
        actions.push(Action::Keep { id, notes: vec![Note::Update(update.clone())], durable: false });
        actions.push(Action::Report(update));
    }

    fn acknowledged(&mut self, id: CommandId, seq: u64, actions: &mut Vec<Action>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = entry.updates.len();
        entry.updates.retain(|update| update.seq > seq);
        if entry.updates.len() != before {
            actions.push(Action::Keep { id, notes: vec![Note::Acknowledged { id, seq }], durable: false });
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        let done = |entry: &Entry| entry.stage == Stage::Finished && entry.updates.is_empty();
        if self.entries.len() <= MAX_REMEMBERED {
            return;
        }
        let by_age: BTreeSet<(i64, CommandId)> =
            self.entries.iter().filter(|(_, entry)| done(entry)).map(|(id, entry)| (entry.issued_at_us, *id)).collect();
        // Half at once, so that the search is rare.
        for (issued_at_us, id) in by_age.into_iter().take(MAX_REMEMBERED / 2) {
            self.forgotten_until_us = self.forgotten_until_us.max(issued_at_us);
            self.entries.remove(&id);
        }
    }

    /// Undoes what could not be written: a command that just arrived is refused, one about to start goes on waiting.
    fn not_kept(&mut self, id: CommandId, now_us: i64) -> Vec<Action> {
        let Some(entry) = self.entries.get_mut(&id) else { return Vec::new() };
        match entry.stage {
            Stage::Received => {
                self.entries.remove(&id);
                self.waiting.retain(|waiting| *waiting != id);
                let detail = "the host can't write its journal (is its disk full?), so it takes no new commands";
                let refused = finished(CommandOutcome::Refused, "journal_unavailable", detail);
                vec![Action::Report(update(id, 1, now_us, Kind::Finished(refused)))]
            }
            Stage::Started(_) if self.running.values().any(|running| *running == id) && entry.just_started() => {
                entry.updates.pop_back();
                entry.last_seq -= 1;
                entry.stage = Stage::Received;
                self.running.retain(|_, running| *running != id);
                self.going_down.take_if(|going| *going == id);
                self.waiting.push_front(id);
                Vec::new()
            }
            // Progress and results that can't be written are still reported; a crash would cost them.
            _ => entry.updates.back().cloned().map(Action::Report).into_iter().collect(),
        }
    }

    fn start_waiting(&mut self, now_us: i64, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.waiting) {
            let Some((body, expires_at_us)) = self.entries.get(&id).and_then(|entry| {
                entry.command.as_ref().map(|(_, envelope)| (envelope.body.clone(), envelope.expires_at_us))
            }) else {
                continue;
            };
            let family = body.family();
            if expires_at_us <= now_us {
                let expired = finished(CommandOutcome::Expired, "expired", "it expired before the host could start it");
                self.finish(id, expired, now_us, actions);
            } else if !self.policy.allows(family) {
                let detail = format!(
                    "this host's policy does not allow the family {family}; its owner can allow it in policy.toml"
                );
                self.finish(id, finished(CommandOutcome::Refused, "policy_refused", &detail), now_us, actions);
            } else if self.running.contains_key(&family) || self.going_down.is_some() {
                self.waiting.push_back(id);
            } else if let Some(entry) = self.entries.get_mut(&id) {
                self.running.insert(family, id);
                let boot = if body.ends_the_boot() { self.boot_id.clone() } else { String::new() };
                self.going_down = body.ends_the_boot().then_some(id);
                entry.stage = Stage::Started(Begun { at_us: now_us, boot: boot.clone() });
                let started = entry.next_update(id, now_us, Kind::Started(wire::Started { boot }));
                actions.push(Action::Keep { id, notes: vec![Note::Update(started.clone())], durable: true });
                actions.push(Action::Report(started));
                actions.push(Action::Run { id, body });
            }
        }
    }

    fn finish(&mut self, id: CommandId, mut finished: wire::Finished, now_us: i64, actions: &mut Vec<Action>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let (Some(signer), Some(command)) = (&self.receipts, &entry.command) {
            let started_at_us = match &entry.stage {
                Stage::Started(begun) => Some(begun.at_us),
                Stage::Received | Stage::Finished => None,
            };
            finished.receipt = Some(receipts::receipt(signer, command, &finished, started_at_us, now_us));
        }
        entry.stage = Stage::Finished;
        entry.command = None;
        let update = entry.next_update(id, now_us, Kind::Finished(finished));
        self.waiting.retain(|waiting| *waiting != id);
        self.running.retain(|_, running| *running != id);
        actions.push(Action::Keep { id, notes: vec![Note::Update(update.clone())], durable: true });
        actions.push(Action::Report(update));
    }

    fn body(&self, id: CommandId) -> Option<&CommandBody> {
        self.entries.get(&id)?.command.as_ref().map(|(_, envelope)| &envelope.body)
    }
}

impl Entry {
    fn next_update(&mut self, id: CommandId, now_us: i64, kind: Kind) -> wire::CommandUpdate {
        self.last_seq += 1;
        let update = update(id, self.last_seq, now_us, kind);
        self.updates.push_back(update.clone());
        update
    }

    fn is_started(&self) -> bool {
        matches!(self.stage, Stage::Started(_))
    }

    fn just_started(&self) -> bool {
        matches!(self.updates.back().and_then(|update| update.kind.as_ref()), Some(Kind::Started(_)))
    }
}

/// The ending of what nothing can be found out about.
#[must_use]
pub fn crashed() -> wire::Finished {
    let detail = "the agent stopped while the command ran and can't tell how it ended; look at the host";
    finished(CommandOutcome::Indeterminate, "crashed", detail)
}

/// An ending in a machine's word and a person's words.
#[must_use]
pub fn finished(outcome: CommandOutcome, code: &str, detail: &str) -> wire::Finished {
    wire::Finished {
        outcome: outcome.into(),
        code: code.to_owned(),
        detail: detail.to_owned(),
        result: None,
        receipt: None,
    }
}

/// An update of a command's life.
#[must_use]
pub fn update(id: impl ToString, seq: u64, at_us: i64, kind: Kind) -> wire::CommandUpdate {
    wire::CommandUpdate { command_id: id.to_string(), seq, at_us, kind: Some(kind) }
}

fn replayed(id: CommandId, seq: u64, now_us: i64) -> wire::CommandUpdate {
    let refused = finished(CommandOutcome::Refused, "replayed", "this host has carried out this command before");
    update(id, seq, now_us, Kind::Finished(refused))
}

fn cut_line(kind: progress::Kind) -> progress::Kind {
    match kind {
        progress::Kind::Line(mut line) => {
            line.truncate(line.floor_char_boundary(MAX_LINE_BYTES));
            progress::Kind::Line(line)
        }
        kind @ progress::Kind::CheckJson(_) => kind,
    }
}

#[cfg(test)]
mod tests;
