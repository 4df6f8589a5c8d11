//! What one simulated host has made, and what of it was acknowledged. Pure.

use std::collections::{BTreeMap, BTreeSet};

use muster_shared::{
    metric::{Columns, Series, SeriesId, SeriesKind, encode, names},
    wire::{self, command_update, finished},
};

use super::values::Values;

/// Series every reader relies on, which each host has before any others: name, labels, scale, kind.
type Row = (&'static str, &'static [(&'static str, &'static str)], i32, SeriesKind);
const FIRST: [Row; 9] = [
    (names::HOST_CPU_SECONDS_TOTAL, &[("mode", "user")], -6, SeriesKind::Counter),
    (names::HOST_CPU_SECONDS_TOTAL, &[("mode", "idle")], -6, SeriesKind::Counter),
    (names::HOST_MEMORY_TOTAL_BYTES, &[], 0, SeriesKind::Gauge),
    (names::HOST_MEMORY_AVAILABLE_BYTES, &[], 0, SeriesKind::Gauge),
    (names::HOST_FILESYSTEM_SIZE_BYTES, &[("mountpoint", "/")], 0, SeriesKind::Gauge),
    (names::HOST_FILESYSTEM_AVAILABLE_BYTES, &[("mountpoint", "/")], 0, SeriesKind::Gauge),
    (names::HOST_NETWORK_RECEIVE_BYTES_TOTAL, &[("device", "eth0")], 0, SeriesKind::Counter),
    (names::HOST_NETWORK_TRANSMIT_BYTES_TOTAL, &[("device", "eth0")], 0, SeriesKind::Counter),
    (names::HOST_LOAD_1M, &[], -2, SeriesKind::Gauge),
];

/// Sequences set aside for a life: those that a killed host had not used stay unused.
const SEQUENCES_OF_A_LIFE: u64 = 1000;

/// One command as the host knows it.
#[derive(Debug, Clone)]
pub struct CommandHistory {
    /// Times it was started: never over one.
    pub started: u32,
    pub updates: Vec<wire::CommandUpdate>,
    pub acknowledged_through: u64,
}

/// Everything a host has made.
#[derive(Debug)]
pub struct History {
    series: Vec<Series>,
    values: Values,
    epoch: u64,
    next_seq: u64,
    waiting: BTreeMap<u64, wire::Frame>,
    acknowledged: BTreeMap<u64, wire::Frame>,
    /// Acknowledgements of what was never sent: the control plane's error.
    strange_acknowledgements: Vec<u64>,
    commands: BTreeMap<String, CommandHistory>,
    ticks: u64,
    newest_us: Option<i64>,
}

impl History {
    /// A host's that has made nothing.
    #[must_use]
    pub fn new(epoch: u64, series: u32, values: Values) -> Self {
        let first = FIRST.iter().map(|(name, labels, scale, kind)| Series {
            name: (*name).to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            scale: *scale,
            kind: *kind,
        });
        let others = (0..).map(|index: u32| Series {
            name: "simulated_load".to_owned(),
            labels: [("part".to_owned(), index.to_string())].into(),
            scale: 0,
            kind: SeriesKind::Gauge,
        });
        Self {
            series: first.chain(others).take(usize::try_from(series).unwrap_or(usize::MAX)).collect(),
            values,
            epoch,
            next_seq: 1,
            waiting: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            strange_acknowledgements: Vec::new(),
            commands: BTreeMap::new(),
            ticks: 0,
            newest_us: None,
        }
    }

