//! How servers are: decided from signals, kept with its beginning, and looked at again in time.
//!
//! What is shown is always decided from what is known at that moment; what is kept is since when it holds, and what only
//! a check sees (the newest sample, the certificate). A check is idempotent and takes no input: it may run twice, late, or
//! in several processes at once. Timers are the truth, events only make it sooner.

mod condition;
mod decide;
mod evidence;
mod probe;
mod reconcile;
mod record;
mod schedule;

pub use decide::{
    Certificate, DISK_CRITICAL_PERCENT, DISK_WARNING_PERCENT, SAMPLE_LATE_AFTER_US, SILENT_AFTER_US, SampleSeen,
    Signals, UNKNOWN_AFTER_US, Verdict, decide,
};
pub use evidence::{Evidence, Signal};
pub use probe::{LOOK_EVERY_US, MAX_PROBES, Probe, due};
pub use reconcile::keep_checked;
pub use record::{Check, Health, HealthRecord, Probed, Seen, check, health_of};
pub use schedule::EVERY_US;

use std::sync::Arc;

use muster_shared::id::{OrgId, ServerId};
use tokio::sync::Semaphore;

use crate::{
    clock::Clock,
    connection_test::ConnectionTest,
    error::Error,
    events::{EventKind, Events},
    metrics::Heads,
    servers::{Server, Servers},
    ssh::Entrance,
    store::{CheckedServer, Store},
};

/// How long an agent may take to come back, after it went or after the control plane started, before its server is
/// judged or tried over SSH: agents reconnect within a minute.
pub const COMEBACK_US: i64 = 60 * 1_000_000;
/// Servers checked in one transaction.
const BATCH: u32 = 256;

/// Checks servers' health. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checks {
    store: Store,
    servers: Servers,
    heads: Heads,
    entrance: Entrance,
    connection_test: ConnectionTest,
    events: Events,
    clock: Clock,
    started_at_us: i64,
    places: Arc<Semaphore>,
}

impl Checks {
    /// Checks through the handles given.
    #[must_use]
    pub fn new(
        (store, servers, events): (Store, Servers, Events),
        heads: Heads,
        entrance: Entrance,
        connection_test: ConnectionTest,
        clock: Clock,
    ) -> Self {
        let started_at_us = clock.now_us();
        let places = Arc::new(Semaphore::new(MAX_PROBES));
        Self { store, servers, heads, entrance, connection_test, events, clock, started_at_us, places }
    }

    /// Checks these servers now, stores what came of it, tells what changed, and answers those that are to be tried over
    /// SSH. Idempotent.
    ///
    /// # Errors
    /// [`Error`] when the store fails; nothing was told then.
    pub async fn check(&self, servers: &[(OrgId, ServerId)]) -> Result<Vec<(Server, Probe)>, Error> {
        let mut probes = Vec::new();
        for batch in servers.chunks(BATCH as usize) {
            let mut checked = Vec::with_capacity(batch.len());
            for (org, id) in batch {
                let Some(server) = self.store.server(*org, *id).await? else { continue };
                let now_us = self.clock.now_us();
                if record::is_waited_for(&server, self.started_at_us, now_us) {
                    continue;
                }
                let seen = self.seen(&server, now_us).await?;
                checked.push(CheckedServer { org: *org, id: *id, now_us, check: check(&server, seen, now_us) });
                probes.extend(due(&server, self.started_at_us, now_us).map(|probe| (server, probe)));
            }
            self.store.record_checks(&checked).await?;
            for server in checked.iter().filter(|server| server.check.is_news) {
                self.events.publish(server.org, server.id, EventKind::HealthChanged);
            }
            metrics::counter!("muster_health_checks_total").increment(checked.len() as u64);
        }
        Ok(probes)
    }

    async fn seen(&self, server: &Server, now_us: i64) -> Result<Seen, Error> {
        let sample = self.heads.newest(server.org_id, server.id).map(|(arrived_at_us, summary)| SampleSeen {
            arrived_at_us,
            looked_at_us: now_us,
            // A file system that is not reported counts as empty there.
            disk_usage_percent: summary.map(|summary| summary.disk_usage_percent).filter(|percent| *percent > 0.0),
        });
        let certificate = self.store.youngest_certificate(server.org_id, server.id).await?;
        Ok(Seen { sample, certificate })
    }
}
