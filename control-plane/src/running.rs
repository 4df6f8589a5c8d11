//! Servers that somebody is at work on over SSH: one run a server at a time in this process. Two processes at once are
//! each run's own to make safe.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use muster_shared::id::ServerId;

/// The servers with a run. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<HashSet<ServerId>>>);

/// A server's place among those; free again on drop.
#[derive(Debug)]
pub struct Claim {
    running: Running,
    server: ServerId,
}

impl Running {
    /// Takes the server's place; `None` while another run has it.
    #[must_use]
    pub fn claim(&self, server: ServerId) -> Option<Claim> {
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(server);
        is_free.then(|| Claim { running: self.clone(), server })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_one_run_at_a_time() {
        let running = Running::default();
        let server = ServerId::generate();
        let claim = running.claim(server).expect("free");
        assert!(running.claim(server).is_none());
        assert!(running.claim(ServerId::generate()).is_some());
        drop(claim);
        assert!(running.claim(server).is_some());
    }
}