    /// The epoch its sequences count in.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Makes one frame of `ticks` seconds from `first_us` on, and keeps it until it is acknowledged.
    pub fn sample(&mut self, first_us: i64, ticks: usize) -> u64 {
        let ticks_us: Vec<_> = (0..).map(|tick| first_us + tick * 1_000_000).take(ticks).collect();
        let values = (0..).zip(&self.series).map(|(id, series)| {
            let column = ticks_us.iter().map(|tick| Some(self.values.of(id, series.kind, *tick))).collect();
            (id, column)
        });
        let columns = Columns { values: values.collect(), ticks_us };
        let (encoding, payload) = encode(&columns);
        let seq = self.next_seq;
        let frame = wire::Frame {
            epoch: self.epoch,
            seq,
            declarations: Vec::new(),
            encoding: encoding.into(),
            payload: payload.into(),
            first_us,
            last_us: columns.ticks_us.last().copied().unwrap_or(first_us),
            ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
            backfill: false,
        };
        self.next_seq += 1;
        self.ticks += ticks as u64;
        self.newest_us = self.newest_us.max(Some(frame.last_us));
        self.waiting.insert(seq, frame);
        seq
    }

    /// What the host finds on its disk when it is started again after it was killed: the last `forgotten` frames that were
    /// acknowledged wait once more, since their removal had not got there, and sequences go on in a range of their own.
    pub fn reopen(&mut self, forgotten: usize) {
        let again = self.acknowledged.len().saturating_sub(forgotten);
        if let Some(first) = self.acknowledged.keys().nth(again).copied() {
            self.waiting.append(&mut self.acknowledged.split_off(&first));
        }
        self.next_seq += SEQUENCES_OF_A_LIFE;
    }

    /// Every series, by id.
    pub fn series(&self) -> impl Iterator<Item = (SeriesId, &Series)> {
        (0..).zip(&self.series)
    }

    /// How its values are made.
    #[must_use]
    pub fn values(&self) -> Values {
        self.values
    }

    /// The time of its newest tick, in microseconds since the epoch.
    #[must_use]
    pub fn newest_us(&self) -> Option<i64> {
        self.newest_us
    }

    /// When the ticks of every frame were made, in microseconds since the epoch, ascending.
    #[must_use]
    pub fn made_us(&self) -> Vec<i64> {
        let frames = self.acknowledged.values().chain(self.waiting.values());
        let mut made: Vec<_> = frames
            .flat_map(|frame| (0..i64::from(frame.ticks)).map(|tick| frame.first_us + tick * 1_000_000))
            .collect();
        made.sort_unstable();
        made
    }

    /// Every series as it is declared at the start of a session.
    #[must_use]
    pub fn declarations(&self) -> Vec<wire::SeriesDeclaration> {
        (0..).zip(&self.series).map(|(id, series)| series.declare(id)).collect()
    }

    /// The first frames that wait and are not in `sent`.
    #[must_use]
    pub fn to_send(&self, sent: &BTreeSet<u64>, most: usize) -> Vec<wire::Frame> {
        self.waiting.values().filter(|frame| !sent.contains(&frame.seq)).take(most).cloned().collect()
    }

    /// Takes note of an acknowledgement.
    pub fn acknowledge(&mut self, ack: &wire::FrameAck) {
        for seq in ack.ranges.iter().flat_map(|range| range.first..=range.last) {
            match self.waiting.remove(&seq) {
                Some(frame) if ack.epoch == self.epoch => {
                    self.acknowledged.insert(seq, frame);
                }
                None if ack.epoch == self.epoch && self.acknowledged.contains_key(&seq) => {}
                _ => self.strange_acknowledgements.push(seq),
            }
        }
    }

    /// Does what a host does with a command: starts it once, and says so again as often as it is asked.
    pub fn deliver(&mut self, command_id: &str, at_us: i64) -> Vec<wire::CommandUpdate> {
        let command = self.commands.entry(command_id.to_owned()).or_insert_with(|| CommandHistory {
            started: 1,
            updates: updates_of(command_id, at_us),
            acknowledged_through: 0,
        });
        command.waiting()
    }

    /// Updates that wait for their acknowledgement.
    #[must_use]
    pub fn waiting_updates(&self) -> Vec<wire::CommandUpdate> {
        self.commands.values().flat_map(CommandHistory::waiting).collect()
    }

    /// Takes note of an acknowledgement.
    pub fn acknowledge_command(&mut self, ack: &wire::CommandAck) {
        if let Some(command) = self.commands.get_mut(&ack.command_id) {
            command.acknowledged_through = command.acknowledged_through.max(ack.seq);
        }
    }

