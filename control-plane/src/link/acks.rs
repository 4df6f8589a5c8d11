//! Acknowledgements waiting for room in the stream, in as few ranges as possible. Pure.
//!
//! They are never dropped: what is waiting is bounded by the frames a host may have in flight.

use std::collections::{BTreeMap, BTreeSet};

use muster_shared::wire;

/// Sequences to acknowledge, by epoch.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: BTreeMap<u64, BTreeSet<u64>>,
}

impl Acks {
    pub(super) fn add(&mut self, epoch: u64, seq: u64) {
        self.waiting.entry(epoch).or_default().insert(seq);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The acknowledgement of one epoch's frames.
    pub(super) fn take(&mut self) -> Option<wire::FrameAck> {
        let (epoch, sequences) = self.waiting.pop_first()?;
        let mut ranges: Vec<wire::SeqRange> = Vec::new();
        for seq in sequences {
            match ranges.last_mut() {
                Some(range) if range.last.checked_add(1) == Some(seq) => range.last = seq,
                _ => ranges.push(wire::SeqRange { first: seq, last: seq }),
            }
        }
        Some(wire::FrameAck { epoch, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range_whatever_their_order() {
        let mut acks = Acks::default();
        for seq in [5, 3, 4, 9, u64::MAX, 3] {
            acks.add(1, seq);
        }
        acks.add(2, 0);
        let ranges = |ack: wire::FrameAck| ack.ranges.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>();
        assert_eq!(ranges(acks.take().expect("epoch 1")), [(3, 5), (9, 9), (u64::MAX, u64::MAX)]);
        assert_eq!(ranges(acks.take().expect("epoch 2")), [(0, 0)]);
        assert!(acks.is_empty() && acks.take().is_none());
    }
}
