//! What carries runs on.

use muster_shared::id::FleetRunId;
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet};

use super::{FleetRun, FleetRuns, LEASE_US, MAX_WORK, Result, RunState, Step, Tally};
use crate::{
    access::Act,
    audit::{Action, Record},
    workload::Workload,
};

impl Workload for FleetRuns {
    const NAME: &'static str = "fleet runs";

    fn wake(&self) -> &Notify {
        &self.wake
    }

    async fn pass(&self, work: &mut JoinSet<()>) -> Result<()> {
        for run in self.store.unended_fleet_runs().await? {
            self.advance(&run).await?;
        }
        while work.len() < MAX_WORK {
            let (now_us, lease) = (self.clock.now_us(), FleetRunId::generate().to_string());
            let Some(next) = self.store.claim_fleet_work(&lease, now_us, now_us + LEASE_US).await? else { break };
            let runs = self.clone();
            work.spawn(async move { runs.carry(next).await });
            self.changed.notify_waiters();
        }
        Ok(())
    }
}

impl FleetRuns {
    pub(crate) async fn advance(&self, run: &FleetRun) -> Result<()> {
        loop {
            let now_us = self.clock.now_us();
            let record = |state: RunState, tally: &Tally| {
                let act = Act::of_system(run.org_id, now_us);
                Record::new(&act, Action::FleetRunEnded, run.id, run.task.kind()).after(json!({
                    "state": state.as_str(), "succeeded": tally.succeeded, "failed": tally.failed,
                    "skipped": tally.skipped,
                }))
            };
            match self.store.step_fleet_run(run, now_us, record).await? {
                Step::Wait => return Ok(()),
                Step::Advance | Step::End => {
                    self.changed.notify_waiters();
                    return Ok(());
                }
                // What has not begun is skipped; it may have ended by that.
                Step::Stop => self.changed.notify_waiters(),
            }
        }
    }
}