    /// How many frames and updates wait.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.waiting.len() + self.waiting_updates().len()
    }

    /// Seconds of samples made so far.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Acknowledged frames by sequence.
    #[must_use]
    pub fn acknowledged(&self) -> &BTreeMap<u64, wire::Frame> {
        &self.acknowledged
    }

    /// Frames that are not acknowledged, by sequence.
    #[must_use]
    pub fn waiting(&self) -> &BTreeMap<u64, wire::Frame> {
        &self.waiting
    }

    /// Commands by id.
    #[must_use]
    pub fn commands(&self) -> &BTreeMap<String, CommandHistory> {
        &self.commands
    }

    /// Sequences acknowledged that were never sent.
    #[must_use]
    pub fn strange_acknowledgements(&self) -> &[u64] {
        &self.strange_acknowledgements
    }
}

impl CommandHistory {
    fn waiting(&self) -> Vec<wire::CommandUpdate> {
        self.updates.iter().filter(|update| update.seq > self.acknowledged_through).cloned().collect()
    }
}

fn updates_of(command_id: &str, at_us: i64) -> Vec<wire::CommandUpdate> {
    let finished = wire::Finished {
        outcome: wire::CommandOutcome::Failed.into(),
        code: "simulated".to_owned(),
        detail: "this host only simulates".to_owned(),
        result: None::<finished::Result>,
        receipt: None,
    };
    let steps = [
        command_update::Kind::Received(wire::Received {}),
        command_update::Kind::Started(wire::Started::default()),
        command_update::Kind::Finished(finished),
    ];
    (1..)
        .zip(steps)
        .map(|(seq, kind)| wire::CommandUpdate { command_id: command_id.to_owned(), seq, at_us, kind: Some(kind) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(epoch: u64, first: u64, last: u64) -> wire::FrameAck {
        wire::FrameAck { epoch, ranges: vec![wire::SeqRange { first, last }] }
    }

    #[test]
    fn what_is_acknowledged_is_remembered_and_sent_no_more() {
        let mut history = History::new(7, 12, Values::Plain);
        for second in 0..3 {
            history.sample(second * 1_000_000, 1);
        }
        history.acknowledge(&ack(7, 1, 2));
        let waiting = history.to_send(&BTreeSet::new(), 10);
        assert_eq!(waiting.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [3]);
        assert_eq!(history.acknowledged().len(), 2);
        assert!(history.strange_acknowledgements().is_empty());
    }

    #[test]
    fn a_killed_host_sends_again_what_it_forgot_was_acknowledged() {
        let mut history = History::new(7, 12, Values::Plain);
        for second in 0..4 {
            history.sample(second * 1_000_000, 1);
        }
        history.acknowledge(&ack(7, 1, 3));
        history.reopen(2);
        let waiting = history.to_send(&BTreeSet::new(), 10);
        assert_eq!(waiting.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(history.sample(4_000_000, 1), 5 + SEQUENCES_OF_A_LIFE);
        history.acknowledge(&ack(7, 2, 4));
        history.reopen(9);
        assert_eq!(history.made_us(), [0, 1, 2, 3, 4].map(|second| second * 1_000_000));
        assert!(history.strange_acknowledgements().is_empty());
    }

    #[test]
    fn acknowledgements_of_nothing_are_noticed() {
        let mut history = History::new(7, 12, Values::Plain);
        history.acknowledge(&ack(7, 5, 5));
        assert_eq!(history.strange_acknowledgements(), [5]);
    }

    #[test]
    fn a_command_is_started_once_however_often_it_comes() {
        let mut history = History::new(7, 12, Values::Plain);
        assert_eq!(history.deliver("c", 1).len(), 3);
        history.acknowledge_command(&wire::CommandAck { command_id: "c".into(), seq: 2 });
        assert_eq!(history.deliver("c", 2).len(), 1);
        assert_eq!(history.commands()["c"].started, 1);
    }
}
