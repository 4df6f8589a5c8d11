//! How fast one host may speak. Pure.
//!
//! A host that speaks faster is not refused: its stream is read more slowly, and it keeps what it could not send.

use std::time::Duration;

/// Messages a second, and how many may come at once: a host that was away sends its backlog as a burst.
const MESSAGES_PER_SECOND: f64 = 100.0;
const MESSAGE_BURST: f64 = 2000.0;
/// Bytes a second, and how many may come at once.
const BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0;
const BYTE_BURST: f64 = 64.0 * 1024.0 * 1024.0;

/// What a host has left to say, as two token buckets.
#[derive(Debug)]
pub(super) struct Budget {
    messages: f64,
    bytes: f64,
    filled_at_us: i64,
}

impl Budget {
    pub(super) fn full(now_us: i64) -> Self {
        Self { messages: MESSAGE_BURST, bytes: BYTE_BURST, filled_at_us: now_us }
    }

    /// Takes a message of `bytes` from the budget; answers how long to wait before the next one is read.
    pub(super) fn take(&mut self, bytes: usize, now_us: i64) -> Option<Duration> {
        // A clock that was set back refills nothing.
        let elapsed_seconds = now_us.saturating_sub(self.filled_at_us).max(0) as f64 / 1e6;
        self.filled_at_us = now_us;
        self.messages = (self.messages + elapsed_seconds * MESSAGES_PER_SECOND).min(MESSAGE_BURST) - 1.0;
        self.bytes = (self.bytes + elapsed_seconds * BYTES_PER_SECOND).min(BYTE_BURST) - bytes as f64;
        let debt_seconds = (-self.messages / MESSAGES_PER_SECOND).max(-self.bytes / BYTES_PER_SECOND);
        (debt_seconds > 0.0).then(|| Duration::from_secs_f64(debt_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_slows_to_the_rate() {
        let mut budget = Budget::full(0);
        let mut waited = Duration::ZERO;
        let mut now_us = 0;
        for _ in 0..(MESSAGE_BURST as usize) {
            assert_eq!(budget.take(100, now_us), None);
        }
        for _ in 0..1000 {
            if let Some(wait) = budget.take(100, now_us) {
                waited += wait;
                now_us += i64::try_from(wait.as_micros()).expect("short") + 1;
            }
        }
        let seconds = waited.as_secs_f64();
        assert!((9.0..11.0).contains(&seconds), "1000 messages at 100 a second took {seconds} s");
    }

    #[test]
    fn bytes_count_too_and_a_clock_set_back_gives_nothing() {
        let mut budget = Budget::full(1_000_000);
        assert_eq!(budget.take(64 << 20, 1_000_000), None);
        assert!(budget.take(4 << 20, 0).expect("in debt") >= Duration::from_millis(990));
    }
}
