//! What just happened, for whoever is watching.
//!
//! An event is a hint that something changed; the store is the truth. There are two ways to read:
//!
//! - [`Subscription`]: everything as it happens, for the control plane's own use. The channel holds [`CAPACITY`] events;
//!   a watcher that falls further behind loses the oldest, is told how many ([`Missed`]) and reads the store again.
//! - [`Reader`]: one organisation's events by number, for people's dashboards. The newest [`KEPT`] of each organisation
//!   are kept, readers hold a place in them and nothing else, so that a slow one costs nothing and one that was away goes
//!   on where it stopped. Whoever falls off the end is told so ([`Read::Lost`]), is counted, and reads the store again.

mod kind;
mod position;
mod reader;
mod ring;

pub use kind::{EventKind, Telling};
pub use position::{InvalidPosition, Position};
pub use reader::{MAX_READERS, Read, Reader, Start, TooManyReaders};
pub use ring::KEPT;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_shared::id::{OrgId, ServerId};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use ring::Ring;

/// Events kept for slow watchers.
pub const CAPACITY: usize = 4096;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    pub org_id: OrgId,
    /// What it happened to, where that is a server or is on one.
    pub server_id: Option<ServerId>,
    pub kind: EventKind,
}

/// How many events a watcher lost by being slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

/// The way events take from nouns to watchers. Clones share it.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    /// Names this process's numbers.
    epoch: u64,
    logs: Arc<Mutex<HashMap<OrgId, Log>>>,
}

/// One organisation's numbered events.
#[derive(Debug)]
struct Log {
    ring: Ring<Event>,
    /// The newest number.
    newest: watch::Sender<u64>,
    readers: usize,
    /// Those of them who want samples.
    samplers: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self { ring: Ring::default(), newest: watch::Sender::new(0), readers: 0, samplers: 0 }
    }
}

impl Default for Events {
    fn default() -> Self {
        let (_, epoch) = Uuid::new_v4().as_u64_pair();
        Self { sender: broadcast::Sender::new(CAPACITY), epoch, logs: Arc::default() }
    }
}

impl Events {
    /// Tells every watcher. Nobody watching is fine.
    pub fn publish(&self, org_id: OrgId, server_id: impl Into<Option<ServerId>>, kind: EventKind) {
        let event = Event { org_id, server_id: server_id.into(), kind };
        if event.kind.telling() == Telling::Kept {
            let mut logs = self.logs();
            let log = logs.entry(org_id).or_default();
            let seq = log.ring.push(event.clone());
            log.newest.send_replace(seq);
        }
        let _ = self.sender.send(event);
    }

    /// Watches from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }

    /// How many are watching.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Whether somebody reads the samples of all of an organisation's servers.
    #[must_use]
    pub fn wants_samples(&self, org: OrgId) -> bool {
        self.logs().get(&org).is_some_and(|log| log.samplers > 0)
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<OrgId, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watcher's view.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Event>,
}

impl Subscription {
    /// The next event, or how many were missed; `None` once nobody can publish any more.
    pub async fn next(&mut self) -> Option<Result<Event, Missed>> {
        match self.receiver.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                metrics::counter!("muster_events_missed_total").increment(count);
                Some(Err(Missed(count)))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_watcher_learns_what_it_missed() {
        let events = Events::default();
        let mut watcher = events.subscribe();
        for _ in 0..=CAPACITY {
            events.publish(OrgId::generate(), ServerId::generate(), EventKind::ServerChanged);
        }
        assert_eq!(watcher.next().await.expect("open").err(), Some(Missed(1)));
        assert!(watcher.next().await.expect("open").is_ok());
    }
}
