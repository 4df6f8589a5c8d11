//! How many security updates wait. Counting takes seconds of a processor and tens of MiB in the package manager, so it is
//! done beside everything else, and only when its answer may be another: after the package lists or the installed packages
//! changed, and once a day. Until the first count is done the facts say so.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::probe::{self, ProbeOptions, UpdatesStamp};

/// How long a count is good for while nothing it depends on changes.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long a failed attempt is not repeated.
const RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Shortest time between two counts that nobody asked for: an upgrade changes the packages for minutes.
const PACE: Duration = Duration::from_secs(300);
/// How long the package manager may take. It runs at the lowest priority.
const COUNT_WITHIN: Duration = Duration::from_secs(120);

/// The last count.
#[derive(Debug, Clone)]
struct Counted {
    answer: Result<u32, String>,
    stamp: UpdatesStamp,
    at: Instant,
}

/// Knows the count, and renews it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingUpdates {
    last: Arc<Mutex<Option<Counted>>>,
    /// Held while counting.
    counting: Arc<tokio::sync::Mutex<()>>,
}

impl PendingUpdates {
    /// What is known now, at once. Starts a new count where one is due.
    pub(super) fn known(&self) -> Result<u32, String> {
        let last = self.last();
        if is_due(last.as_ref(), &UpdatesStamp::read(), Instant::now()) {
            let this = self.clone();
            tokio::spawn(async move { this.count().await });
        }
        last.map_or_else(|| Err("being counted".to_owned()), |last| last.answer)
    }

    /// What is true now: counts first where something it depends on changed.
    pub(super) async fn current(&self) -> Result<u32, String> {
        let is_current = |last: Counted| last.answer.is_ok() && last.stamp == UpdatesStamp::read();
        if !self.last().is_some_and(is_current) {
            let _turn = self.counting.lock().await;
            self.count_now().await;
        }
        self.known()
    }

    /// Counts, unless somebody does already.
    async fn count(&self) {
        let Ok(_turn) = self.counting.try_lock() else { return };
        self.count_now().await;
    }

    async fn count_now(&self) {
        let stamp = UpdatesStamp::read();
        let options = ProbeOptions { program_timeout: COUNT_WITHIN, ..ProbeOptions::default() };
        let answer = probe::count_updates(&options).await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Counted { answer, stamp, at: Instant::now() });
    }

    fn last(&self) -> Option<Counted> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether to count anew, nobody having asked.
fn is_due(last: Option<&Counted>, stamp: &UpdatesStamp, now: Instant) -> bool {
    let Some(last) = last else { return true };
    let age = now.duration_since(last.at);
    let good_for = if last.answer.is_ok() { GOOD_FOR } else { RETRY_AFTER };
    age >= good_for || (age >= PACE && *stamp != last.stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(answer: Result<u32, String>, changed: bool, age_seconds: u64) -> bool {
        let at = Instant::now();
        let last = Counted { answer, stamp: UpdatesStamp::default(), at };
        let stamp =
            if changed { UpdatesStamp::of([Some(std::time::SystemTime::UNIX_EPOCH)]) } else { last.stamp.clone() };
        is_due(Some(&last), &stamp, at + Duration::from_secs(age_seconds))
    }

    #[test]
    fn a_count_is_renewed_when_it_may_be_another_and_no_sooner() {
        assert!(is_due(None, &UpdatesStamp::default(), Instant::now()));
        assert!(!due(Ok(3), false, 23 * 3600));
        assert!(due(Ok(3), false, 24 * 3600));
        assert!(due(Ok(3), true, 300));
    }

    #[test]
    fn changes_and_failures_keep_a_pace() {
        assert!(!due(Ok(3), true, 299), "an upgrade that goes on changes the packages all the time");
        assert!(!due(Err("timed out".into()), false, 3599), "what took too long is not tried each minute");
        assert!(due(Err("timed out".into()), false, 3600));
        assert!(due(Err("no lists".into()), true, 300), "lists that came meanwhile are read soon");
    }

    #[tokio::test]
    async fn the_answer_is_there_at_once_and_the_count_follows() {
        let updates = PendingUpdates::default();
        assert_eq!(updates.known(), Err("being counted".to_owned()));
        let current = updates.current().await;
        assert_ne!(current, Err("being counted".to_owned()));
        assert_eq!(updates.known(), current, "counted once, told many times");
    }
}
