//! Unpacking of what is stored, off the threads that serve.
//!
//! Whoever finds every turn taken waits, and is counted. Nobody is turned away: those who wait are the questions that the edge
//! has let in, with at most eight days or a share of hours each, and all they hold is packed bytes. Who leaves loses nothing
//! but their place.

use std::{sync::Arc, thread::available_parallelism};

use tokio::sync::Semaphore;

use super::seal::computed;
use crate::error::Error;

/// Turns at unpacking: as many as there are processors, whoever asks.
#[derive(Debug, Clone)]
pub(super) struct Unpacking {
    turns: Arc<Semaphore>,
    at_once: usize,
}

impl Default for Unpacking {
    fn default() -> Self {
        let at_once = available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(at_once)), at_once }
    }
}

impl Unpacking {
    /// How many turns there are.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }

    /// What `work` answers, in its turn.
    ///
    /// # Errors
    /// [`Error`] when it panics.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let turn = match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                metrics::counter!("muster_unpacking_waits_total").increment(1);
                Arc::clone(&self.turns).acquire_owned().await.map_err(Error::internal)?
            }
        };
        // The turn ends with the work, which goes on where nobody waits for it any more.
        computed(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn no_more_is_unpacked_at_once_than_there_are_processors() {
        let (unpacking, running, most) =
            (Unpacking::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..100).map(|number| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            unpacking.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            })
        });
        let done: Vec<_> = join_all(works).await.into_iter().map(|done| done.expect("done")).collect();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= unpacking.at_once());
        assert!(unpacking.run(|| panic!("on purpose")).await.is_err());
        assert_eq!(unpacking.run(|| 7).await.expect("its turn came back"), 7);
    }
}
