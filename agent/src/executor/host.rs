//! The host's own answers: probing in earnest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use muster_shared::{
    command::CommandBody,
    facts::{Container, Facts},
    hardening::ItemStanding,
    id::CommandId,
    wire::{self, CommandOutcome, finished::Result as Answer, progress},
};
use tokio::sync::{Mutex, mpsc};

use super::{
    machine::{Begun, finished},
    power::{self, Power},
    updates::PendingUpdates,
    work::Work,
};
use crate::{
    action::engine::{Ended, Engine, Lines},
    probe::{ProbeOptions, collect_facts, read_containers, run_preflight},
};

/// How often the hardening profile is looked at: programs are run for it, so less often than facts are read.
const ASSESS_EVERY: Duration = Duration::from_secs(110);
/// Lines of a change waiting to be passed on; more are dropped.
const LINES: usize = 256;

/// Reads this host, and ends its boot.
pub struct HostWork {
    power: Arc<dyn Power>,
    engine: Engine,
    /// When the hardening profile was last looked at; `None` after a change.
    assessed: Mutex<Option<Instant>>,
    /// The last facts and containers: what can't have changed since is taken over from them.
    facts: Mutex<Option<Facts>>,
    containers: Mutex<Vec<Container>>,
    updates: PendingUpdates,
}

impl HostWork {
    /// Work on this host, whose boot ends through `power`, and which `engine` changes.
    #[must_use]
    pub fn new(power: Arc<dyn Power>, engine: Engine) -> Self {
        Self {
            power,
            engine,
            assessed: Mutex::default(),
            facts: Mutex::default(),
            containers: Mutex::default(),
            updates: PendingUpdates::default(),
        }
    }

    async fn assess(&self) -> Vec<ItemStanding> {
        let standings = self.engine.assess().await;
        *self.assessed.lock().await = Some(Instant::now());
        standings
    }
}

#[async_trait]
impl Work for HostWork {
    async fn run(&self, id: CommandId, body: CommandBody, progress: mpsc::Sender<wire::Progress>) -> wire::Finished {
        match body {
            CommandBody::RefreshFacts => {
                let known_updates = Some(self.updates.current().await);
                let mut facts = collect_facts(&ProbeOptions { known_updates, ..ProbeOptions::default() }).await;
                facts.hardening = self.assess().await;
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
            CommandBody::Change(args) => {
                let finished =
                    heard(&progress, |lines| async move { self.engine.change(id, &args, &lines).await }).await;
                // What was known of the profile may be wrong now.
                *self.assessed.lock().await = None;
                finished
            }
            CommandBody::ConfirmChange(args) => {
                heard(&progress, |lines| async move { self.engine.confirm(&args, &lines).await }).await
            }
        }
    }

    async fn settle(&self, id: CommandId, body: CommandBody, begun: Begun, now_us: i64) -> wire::Finished {
        match body {
            CommandBody::Change(args) => self.engine.settle(id, &args).await.into(),
            // Asking again finds what the first time came to.
            CommandBody::ConfirmChange(args) => {
                let (lines, _) = mpsc::channel(1);
                self.engine.confirm(&args, &lines).await.into()
            }
            body => power::settle(self.power.as_ref(), &body, &begun, now_us).await,
        }
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
        let mut facts = collect_facts(&options).await;
        let is_fresh = self.assessed.lock().await.is_some_and(|at| at.elapsed() < ASSESS_EVERY);
        facts.hardening = match options.previous {
            Some(previous) if is_fresh => previous.hardening,
            _ => self.assess().await,
        };
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

/// Passes on the lines that `change` says.
async fn heard<F>(progress: &mpsc::Sender<wire::Progress>, change: impl FnOnce(Lines) -> F) -> wire::Finished
where
    F: Future<Output = Ended>,
{
    let (lines, mut said) = mpsc::channel(LINES);
    let pass_on = async {
        while let Some(line) = said.recv().await {
            let _ = progress.send(wire::Progress { kind: Some(progress::Kind::Line(line)) }).await;
        }
    };
    let (ended, ()) = tokio::join!(change(lines), pass_on);
    ended.into()
}

fn answered(answer: serde_json::Result<Answer>) -> wire::Finished {
    match answer {
        Ok(answer) => wire::Finished { result: Some(answer), ..finished(CommandOutcome::Succeeded, "", "") },
        Err(error) => finished(CommandOutcome::Failed, "unwritable", &error.to_string()),
    }
}
