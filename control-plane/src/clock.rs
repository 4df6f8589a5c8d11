//! Where the time comes from. Decisions take it as an argument; only the shells around them ask this clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// A clock that answers microseconds since the Unix epoch, UTC. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    set: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now_us` until it is advanced.
    #[must_use]
    pub fn standing_at(now_us: i64) -> Self {
        Self { set: Some(Arc::new(AtomicI64::new(now_us))) }
    }

    /// Moves a standing clock; the system's clock moves by itself.
    pub fn advance(&self, by_us: i64) {
        if let Some(set) = &self.set {
            set.fetch_add(by_us, Ordering::SeqCst);
        }
    }

    /// Now.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        match &self.set {
            Some(set) => set.load(Ordering::SeqCst),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_moves_only_when_told() {
        let clock = Clock::standing_at(5);
        clock.clone().advance(2);
        assert_eq!(clock.now_us(), 7);
        assert!(Clock::system().now_us() > 1_600_000_000_000_000);
    }
}
