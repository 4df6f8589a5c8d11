//! Which agents are connected to this process, and what their sessions are told.
//!
//! A server has at most one session; the one with the higher generation stays. Orders to a session are a state, not a
//! queue: telling it to wake ten times wakes it once, and nothing can overflow.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use muster_shared::id::{OrgId, ServerId};
use tokio::{sync::watch, time::Instant};

/// How long a host keeps sending every second after the last watcher left, so that polling doesn't switch it to and fro.
pub const LIVE_LINGER: Duration = Duration::from_secs(30);

/// Why a session is ended from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A newer session of the same server is there.
    Superseded,
    /// Its identity was withdrawn.
    Revoked,
    /// Two machines used its identity.
    Quarantined,
    /// Its server was deleted: the host removes its identity.
    Retired,
}

impl Cut {
    /// A machine's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
            Self::Quarantined => "quarantined",
            Self::Retired => "retired",
        }
    }
}

/// What a session is told; the newest state counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    pub cut: Option<Cut>,
    /// Somebody watches.
    pub live: bool,
    /// Grows with every wake-up: there may be commands.
    pub wakes: u64,
}

/// The connected agents. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<ServerId, Entry>,
    watched: HashMap<ServerId, Watched>,
}

#[derive(Debug)]
struct Entry {
    org: OrgId,
    generation: u64,
    orders: watch::Sender<Orders>,
    seen: Arc<LastSeen>,
}

#[derive(Debug, Default)]
struct LastSeen {
    at_us: AtomicI64,
    told_us: AtomicI64,
}

#[derive(Debug)]
struct Watched {
    watchers: usize,
    /// When the last watcher left.
    left: Option<Instant>,
}

impl Watched {
    fn is_over(&self, now: Instant) -> bool {
        self.watchers == 0 && self.left.is_none_or(|left| now.duration_since(left) >= LIVE_LINGER)
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server's agent is connected.
    #[must_use]
    pub fn is_online(&self, server: ServerId) -> bool {
        self.lock().sessions.contains_key(&server)
    }

    /// How many agents are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Every connected server.
    #[must_use]
    pub fn online(&self) -> Vec<(OrgId, ServerId)> {
        self.lock().sessions.iter().map(|(server, entry)| (entry.org, *server)).collect()
    }

    /// Tells the server's session to look for commands. Nobody connected is fine: it looks when it connects.
    pub fn wake(&self, server: ServerId) {
        self.tell(server, |orders| orders.wakes = orders.wakes.wrapping_add(1));
    }

    /// Ends the server's session. What may not connect again must be on record before.
    pub fn cut(&self, server: ServerId, why: Cut) {
        self.tell(server, |orders| orders.cut = Some(why));
    }

    fn tell(&self, server: ServerId, change: impl FnOnce(&mut Orders)) {
        if let Some(entry) = self.lock().sessions.get(&server) {
            entry.orders.send_modify(change);
        }
    }

    /// Makes the server send every second for as long as the guard lives and [`LIVE_LINGER`] longer; one that connects
    /// meanwhile is told so in its welcome.
    #[must_use]
    pub fn watch_live(&self, server: ServerId) -> LiveGuard {
        let mut inner = self.lock();
        inner.watched.entry(server).or_insert(Watched { watchers: 0, left: None }).watchers += 1;
        if let Some(entry) = inner.sessions.get(&server) {
            entry.orders.send_if_modified(|orders| !std::mem::replace(&mut orders.live, true));
        }
        LiveGuard { sessions: self.clone(), server }
    }

    /// Whether somebody watches the server, or did until just now.
    #[must_use]
    pub fn is_watched(&self, server: ServerId) -> bool {
        self.lock().watched.get(&server).is_some_and(|watched| !watched.is_over(Instant::now()))
    }

    /// Tells servers that nobody has watched for [`LIVE_LINGER`] to send less often.
    pub fn forget_unwatched(&self, now: Instant) {
        let mut inner = self.lock();
        let Inner { sessions, watched } = &mut *inner;
        watched.retain(|server, watched| {
            let over = watched.is_over(now);
            if let (true, Some(entry)) = (over, sessions.get(server)) {
                entry.orders.send_if_modified(|orders| std::mem::replace(&mut orders.live, false));
            }
            !over
        });
    }

    /// Registers a session and ends the older one of the same server; `None` when a newer one is there already.
    #[must_use]
    pub fn open(&self, org: OrgId, server: ServerId, generation: u64, now_us: i64) -> Option<SessionGuard> {
        let mut inner = self.lock();
        if inner.sessions.get(&server).is_some_and(|entry| entry.generation >= generation) {
            return None;
        }
        let live = inner.watched.get(&server).is_some_and(|watched| !watched.is_over(Instant::now()));
        let (sender, orders) = watch::channel(Orders { live, ..Orders::default() });
        let seen = Arc::new(LastSeen { at_us: AtomicI64::new(now_us), told_us: AtomicI64::new(now_us) });
        let entry = Entry { org, generation, orders: sender, seen: Arc::clone(&seen) };
        if let Some(older) = inner.sessions.insert(server, entry) {
            older.orders.send_modify(|orders| orders.cut = Some(Cut::Superseded));
        }
        Some(SessionGuard { sessions: self.clone(), server, generation, orders, seen })
    }

    /// The servers heard from since this was asked last, and when.
    #[must_use]
    pub fn take_seen(&self) -> Vec<(ServerId, i64)> {
        let inner = self.lock();
        let news = inner.sessions.iter().filter_map(|(server, entry)| {
            let at_us = entry.seen.at_us.load(Ordering::Relaxed);
            (entry.seen.told_us.swap(at_us, Ordering::Relaxed) != at_us).then_some((*server, at_us))
        });
        news.collect()
    }
}

impl crate::commands::Wake for Sessions {
    fn wake(&self, server: ServerId) {
        Sessions::wake(self, server);
    }
}

/// A session's place in the registry; dropped when it ends.
#[derive(Debug)]
pub struct SessionGuard {
    sessions: Sessions,
    server: ServerId,
    generation: u64,
    /// What the session is told.
    pub orders: watch::Receiver<Orders>,
    seen: Arc<LastSeen>,
}

impl SessionGuard {
    /// Notes that the host was heard from.
    pub fn seen(&self, now_us: i64) {
        self.seen.at_us.store(now_us, Ordering::Relaxed);
    }

