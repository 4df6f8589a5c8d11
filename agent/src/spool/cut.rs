//! Cuts ticks into frames: ten ticks a frame while nobody watches, one while somebody does. Pure.

use std::collections::BTreeMap;

use muster_shared::metric::{Columns, MAX_TICKS_PER_FRAME, SeriesId};

use crate::sample::Tick;

/// Ticks in a frame while nobody watches.
pub const TICKS_PER_FRAME: usize = 10;
/// Frames of one tick after a cut was asked for, so that a fresh session shows rates within seconds.
const EAGER_FRAMES: usize = 3;

/// Collects ticks until a frame is due.
#[derive(Debug, Default)]
pub struct Cutter {
    ticks: Vec<Tick>,
    live: bool,
    eager: usize,
}

impl Cutter {
    /// Says whether somebody watches.
    pub fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// Makes the next few ticks frames of their own.
    pub fn hurry(&mut self) {
        self.eager = EAGER_FRAMES;
    }

    /// How many ticks wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ticks.len()
    }

    /// Whether `tick` can't join the waiting ones: time stood still or went back, or the frame is full.
    #[must_use]
    pub fn must_cut_before(&self, tick: &Tick) -> bool {
        self.ticks.last().is_some_and(|last| tick.at_us <= last.at_us) || self.ticks.len() >= MAX_TICKS_PER_FRAME
    }

    /// Adds `tick`; call [`Self::must_cut_before`] first.
    pub fn push(&mut self, tick: Tick) {
        self.ticks.push(tick);
    }

    /// Whether a frame is due.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.ticks.is_empty() && (self.live || self.eager > 0 || self.ticks.len() >= TICKS_PER_FRAME)
    }

    /// Takes what waits as columns, the source's numbers turned into ids by `id`; values without an id are left out.
    /// `None` when no tick waits.
    pub fn take(&mut self, id: impl Fn(u32) -> Option<SeriesId>) -> Option<Columns> {
        if self.ticks.is_empty() {
            return None;
        }
        self.eager = self.eager.saturating_sub(1);
        let ticks = std::mem::take(&mut self.ticks);
        let mut columns: BTreeMap<u32, Vec<Option<i64>>> = BTreeMap::new();
        for (at, tick) in ticks.iter().enumerate() {
            for (number, value) in &tick.values {
                let column = columns.entry(*number).or_default();
                column.resize(at, None);
                column.push(Some(*value));
            }
        }
        let values = columns.into_iter().filter_map(|(number, mut column)| {
            column.resize(ticks.len(), None);
            Some((id(number)?, column))
        });
        let mut values: Vec<_> = values.collect();
        values.sort_unstable_by_key(|(id, _)| *id);
        Some(Columns { ticks_us: ticks.iter().map(|tick| tick.at_us).collect(), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at_us: i64, values: &[(u32, i64)]) -> Tick {
        Tick { at_us, values: values.to_vec(), declared: Vec::new() }
    }

    #[test]
    fn ten_ticks_make_a_frame_and_one_when_watched() {
        let mut cutter = Cutter::default();
        for second in 1..=9 {
            cutter.push(tick(second, &[(0, second)]));
            assert!(!cutter.is_due());
        }
        cutter.set_live(true);
        assert!(cutter.is_due());
        cutter.set_live(false);
        cutter.push(tick(10, &[(0, 10)]));
        assert!(cutter.is_due());
        assert_eq!(cutter.take(Some).expect("a frame").ticks_us.len(), 10);
        assert!(cutter.take(Some).is_none());
    }

    #[test]
    fn series_that_come_and_go_leave_holes() {
        let mut cutter = Cutter::default();
        cutter.push(tick(1, &[(0, 5)]));
        cutter.push(tick(2, &[(1, 6)]));
        cutter.push(tick(3, &[(0, 7), (2, 1)]));
        let columns = cutter.take(|number| (number < 2).then_some(9 - number)).expect("a frame");
        assert_eq!(
            columns.values,
            vec![(8, vec![None, Some(6), None]), (9, vec![Some(5), None, Some(7)])],
            "ids ascend whatever the numbers"
        );
    }

    #[test]
    fn a_clock_that_steps_back_starts_a_new_frame() {
        let mut cutter = Cutter::default();
        cutter.push(tick(5, &[]));
        assert!(cutter.must_cut_before(&tick(5, &[])));
        assert!(cutter.must_cut_before(&tick(-5, &[])));
        assert!(!cutter.must_cut_before(&tick(6, &[])));
    }

    #[test]
    fn after_a_hurry_three_ticks_go_alone() {
        let mut cutter = Cutter::default();
        cutter.hurry();
        for second in 1..=3 {
            cutter.push(tick(second, &[]));
            assert!(cutter.is_due());
            cutter.take(Some);
        }
        cutter.push(tick(4, &[]));
        assert!(!cutter.is_due());
    }
}
