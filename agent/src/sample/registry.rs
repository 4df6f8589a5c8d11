//! Which series exist, under which ids.
//!
//! Ids count up and are never used again. At most a fixed number of series is alive; a series beyond that is refused
//! and counted, and its values are not taken. The host's own series come first, then containers in the order they
//! were found, so what is refused is the youngest.

use muster_shared::metric::{Series, SeriesId};

use super::{Tick, metric::Metric};

/// A place for the id of one series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Slot {
    #[default]
    Undeclared,
    Declared(SeriesId),
    /// There was no room for it.
    Refused,
}

/// Takes values and declares their series.
#[derive(Debug)]
pub(super) struct Registry {
    next: SeriesId,
    alive: usize,
    limit: usize,
    refused: u64,
    declared: Vec<(SeriesId, Series)>,
    values: Vec<(SeriesId, i64)>,
}

impl Registry {
    pub(super) fn new(limit: usize) -> Self {
        Self { next: 1, alive: 0, limit, refused: 0, declared: Vec::new(), values: Vec::new() }
    }

    /// Takes `value` for the series in `slot`, declaring it first where that was not done yet.
    pub(super) fn put(&mut self, slot: &mut Slot, metric: &Metric, labels: &[&str], value: i64) {
        if *slot == Slot::Undeclared {
            *slot = self.declare(metric, labels);
        }
        if let Slot::Declared(id) = *slot {
            self.values.push((id, value));
        }
    }

    fn declare(&mut self, metric: &Metric, labels: &[&str]) -> Slot {
        if self.alive >= self.limit || self.next == SeriesId::MAX {
            self.refused += 1;
            return Slot::Refused;
        }
        let id = self.next;
        self.next += 1;
        self.alive += 1;
        self.declared.push((id, metric.series(labels)));
        Slot::Declared(id)
    }

    /// Gives up these series: what they measured is gone.
    pub(super) fn retire(&mut self, slots: &mut [Slot]) {
        for slot in slots {
            if matches!(slot, Slot::Declared(_)) {
                self.alive -= 1;
            }
            *slot = Slot::Undeclared;
        }
    }

    /// Lets series that were refused try again, where there is room.
    pub(super) fn reconsider(&self, slots: &mut [Slot]) {
        if self.alive < self.limit {
            for slot in slots.iter_mut().filter(|slot| **slot == Slot::Refused) {
                *slot = Slot::Undeclared;
            }
        }
    }

    /// Series refused for want of room, since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// What was taken and declared since the last call, as the tick at `at_us`.
    pub(super) fn finish(&mut self, at_us: i64) -> Tick {
        let capacity = self.values.len();
        let mut values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        values.sort_unstable_by_key(|(id, _)| *id);
        Tick { at_us, values, declared: std::mem::take(&mut self.declared) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: Metric = Metric::gauge("host_things", 0, &["thing"], "Things.");

    #[test]
    fn ids_are_never_used_again_and_the_limit_holds() {
        let mut registry = Registry::new(2);
        let mut slots = [Slot::default(); 3];
        for (slot, label) in slots.iter_mut().zip(["a", "b", "c"]) {
            registry.put(slot, &METRIC, &[label], 7);
        }
        assert_eq!(slots[2], Slot::Refused);
        registry.reconsider(&mut slots);
        assert_eq!((registry.refused(), slots[2]), (1, Slot::Refused));
        let Tick { values, declared, .. } = registry.finish(0);
        assert_eq!(values, [(1, 7), (2, 7)]);
        assert_eq!(declared[1].1.labels["thing"], "b");

        registry.retire(&mut slots);
        registry.put(&mut slots[0], &METRIC, &["a"], 8);
        let Tick { values, declared, .. } = registry.finish(0);
        assert_eq!((values, declared[0].0), (vec![(3, 8)], 3));
    }
}
