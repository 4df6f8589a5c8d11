//! Frames that an engine has trouble with, told from an engine in trouble. Pure.
//!
//! An engine that fails every request is in trouble itself, and nothing is lost by waiting. One that takes others between the
//! failures of the same frame has trouble with that frame: Prometheus fails so for samples that are too old for it.

use std::collections::HashMap;

use crate::store::FrameKey;

/// So often a frame fails while others are taken before it counts as poison.
pub const MAX_TRIES: u32 = 5;
/// Most frames remembered; with one more, all of them begin anew.
const MAX_SUSPECTS: usize = 10_000;

/// What failed lately, and how much was taken meanwhile.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    taken: u64,
    tries: HashMap<FrameKey, Tries>,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    count: u32,
    /// What [`Suspects::taken`] was at the last failure.
    taken: u64,
}

impl Suspects {
    /// The engine took something else.
    pub(super) fn note_taken(&mut self) {
        self.taken += 1;
    }

    /// The engine failed for this frame alone. Answers whether that is the frame's fault.
    pub(super) fn is_poison(&mut self, key: FrameKey) -> bool {
        if self.tries.len() >= MAX_SUSPECTS && !self.tries.contains_key(&key) {
            self.tries.clear();
        }
        let taken = self.taken;
        let tries = self.tries.entry(key).or_insert(Tries { count: 0, taken });
        if taken > tries.taken {
            *tries = Tries { count: tries.count + 1, taken };
        }
        let is_poison = tries.count >= MAX_TRIES;
        if is_poison {
            self.tries.remove(&key);
        }
        is_poison
    }

    /// The frame needs no judging any more.
    pub(super) fn forget(&mut self, key: FrameKey) {
        self.tries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::id::ServerId;

    use super::*;

    fn key(seq: u64) -> FrameKey {
        FrameKey { server: ServerId::generate(), epoch: 1, seq }
    }

    #[test]
    fn an_engine_in_trouble_costs_no_frame() {
        let (mut suspects, frame) = (Suspects::default(), key(1));
        suspects.note_taken();
        assert!((0..1_000).all(|_| !suspects.is_poison(frame)), "nothing else was taken since it failed first");
    }

    #[test]
    fn a_frame_that_fails_while_others_are_taken_is_poison() {
        let (mut suspects, frame) = (Suspects::default(), key(1));
        let mut failures = 0;
        while !suspects.is_poison(frame) {
            failures += 1;
            suspects.note_taken();
        }
        assert_eq!(failures, MAX_TRIES);
        assert!(!suspects.is_poison(frame), "and is judged anew when it comes again");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut suspects = Suspects::default();
        for seq in 0..=MAX_SUSPECTS as u64 {
            suspects.is_poison(key(seq));
        }
        assert_eq!(suspects.tries.len(), 1);
    }
}