    /// Leaves the registry. Answers whether this was still the server's session, so that it is offline now.
    #[must_use]
    pub fn leave(self) -> bool {
        self.remove()
    }

    fn remove(&self) -> bool {
        let mut inner = self.sessions.lock();
        let current = inner.sessions.get(&self.server).is_some_and(|entry| entry.generation == self.generation);
        if current {
            inner.sessions.remove(&self.server);
        }
        current
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Somebody's wish to see a server every second.
#[derive(Debug)]
pub struct LiveGuard {
    sessions: Sessions,
    server: ServerId,
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        if let Some(watched) = self.sessions.lock().watched.get_mut(&self.server) {
            watched.watchers = watched.watchers.saturating_sub(1);
            watched.left = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (OrgId, ServerId) {
        (OrgId::generate(), ServerId::generate())
    }

    #[test]
    fn the_newest_generation_stays() {
        let (sessions, (org, server)) = (Sessions::default(), ids());
        let first = sessions.open(org, server, 1, 0).expect("the first");
        let second = sessions.open(org, server, 2, 0).expect("a newer one");
        assert_eq!(first.orders.borrow().cut, Some(Cut::Superseded));
        assert!(sessions.open(org, server, 1, 0).is_none(), "an older one comes late");
        assert!(!first.leave(), "the server is still online");
        assert!(sessions.is_online(server));
        assert!(second.leave());
        assert!(!sessions.is_online(server));
    }

    #[test]
    fn orders_reach_the_session_they_are_for() {
        let (sessions, (org, server)) = (Sessions::default(), ids());
        let mut guard = sessions.open(org, server, 1, 0).expect("a session");
        sessions.wake(ServerId::generate());
        assert!(!guard.orders.has_changed().expect("open"));
        sessions.wake(server);
        assert_eq!(guard.orders.borrow_and_update().wakes, 1);
        sessions.cut(server, Cut::Revoked);
        assert_eq!(guard.orders.borrow_and_update().cut, Some(Cut::Revoked));
    }

    #[test]
    fn watching_lingers_and_survives_a_reconnect() {
        let (sessions, (org, server)) = (Sessions::default(), ids());
        let watching = sessions.watch_live(server);
        let guard = sessions.open(org, server, 1, 0).expect("a session");
        assert!(guard.orders.borrow().live, "watched before it connected");
        drop(watching);
        sessions.forget_unwatched(Instant::now());
        assert!(guard.orders.borrow().live, "it lingers");
        sessions.forget_unwatched(Instant::now() + LIVE_LINGER);
        assert!(!guard.orders.borrow().live);
        assert!(!sessions.is_watched(server));
    }

    #[test]
    fn last_seen_is_told_once() {
        let (sessions, (org, server)) = (Sessions::default(), ids());
        let guard = sessions.open(org, server, 1, 10).expect("a session");
        assert!(sessions.take_seen().is_empty());
        guard.seen(20);
        assert_eq!(sessions.take_seen(), [(server, 20)]);
        assert!(sessions.take_seen().is_empty());
    }
}
