//! Chance that can be had again: numbers of a seed. Pure.

use std::time::Duration;

use crate::fleet::mixed;

/// Throws, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    /// The same throws for the same seed.
    #[must_use]
    pub(super) fn of(seed: u64) -> Self {
        Self { seed: mixed(seed), thrown: 0 }
    }

    fn throw(&mut self) -> u64 {
        self.thrown += 1;
        mixed(self.seed ^ mixed(self.thrown))
    }

    /// A whole number below `count`; 0 where that is 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.throw() % (count as u64).max(1)).unwrap_or_default()
    }

    /// A duration up to `longest`.
    pub(super) fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.throw() as f64 / u64::MAX as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_throws_the_same_again_and_every_number_comes() {
        let throws = |seed| {
            let mut dice = Dice::of(seed);
            (0..200).map(|_| dice.below(5)).collect::<Vec<_>>()
        };
        assert_eq!(throws(1), throws(1));
        assert_ne!(throws(1), throws(2));
        assert!((0..5).all(|number| throws(1).contains(&number)));
        assert!(Dice::of(1).up_to(Duration::from_secs(1)) <= Duration::from_secs(1));
    }
}
