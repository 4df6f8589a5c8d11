//! What just happened, for whoever is watching.
//!
//! An event is a hint that something changed; the store is the truth. The channel holds [`CAPACITY`] events; a watcher
//! that falls further behind loses the oldest, is told how many ([`Missed`]) and reads the store again.

use std::sync::Arc;

use muster_shared::id::{CommandId, OrgId, ServerId};
use tokio::sync::broadcast;

use crate::metrics::Summary;

/// Events kept for slow watchers.
pub const CAPACITY: usize = 4096;

/// Something that happened to a server.
#[derive(Debug, Clone)]
pub struct Event {
    pub org_id: OrgId,
    pub server_id: ServerId,
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The server's record was made or changed.
    ServerChanged,
    /// The command was made or went to another state.
    CommandChanged(CommandId),
    /// The host reported a step of the command, now stored under `seq`.
    CommandUpdated {
        command_id: CommandId,
        seq: u64,
    },
    /// A sample arrived.
    Sample(Arc<Summary>),
    AgentOnline,
    AgentOffline,
}

/// How many events a watcher lost by being slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

/// The way events take from nouns to watchers. Clones share it.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(CAPACITY) }
    }
}

impl Events {
    /// Tells every watcher. Nobody watching is fine.
    pub fn publish(&self, org_id: OrgId, server_id: ServerId, kind: EventKind) {
        let _ = self.sender.send(Event { org_id, server_id, kind });
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
