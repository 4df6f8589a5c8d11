//! Unpacking of what is stored, off the threads that serve.
//!
//! Whoever finds every turn taken waits, and is counted. Nobody is turned away: those who wait are the questions that the edge
//! has let in, with at most eight days or a share of hours each, and all they hold is packed bytes. Who leaves loses nothing
//! but their place.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

use tokio::sync::Semaphore;

use super::{block::Room, seal::computed};
use crate::error::Error;

/// Turns at unpacking: as many as there are processors, whoever asks.
#[derive(Debug, Clone)]
pub(super) struct Unpacking {
    turns: Arc<Semaphore>,
    /// What those who had a turn left: as many as there are turns at most.
    rooms: Arc<Mutex<Vec<Room>>>,
    at_once: usize,
}

impl Default for Unpacking {
    fn default() -> Self {
        let at_once = available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(at_once)), rooms: Arc::default(), at_once }
    }
}

impl Unpacking {
    /// How many turns there are.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }

    /// What `work` answers, in its turn and with room to itself.
    ///
    /// # Errors
    /// [`Error`] when it panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Room) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                metrics::counter!("muster_unpacking_waits_total").increment(1);
                Arc::clone(&self.turns).acquire_owned().await.map_err(Error::internal)?
            }
        };
        // The turn ends with the work, which goes on where nobody waits for it any more.
        let rooms = Arc::clone(&self.rooms);
        computed(move || {
            let _turn = turn;
            let mut room = lock(&rooms).pop().unwrap_or_default();
            let done = work(&mut room);
            lock(&rooms).push(room);
            done
        })
        .await
    }
}

fn lock(rooms: &Mutex<Vec<Room>>) -> MutexGuard<'_, Vec<Room>> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
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
            unpacking.run(move |_| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            })
        });
        let done: Vec<_> = join_all(works).await.into_iter().map(|done| done.expect("done")).collect();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= unpacking.at_once());
        assert!(unpacking.run(|_| panic!("on purpose")).await.is_err());
        assert!(lock(&unpacking.rooms).len() <= unpacking.at_once());
        assert_eq!(unpacking.run(|_| 7).await.expect("its turn came back"), 7);
    }
}
