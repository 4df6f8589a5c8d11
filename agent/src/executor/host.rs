//! The host's own answers: probing in earnest.

use std::sync::Arc;

use async_trait::async_trait;
use muster_shared::{
    command::CommandBody,
    facts::{Container, Facts},
    wire::{self, CommandOutcome, finished::Result as Answer, progress},
};
use tokio::sync::{Mutex, mpsc};

use super::{
    machine::{Begun, finished},
    power::{self, Power},
    updates::PendingUpdates,
    work::Work,
};
use crate::probe::{ProbeOptions, collect_facts, read_containers, run_preflight};

/// Reads this host, and ends its boot.
pub struct HostWork {
    power: Arc<dyn Power>,
    /// The last facts and containers: what can't have changed since is taken over from them.
    facts: Mutex<Option<Facts>>,
    containers: Mutex<Vec<Container>>,
    updates: PendingUpdates,
}

impl HostWork {
    /// Work on this host, whose boot ends through `power`.
    #[must_use]
    pub fn new(power: Arc<dyn Power>) -> Self {
        Self { power, facts: Mutex::default(), containers: Mutex::default(), updates: PendingUpdates::default() }
    }
}

#[async_trait]
impl Work for HostWork {
    async fn run(&self, body: CommandBody, progress: mpsc::Sender<wire::Progress>) -> wire::Finished {
        match body {
            CommandBody::RefreshFacts => {
                let known_updates = Some(self.updates.current().await);
                let facts = collect_facts(&ProbeOptions { known_updates, ..ProbeOptions::default() }).await;
                let json = serde_json::to_string(&facts);
                *self.facts.lock().await = Some(facts);
                answered(json.map(Answer::FactsJson))
            }
            CommandBody::Preflight(args) => {
                let report = run_preflight(&args, &ProbeOptions::default(), |check| {
                    let Ok(json) = serde_json::to_string(check) else { return };
                    // All checks fit into the queue; the report at the end has every one anyway.
                    let _ = progress.try_send(wire::Progress { kind: Some(progress::Kind::CheckJson(json)) });
                })
                .await;
                answered(serde_json::to_string(&report).map(Answer::PreflightJson))
            }
            CommandBody::Reboot => power::reboot(self.power.as_ref(), &progress).await,
            CommandBody::Stop => power::stop(self.power.as_ref()).await,
            CommandBody::Wake(args) => power::wake(self.power.as_ref(), &args).await,
        }
    }

    async fn settle(&self, body: CommandBody, begun: Begun, now_us: i64) -> wire::Finished {
        power::settle(self.power.as_ref(), &body, &begun, now_us).await
    }

    fn boot_id(&self) -> String {
        self.power.boot().id
    }

    async fn facts_json(&self) -> Result<String, String> {
        let mut last = self.facts.lock().await;
        let options = ProbeOptions {
            previous: last.take(),
            known_updates: Some(self.updates.known()),
            ..ProbeOptions::default()
        };
        let facts = collect_facts(&options).await;
        let json = serde_json::to_string(&facts).map_err(|error| error.to_string());
        *last = Some(facts);
        json
    }

    async fn containers_json(&self) -> Result<String, String> {
        let mut known = self.containers.lock().await;
        *known = read_containers(&ProbeOptions::default(), &known).await.map_err(|error| error.to_string())?;
        serde_json::to_string(&*known).map_err(|error| error.to_string())
    }
}

fn answered(answer: serde_json::Result<Answer>) -> wire::Finished {
    match answer {
        Ok(answer) => wire::Finished { result: Some(answer), ..finished(CommandOutcome::Succeeded, "", "") },
        Err(error) => finished(CommandOutcome::Failed, "unwritable", &error.to_string()),
    }
}
