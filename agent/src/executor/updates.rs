//! How many security updates wait. Counting takes seconds of a processor and tens of MiB in the package manager, so it is
//! done beside everything else, and only when its answer may be another: after the package lists or the installed packages
//! changed, and once a day. Until the first count is done the facts say so.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, timeout},
};

use crate::probe::{self, ProbeOptions, UpdatesStamp};

/// How long a count is good for while nothing it depends on changes.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long a failed attempt is not repeated.
const RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Shortest time between two counts that nobody asked for: an upgrade changes the packages for minutes.
const PACE: Duration = Duration::from_secs(300);
/// How long the package manager may take. It runs at the lowest priority.
const COUNT_WITHIN: Duration = Duration::from_secs(120);
/// How long whoever asks waits for a count: on a busy host the lowest priority may get nothing for minutes, and the other
/// facts are wanted as well.
const PATIENCE: Duration = Duration::from_secs(8);
const BEING_COUNTED: &str = "being counted";

type Answer = Result<u32, String>;

/// The last count.
#[derive(Debug, Clone)]
struct Counted {
    answer: Answer,
    stamp: UpdatesStamp,
    at: Instant,
}

/// Knows the count, and renews it. Clones share it.
#[derive(Clone)]
pub(super) struct PendingUpdates {
    last: Arc<Mutex<Option<Counted>>>,
    /// Held while counting.
    counting: Arc<tokio::sync::Mutex<()>>,
    count: Arc<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>,
}

impl Default for PendingUpdates {
    fn default() -> Self {
        Self::counted_by(|| {
            let options = ProbeOptions { program_timeout: COUNT_WITHIN, ..ProbeOptions::default() };
            Box::pin(async move { probe::count_updates(&options).await })
        })
    }
}

impl fmt::Debug for PendingUpdates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PendingUpdates").field("last", &self.last).finish_non_exhaustive()
    }
}

impl PendingUpdates {
    fn counted_by(count: impl Fn() -> BoxFuture<'static, Answer> + Send + Sync + 'static) -> Self {
        Self { last: Arc::default(), counting: Arc::default(), count: Arc::new(count) }
    }

    /// What is known now, at once. Starts a new count where one is due.
    pub(super) fn known(&self) -> Answer {
        let last = self.last();
        if is_due(last.as_ref(), &UpdatesStamp::read(), Instant::now())
            && let Ok(turn) = Arc::clone(&self.counting).try_lock_owned()
        {
            let this = self.clone();
            tokio::spawn(async move { this.count_now(turn).await });
        }
        last.map_or_else(|| Err(BEING_COUNTED.to_owned()), |last| last.answer)
    }

    /// What is true now: counts first where something it depends on changed. Says so where that takes too long; the count
    /// goes on.
    pub(super) async fn current(&self) -> Answer {
        let asked = Instant::now();
        let is_current =
            |last: Counted| last.stamp == UpdatesStamp::read() && (last.answer.is_ok() || last.at >= asked);
        let counted = async {
            if self.last().is_some_and(is_current) {
                return;
            }
            let turn = Arc::clone(&self.counting).lock_owned().await;
            // Whoever had the turn before may have counted just that.
            if self.last().is_some_and(is_current) {
                return;
            }
            let this = self.clone();
            let _ = tokio::spawn(async move { this.count_now(turn).await }).await;
        };
        match timeout(PATIENCE, counted).await {
            Ok(()) => self.known(),
            Err(_) => Err(BEING_COUNTED.to_owned()),
        }
    }

    async fn count_now(&self, _turn: OwnedMutexGuard<()>) {
        let stamp = UpdatesStamp::read();
        let answer = (self.count)().await;
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

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
        let updates = PendingUpdates::counted_by(|| Box::pin(async { Ok(3) }));
        assert_eq!(updates.known(), Err(BEING_COUNTED.to_owned()));
        assert_eq!(updates.current().await, Ok(3));
        assert_eq!(updates.known(), Ok(3), "counted once, told many times");
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_gets_no_processor_is_not_waited_for_and_goes_on() {
        let counts = Arc::new(Semaphore::new(0));
        let begun = Arc::new(AtomicU32::new(0));
        let updates = PendingUpdates::counted_by({
            let (counts, begun) = (Arc::clone(&counts), Arc::clone(&begun));
            move || {
                let (counts, begun) = (Arc::clone(&counts), Arc::clone(&begun));
                Box::pin(async move {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    counts.acquire().await.expect("never closed").forget();
                    Ok(number)
                })
            }
        });
        for _ in 0..2 {
            let asked = Instant::now();
            assert_eq!(updates.current().await, Err(BEING_COUNTED.to_owned()));
            assert_eq!(asked.elapsed(), PATIENCE);
        }
        counts.add_permits(1);
        assert_eq!(updates.current().await, Ok(0), "the first count went on");
        assert_eq!(begun.load(Ordering::Relaxed), 1, "and nobody began another meanwhile");
    }
}
