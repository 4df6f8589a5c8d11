//! How a run is followed.

use muster_shared::id::ServerId;
use serde_json::json;
use tokio::sync::Notify;

use super::{FleetRun, FleetRuns, Result, RunServer, RunState, ServerOutcome};
use crate::{
    progress::ProgressStream,
    workload::{Followed, follow},
};

impl FleetRuns {
    /// The run's events: `server` whenever one stands otherwise than before, and `complete` when the last one has ended. It
    /// goes on when its listener leaves.
    #[must_use]
    pub fn watch(&self, run: &FleetRun) -> ProgressStream {
        follow(self, run.clone())
    }
}

impl Followed for FleetRuns {
    type Whole = FleetRun;
    type Server = RunServer;
    type Standing = ServerOutcome;
    const NAME: &'static str = "fleet run";

    fn changed(&self) -> &Notify {
        &self.changed
    }

    async fn now(&self, run: &FleetRun) -> Result<FleetRun> {
        self.get(run.org_id, run.id).await
    }

    async fn servers_since(&self, run: &FleetRun, since_us: i64, page: (u32, u32)) -> Result<Vec<RunServer>> {
        Ok(self.store.fleet_run_servers(run.org_id, run.id, since_us, page).await?)
    }

    fn has_ended(run: &FleetRun) -> bool {
        run.ended_at_us.is_some()
    }

    fn place(server: &RunServer) -> (ServerId, i64) {
        (server.server, server.updated_at_us)
    }

    fn standing(server: &RunServer) -> Option<ServerOutcome> {
        (server.state != ServerOutcome::Waiting).then_some(server.state)
    }

    fn shown(server: &RunServer) -> serde_json::Value {
        shown(server)
    }

    fn complete(run: &FleetRun) -> serde_json::Value {
        complete(run)
    }
}

fn shown(server: &RunServer) -> serde_json::Value {
    json!({
        "server_id": server.server, "server_name": server.name, "wave": server.wave, "state": server.state.as_str(),
        "code": server.code, "detail": server.detail, "command_id": server.command,
    })
}

fn complete(run: &FleetRun) -> serde_json::Value {
    let tally = &run.tally;
    let counts = format!("{} succeeded, {} failed, {} skipped", tally.succeeded, tally.failed, tally.skipped);
    let message = match run.state {
        RunState::Stopped => format!("stopped, since more servers failed than may: {counts}"),
        RunState::Cancelled => format!("cancelled: {counts}"),
        _ => counts,
    };
    json!({
        "status": run.state.as_str(), "message": message, "run_id": run.id, "dry_run": run.dry_run,
        "succeeded": tally.succeeded, "failed": tally.failed, "skipped": tally.skipped,
    })
}
