//! Fleet runs: one typed command to a selection of servers, wave after wave, until it has been everywhere or too many
//! failed.
//!
//! A run is rows: its servers are fixed when it is made, and a reconciler carries it on, whichever control plane runs. Work
//! on a server is claimed by a conditional update with a lease; the command's id is fixed by that claim, before the command
//! is submitted, so that whoever takes the work up again follows the same command instead of giving another. What one
//! server is asked, how it is proven and confirmed, is the same as for a server alone.
//!
//! Nothing is ever selected by leaving something out: an empty list, an empty filter and one that nothing matches are
//! errors. What changes hosts is shown by a dry run first, and then done on the servers whose dry run went well.

mod carry;
mod decide;
mod reconcile;
mod run;
mod select;
mod task;
mod watch;

pub use decide::{Step, step};
pub use run::{FleetRun, NewRun, RunServer, RunState, ServerOutcome, Tally, Work};
pub use task::Task;

use std::sync::Arc;

use muster_shared::id::{FleetRunId, OrgId};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    access::{Act, Actor, Credential, Principal},
    audit::{Action, Record},
    clock::Clock,
    commands::Commands,
    error::{Error, ErrorKind},
    proof::Proof,
    servers::Servers,
    store::Store,
};

/// Servers of one run, at most.
pub const MAX_SERVERS: usize = 10_000;
/// Servers in a wave, at most and unless asked otherwise.
pub const MAX_WAVE: u32 = 1000;
pub const DEFAULT_WAVE: u32 = 10;
/// Runs, or servers of a run, in a page.
pub const MAX_PAGE: u32 = 1000;
/// How long work is held without being renewed.
pub const LEASE_US: i64 = 60 * 1_000_000;
/// Servers of all runs that this process is at work on at once; the rest wait.
pub const MAX_WORK: usize = 64;
/// How old a dry run may be.
pub const DRY_RUN_LIFE_US: i64 = 60 * 60 * 1_000_000;

type Result<T> = std::result::Result<T, Error>;

/// Which servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Those that an expression matches.
    Filter(String),
    /// Those of these names or ids.
    Servers(Vec<String>),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// A task for a selection.
    New { task: Task, selection: Selection, dry_run: bool },
    /// The task of a dry run, for the servers whose dry run went well.
    After(FleetRunId),
}

/// Bounds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub wave_size: u32,
    pub max_failures: u32,
}

/// Runs commands on many servers. Clones share what runs.
#[derive(Debug, Clone)]
pub struct FleetRuns {
    store: Store,
    servers: Servers,
    commands: Commands,
    proof: Proof,
    clock: Clock,
    /// There is work to be had.
    wake: Arc<Notify>,
    /// Something of a run is another than before.
    changed: Arc<Notify>,
}

impl FleetRuns {
    /// Works through the handles given.
    #[must_use]
    pub fn new(store: Store, (servers, commands): (Servers, Commands), proof: Proof, clock: Clock) -> Self {
        Self { store, servers, commands, proof, clock, wake: Arc::default(), changed: Arc::default() }
    }

    /// Makes a run and has it carried on.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] where the caller may not do this to one server; [`ErrorKind::Invalid`] for a
    /// selection that names nothing, or a task outside the catalogue; [`ErrorKind::NotFound`] for a server that is not the
    /// organisation's; [`ErrorKind::Precondition`] where nothing is selected, or a dry run has to come first.
    pub async fn start(&self, caller: &Principal, act: &Act, wanted: Wanted, bounds: Bounds) -> Result<FleetRun> {
        let Bounds { wave_size, max_failures } = bounds;
        if !(1..=MAX_WAVE).contains(&wave_size) {
            return Err(Error::invalid("invalid_field", format!("wave_size must be 1 to {MAX_WAVE}, not {wave_size}")));
        }
        let planned = self.planned(caller, act, wanted).await?;
        // A dry run changes nothing, so no failure of it shall keep others from being shown.
        let max_failures = if planned.dry_run { u32::MAX } else { max_failures };
        let run = NewRun { wave_size, max_failures, ..planned };
        let record = Record::new(act, Action::FleetRunStarted, run.id, run.task.kind()).after(json!({
            "task": run.task, "filter": run.filter, "dry_run": run.dry_run, "dry_run_id": run.dry_run_id,
            "servers": run.servers.len(), "wave_size": wave_size, "max_failures": max_failures,
        }));
        if !self.store.insert_fleet_run(&run, &written(&act.actor)?, &record).await? {
            return Err(Error::new(
                ErrorKind::Conflict,
                "changed_meanwhile",
                "a server was deleted meanwhile: try again",
            ));
        }
        self.wake.notify_one();
        self.get(act.org_id, run.id).await
    }

    /// The run `id`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId, id: FleetRunId) -> Result<FleetRun> {
        self.store.fleet_run(org, id).await?.ok_or_else(|| Error::not_found("fleet run"))
    }

    /// A page of runs, newest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, org: OrgId, skip: u32, limit: u32) -> Result<Vec<FleetRun>> {
        Ok(self.store.list_fleet_runs(org, skip, limit.clamp(1, MAX_PAGE)).await?)
    }

    /// A page of a run's servers, in the order of their turns.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn servers(&self, run: &FleetRun, skip: u32, limit: u32) -> Result<Vec<RunServer>> {
        let page = (skip, limit.clamp(1, MAX_PAGE));
        Ok(self.store.fleet_run_servers(run.org_id, run.id, i64::MIN, page).await?)
    }

    /// Stops a run: no other server begins, commands that have not started are cancelled, and those that have come to
    /// their end.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] for one that does not run any more.
    pub async fn cancel(&self, act: &Act, id: FleetRunId) -> Result<FleetRun> {
        let run = self.get(act.org_id, id).await?;
        let record = Record::new(act, Action::FleetRunCancelled, id, run.task.kind())
            .change(&json!({ "state": run.state.as_str() }), &json!({ "state": RunState::Cancelled.as_str() }));
        if !self.store.cancel_fleet_run(&run, &record).await? {
            let detail = "the run has ended or was stopped already";
            return Err(Error::new(ErrorKind::Precondition, "too_late", detail));
        }
        for command in self.store.fleet_commands_under_way(act.org_id, id).await? {
            match self.commands.cancel(act, command).await {
                Ok(_) => {}
                // It is not submitted yet; whoever is about to looks whether the run still runs.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.wake.notify_one();
        self.changed.notify_waiters();
        self.get(act.org_id, id).await
    }
}

/// What a creator was let in with, as it is kept.
fn written(actor: &Actor) -> Result<String> {
    match actor {
        Actor::User { credential: Credential::Token(id), .. } => Ok(format!("token {id}")),
        Actor::User { credential: Credential::Session(id), .. } => Ok(format!("session {id}")),
        _ => Err(Error::internal("a run is made by a user")),
    }
}

/// What [`written`] wrote.
fn read(text: &str) -> Result<Credential> {
    let unreadable = || Error::internal("what a run's creator was let in with can't be read");
    match text.split_once(' ') {
        Some(("token", id)) => id.parse().map(Credential::Token).map_err(|_| unreadable()),
        Some(("session", id)) => id.parse().map(Credential::Session).map_err(|_| unreadable()),
        _ => Err(unreadable()),
    }
}
