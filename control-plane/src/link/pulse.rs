//! Whether the program at the other end still answers, beyond its kernel. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Between one answer and the next question.
const EVERY: Duration = Duration::from_secs(60);
/// How long an answer may take while the stream is being read.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Send a ping with this nonce.
    Ask(u64),
    /// Nothing, before [`Pulse::next_look`].
    Wait,
    /// Nobody is there.
    Dead,
}

/// Pings and their answers.
#[derive(Debug)]
pub(super) struct Pulse {
    nonce: u64,
    asked: Option<Instant>,
    next: Instant,
}

impl Pulse {
    pub(super) fn start(now: Instant) -> Self {
        Self { nonce: 0, asked: None, next: now }
    }

    /// `reading_since` is since when the stream is being read without pause: an answer can't come before it is read.
    pub(super) fn beat(&mut self, now: Instant, reading_since: Option<Instant>) -> Beat {
        match (self.asked, reading_since) {
            _ if now < self.next_look(now, reading_since) => Beat::Wait,
            (Some(_), _) => Beat::Dead,
            (None, _) => {
                self.nonce += 1;
                self.asked = Some(now);
                Beat::Ask(self.nonce)
            }
        }
    }

    /// When [`Self::beat`] is worth asking again.
    pub(super) fn next_look(&self, now: Instant, reading_since: Option<Instant>) -> Instant {
        match (self.asked, reading_since) {
            (Some(asked), Some(reading)) => asked.max(reading) + PATIENCE,
            (Some(_), None) => now + PATIENCE,
            (None, _) => self.next,
        }
    }

    /// The round trip, if this answers the last question.
    pub(super) fn answered(&mut self, nonce: u64, now: Instant) -> Option<Duration> {
        let asked = self.asked.filter(|_| nonce == self.nonce)?;
        self.asked = None;
        self.next = now + EVERY;
        Some(now.duration_since(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_death_only_while_somebody_listens() {
        let start = Instant::now();
        let mut pulse = Pulse::start(start);
        assert_eq!(pulse.beat(start, Some(start)), Beat::Ask(1));
        assert_eq!(pulse.beat(start, Some(start)), Beat::Wait);
        assert_eq!(pulse.next_look(start, Some(start)), start + PATIENCE);
        let late = start + 10 * PATIENCE;
        assert_eq!(pulse.beat(late, None), Beat::Wait, "not reading");
        assert_eq!(pulse.beat(late, Some(late)), Beat::Wait, "reading again just now");
        assert_eq!(pulse.beat(late + PATIENCE, Some(late)), Beat::Dead);
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let start = Instant::now();
        let mut pulse = Pulse::start(start);
        assert_eq!(pulse.beat(start, Some(start)), Beat::Ask(1));
        assert_eq!(pulse.answered(7, start), None);
        let later = start + Duration::from_millis(5);
        assert_eq!(pulse.answered(1, later), Some(Duration::from_millis(5)));
        assert_eq!(pulse.answered(1, later), None, "a second time");
        assert_eq!(pulse.beat(later, Some(start)), Beat::Wait);
        assert_eq!(pulse.next_look(later, Some(start)), later + EVERY);
    }
}
