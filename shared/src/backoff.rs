//! When to try again: exponential with full jitter, so that a thousand hosts don't return in step. Pure.

use std::time::Duration;

/// Exponential backoff between `min` and `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// A backoff whose first delay is at most `min` and whose later ones double up to `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// The delay after one more failure; `dice` is uniform in 0..=1. Never less than half of the full delay, so a
    /// refusing server is not hammered.
    pub fn failed(&mut self, dice: f64) -> Duration {
        let full = self.min.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
    }

    /// Starts over after a success.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        assert_eq!(backoff.failed(1.0), Duration::from_millis(200));
        assert_eq!(backoff.failed(1.0), Duration::from_millis(400));
        assert_eq!(backoff.failed(0.0), Duration::from_millis(400));
        for _ in 0..100 {
            assert!(backoff.failed(1.0) <= Duration::from_secs(10));
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(1.0), Duration::from_millis(200));
    }
}
