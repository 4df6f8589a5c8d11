//! Deleting a server, once nothing is lost by it.
//!
//! Its row stays, marked as deleted, with its secrets sealed. Its agent's identity is refused from the commit on; a
//! connected agent is told to retire and removes its identity, one that is away is told when it comes back.

use muster_shared::{
    facts::Facts,
    id::{OrgId, ServerId},
};
use serde_json::json;

use crate::{
    access::Act,
    audit::{Action, Record},
    environments::runtime,
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    metrics::Heads,
    sessions::{Cut, Sessions},
    store::{self, Store},
};

/// Most containers that a refusal names.
const MAX_NAMED: usize = 20;

/// Deletes servers. Clones share everything.
#[derive(Debug, Clone)]
pub struct ServerDeletion {
    store: Store,
    heads: Heads,
    sessions: Sessions,
    events: Events,
}

/// The containers that run on a server, as was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Running {
    count: usize,
    names: Vec<String>,
}

impl ServerDeletion {
    /// Deletes from `store`, and tells whoever holds or watches the server.
    #[must_use]
    pub fn new(store: Store, heads: Heads, sessions: Sessions, events: Events) -> Self {
        Self { store, heads, sessions, events }
    }

    /// Deletes a server; with `force` though containers run on it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] while it holds active environments, or containers run.
    pub async fn run(&self, act: &Act, id: ServerId, force: bool) -> Result<(), Error> {
        let gone = || Error::not_found("server");
        let org = act.org_id;
        let server = self.store.server(org, id).await?.ok_or_else(gone)?;
        let row = self.store.server_row(org, id).await?.ok_or_else(gone)?;
        let running = self.running(org, id).await?;
        if server.environments.active == 0 && running.count > 0 && !force {
            return Err(containers_run(&running));
        }
        let left = json!({ "forced": force, "running_containers": running.count });
        let record = Record::new(act, Action::ServerDeleted, id, &row.name).before(row.shown()).after(left);
        match self.store.delete_server(id, &record).await? {
            store::ServerDeletion::Deleted => {}
            store::ServerDeletion::Gone => return Err(gone()),
            store::ServerDeletion::HoldsEnvironments { count, names } => return Err(environments_are(count, &names)),
        }
        self.sessions.cut(id, Cut::Retired);
        self.events.publish(org, id, EventKind::ServerDeleted);
        tracing::info!(server = %id, "server deleted");
        Ok(())
    }

    /// What runs, by the facts or by the newest sample, whichever is younger.
    async fn running(&self, org: OrgId, id: ServerId) -> Result<Running, Error> {
        let (mut running, mut seen_at_us) = (Running::default(), None);
        if let Some((json, collected_at_us)) = self.store.facts(org, id).await? {
            let facts: Facts = serde_json::from_slice(&json).map_err(Error::internal)?;
            running = of_facts(&facts);
            seen_at_us = Some(collected_at_us);
        }
        let sample = self.heads.summary(org, id).await?;
        if let Some(sample) = sample.filter(|sample| seen_at_us.is_none_or(|seen| sample.at_us > seen)) {
            running.count = usize::try_from(sample.container_count).unwrap_or(usize::MAX);
        }
        Ok(running)
    }
}

fn of_facts(facts: &Facts) -> Running {
    let names: Vec<_> =
        facts.docker.containers.iter().filter(|it| runtime::runs(it)).map(|it| it.name.clone()).collect();
    Running { count: names.len(), names: names.into_iter().take(MAX_NAMED).collect() }
}

fn containers_run(running: &Running) -> Error {
    let named = if running.names.is_empty() { String::new() } else { format!(" ({})", running.names.join(", ")) };
    let detail = format!(
        "Cannot delete server with {} running container(s){named}. Stop them first, or delete with force=true.",
        running.count
    );
    Error::new(ErrorKind::Precondition, "containers_running", detail)
}

fn environments_are(count: usize, names: &[String]) -> Error {
    let more = if count > names.len() { ", …" } else { "" };
    let detail = format!(
        "Cannot delete server with {count} active environment(s). Reassign or delete them first. On it: {}{more}",
        names.join(", ")
    );
    Error::new(ErrorKind::Precondition, "environments_active", detail)
}
