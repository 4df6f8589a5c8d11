//! Trying servers over SSH without being asked: which, when, and what it comes to.
//!
//! A probe never is the first contact: a host whose key nobody has seen yet gets no credential from a timer. It connects,
//! verifies the key on record, logs in and leaves; now and then it looks around as a connection test does. A server whose
//! agent is connected needs none.

use muster_shared::id::{OrgId, ServerId};
use tokio::time::timeout;

use super::{COMEBACK_US, Checks, Probed, schedule};
use crate::{
    app::chain,
    error::Error,
    servers::{AgentStatus, ConnectionOutcome, Server},
    ssh::EntranceError,
};

/// Probes at one time. The ones that find all places taken have their turn when they are looked at next.
pub const MAX_PROBES: usize = 64;
/// A probe's whole time.
const PROBE_LIMIT: std::time::Duration = std::time::Duration::from_secs(100);
/// How long a probe keeps others from the same server, if its process dies.
const CLAIM_US: i64 = schedule::EVERY_US;
/// How old what is known of disk and Docker may become before a probe looks around again.
pub const LOOK_EVERY_US: i64 = 3_600 * 1_000_000;

/// What a probe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Logs in and leaves.
    Login,
    /// Logs in and collects the facts.
    Look,
}

/// What to do about `server` over SSH at `now_us`. Pure.
#[must_use]
pub fn due(server: &Server, started_at_us: i64, now_us: i64) -> Option<Probe> {
    let has_login = server.ssh.is_some() && server.host_key.is_some() && server.addresses.host().is_some();
    let is_connected = server.agent.status == AgentStatus::Online;
    let heard_us = server.agent.last_seen_at_us.map(|seen_us| seen_us.max(started_at_us));
    let may_come_back = heard_us.is_some_and(|heard_us| now_us.saturating_sub(heard_us) < COMEBACK_US);
    if !has_login || is_connected || may_come_back {
        return None;
    }
    let probed = server.health_record.as_ref().map(|record| record.probe).unwrap_or_default();
    let is_changed = probed.revision != Some(server.revision);
    if !is_changed && probed.next_at_us.is_some_and(|next_us| next_us > now_us) {
        return None;
    }
    let is_old = |at_us: Option<i64>| at_us.is_none_or(|at_us| now_us.saturating_sub(at_us) >= LOOK_EVERY_US);
    let looks = is_old(server.facts_collected_at_us) && is_old(probed.looked_at_us);
    Some(if looks { Probe::Look } else { Probe::Login })
}

impl Checks {
    /// Probes `server`, unless somebody else does, and records how it went.
    pub(super) async fn probe(&self, server: Server, probe: Probe) {
        let (org, id) = (server.org_id, server.id);
        if let Err(error) = self.probe_recorded(&server, probe).await {
            metrics::counter!("muster_health_probes_total", "outcome" => "not_recorded").increment(1);
            tracing::warn!(%org, server = %id, error = %chain(&error), "health probe not recorded");
        }
    }

    async fn probe_recorded(&self, server: &Server, probe: Probe) -> Result<(), Error> {
        let (org, id) = (server.org_id, server.id);
        let before = server.health_record.as_ref().map(|record| record.probe).unwrap_or_default();
        let until_us = self.clock.now_us().saturating_add(CLAIM_US);
        if !self.store.claim_probe(org, id, server.revision, (before.next_at_us, until_us)).await? {
            return Ok(());
        }
        let outcome = match timeout(PROBE_LIMIT, self.enter(org, id, probe)).await {
            Ok(outcome) => outcome?,
            Err(_) => ConnectionOutcome::Failed,
        };
        metrics::counter!("muster_health_probes_total", "outcome" => outcome.as_str()).increment(1);
        let now_us = self.clock.now_us();
        let failures = match outcome {
            ConnectionOutcome::Success => 0,
            _ if before.revision == Some(server.revision) => before.failures.saturating_add(1),
            _ => 1,
        };
        let probed = Probed {
            failures,
            revision: Some(server.revision),
            next_at_us: Some(schedule::next_probe(id, outcome, failures, now_us)),
            looked_at_us: if probe == Probe::Look { Some(now_us) } else { before.looked_at_us },
        };
        self.store.record_probe(org, id, &probed).await?;
        Ok(())
    }

    async fn enter(&self, org: OrgId, id: ServerId, probe: Probe) -> Result<ConnectionOutcome, Error> {
        let target = self.servers.ssh_target(org, id).await?;
        if target.host_key.is_none() {
            return Ok(ConnectionOutcome::Failed);
        }
        match self.entrance.enter(org, id, &target, |_| {}).await {
            Ok(session) if probe == Probe::Look => {
                // The login works, whatever becomes of the look.
                if let Err(error) = self.connection_test.look(org, id, session, &target).await {
                    tracing::debug!(%org, server = %id, error = %chain(&error), "host not looked around in");
                }
                Ok(ConnectionOutcome::Success)
            }
            Ok(session) => {
                session.close().await;
                Ok(ConnectionOutcome::Success)
            }
            Err(EntranceError::Host(error)) => Ok(error.outcome()),
            Err(EntranceError::Record(error)) => Err(error),
        }
    }
}
