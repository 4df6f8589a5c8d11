//! The newest [`KEPT`] of something numbered from 1. Pure.

use std::collections::VecDeque;

/// How many are kept. A reader that falls further behind has to start over.
pub const KEPT: usize = 1024;

/// The newest of what was put in, by number.
#[derive(Debug)]
pub(super) struct Ring<T> {
    /// The number of the oldest that is kept.
    first: u64,
    kept: VecDeque<T>,
}

/// What comes after a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// The one with the following number.
    Entry(T),
    /// Nothing yet.
    Nothing,
    /// It is no longer kept, or the number was never given out.
    Gone,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { first: 1, kept: VecDeque::new() }
    }
}

impl<T: Clone> Ring<T> {
    /// Puts `entry` in and answers its number.
    pub(super) fn push(&mut self, entry: T) -> u64 {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.first += 1;
        }
        self.kept.push_back(entry);
        self.last()
    }

    /// The newest number; 0 before the first.
    #[must_use]
    pub(super) fn last(&self) -> u64 {
        self.first + self.kept.len() as u64 - 1
    }

    /// What follows number `seq`.
    #[must_use]
    pub(super) fn after(&self, seq: u64) -> Next<T> {
        if seq == self.last() {
            return Next::Nothing;
        }
        let at = seq.checked_add(1).and_then(|next| next.checked_sub(self.first));
        let entry = at.and_then(|at| self.kept.get(usize::try_from(at).ok()?));
        entry.map_or(Next::Gone, |entry| Next::Entry(entry.clone()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_ring_has_nothing_and_never_had() {
        let ring = Ring::<u8>::default();
        assert_eq!((ring.last(), ring.after(0), ring.after(1)), (0, Next::Nothing, Next::Gone));
    }

    proptest! {
        /// A reader that starts anywhere sees every later number once, in order, or learns that it can't.
        #[test]
        fn nothing_is_skipped_or_doubled(count in 0_u64..3000, from in 0_u64..3100) {
            let mut ring = Ring::default();
            for number in 1..=count {
                prop_assert_eq!(ring.push(number), number);
            }
            let oldest = count.saturating_sub(KEPT as u64);
            let mut at = from;
            let mut read = Vec::new();
            let end = loop {
                match ring.after(at) {
                    Next::Entry(number) => {
                        at += 1;
                        read.push(number);
                    }
                    end => break end,
                }
            };
            if (oldest..=count).contains(&from) {
                prop_assert_eq!(end, Next::Nothing);
                prop_assert_eq!(read, (from + 1..=count).collect::<Vec<_>>());
            } else {
                prop_assert_eq!(end, Next::Gone);
                prop_assert!(read.is_empty());
            }
            prop_assert_eq!(ring.after(u64::MAX), Next::Gone);
        }
    }
}
