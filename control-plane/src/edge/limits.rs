//! How much a peer may use. Whatever exceeds a bound is refused or closed, and counted as `muster_edge_refused_total`
//! with the bound's word as `reason`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// TLS connections at once. One more is closed before its handshake (`connections`).
pub const MAX_CONNECTIONS: usize = 16_384;
/// Plain HTTP connections at once; a reverse proxy needs few (`connections`).
pub const MAX_PLAIN_CONNECTIONS: usize = 1024;
/// Handshakes at once from one address: a fleet behind one NAT reconnects within it, a flood doesn't (`handshakes`).
pub const MAX_PENDING_HANDSHAKES_PER_ADDRESS: usize = 2048;
/// From accept to the end of the handshake (`handshake_timeout`).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte of an HTTP/1 request to the end of its head.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Header list of an HTTP/2 request, in bytes as HPACK counts them.
pub const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Head of an HTTP/1 request, in bytes, and its number of headers.
pub const MAX_HTTP1_HEAD_BYTES: usize = 32 * 1024;
pub const MAX_HTTP1_HEADERS: usize = 64;
/// HTTP/2 streams at once on a connection of a browser or a program.
pub const MAX_PUBLIC_STREAMS: u32 = 128;
/// HTTP/2 streams at once on an agent's connection: its link, a renewal, and room for one of each being replaced.
pub const MAX_AGENT_STREAMS: u32 = 8;
/// Body of a request, in bytes (413).
pub const MAX_REQUEST_BODY_BYTES: usize = 1 << 20;
/// From a request's head to its answer's head; streams last longer than that (504).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// A message from an agent, in bytes: one frame at its largest, and facts fit in as well (RESOURCE_EXHAUSTED).
pub const MAX_AGENT_MESSAGE_BYTES: usize = 5 << 20;
/// Flow-control windows on an agent's connection; small, since there are thousands.
pub const AGENT_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
pub const AGENT_CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
/// What may wait to be sent on one agent's stream inside HTTP/2.
pub const AGENT_SEND_BUFFER_BYTES: usize = 16 * 1024;
/// A ping after this long, and how long its answer may take: a half-open connection is gone after both.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections may take to finish when the control plane stops; then they are cut.
pub const DRAIN_GRACE: Duration = Duration::from_secs(3);

/// The bounds that a door enforces on its own.
#[derive(Debug, Clone)]
pub struct Limits {
    pub max_connections: usize,
    pub max_pending_handshakes_per_address: usize,
    pub handshake_timeout: Duration,
}

impl Limits {
    /// The TLS port's, with its number of connections as configured.
    #[must_use]
    pub fn of_tls(max_connections: usize) -> Self {
        Self {
            max_connections,
            max_pending_handshakes_per_address: MAX_PENDING_HANDSHAKES_PER_ADDRESS,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }

    /// The plain port's.
    #[must_use]
    pub fn of_plain() -> Self {
        Self::of_tls(MAX_PLAIN_CONNECTIONS)
    }
}

/// Counts a refusal.
pub(super) fn refused(reason: &'static str) {
    metrics::counter!("muster_edge_refused_total", "reason" => reason).increment(1);
}

/// Who is inside, and who is still at the door.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    connections: Arc<Semaphore>,
    pending: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max_pending_per_address: usize,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.max_connections)),
            pending: Arc::default(),
            max_pending_per_address: limits.max_pending_handshakes_per_address,
        }
    }

    /// A place for one connection, and one at the door for its address; the bound's word where there is none.
    pub(super) fn admit(&self, address: IpAddr) -> Result<(OwnedSemaphorePermit, PendingHandshake), &'static str> {
        let connection = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| "connections")?;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let count = pending.entry(address).or_default();
        if *count >= self.max_pending_per_address {
            return Err("handshakes");
        }
        *count += 1;
        Ok((connection, PendingHandshake { address, pending: Arc::clone(&self.pending) }))
    }
}

/// A place at the door; dropped when the handshake is over, however it ended.
#[derive(Debug)]
pub(super) struct PendingHandshake {
    address: IpAddr,
    pending: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for PendingHandshake {
    fn drop(&mut self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pending.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                pending.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_refuses_by_its_own_word_and_gives_back() {
        let limits = Limits { max_connections: 3, max_pending_handshakes_per_address: 1, ..Limits::of_plain() };
        let admission = Admission::new(&limits);
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = admission.admit(here).expect("room");
        assert_eq!(admission.admit(here).err(), Some("handshakes"));
        let (inside, at_the_door) = first;
        drop(at_the_door);
        let _second = admission.admit(here).expect("the first is through");
        let _third = admission.admit(there).expect("another address");
        assert_eq!(admission.admit(there).err(), Some("connections"));
        drop(inside);
        assert_eq!(admission.admit(there).err(), Some("handshakes"));
    }
}
