//! What commands do, behind a trait: probing in earnest, or whatever a simulated host answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use muster_shared::{
    action::Mode,
    command::CommandBody,
    id::CommandId,
    wire::{self, CommandOutcome, executor_reply},
};
use tokio::sync::{Mutex, mpsc};

use super::{
    error,
    machine::{Begun, crashed, finished},
    power::BOOT_ENDS_WITHIN,
    reply,
};

/// Progress waiting to be journalled; a command waits when it is full.
pub(super) const PROGRESS: usize = 64;
/// How long a command may take that does not end the boot.
pub const RUN_WITHIN: Duration = Duration::from_secs(120);
/// How long a change to the host may take: packages come over slow lines, and another change may go first. Each of its
/// steps has its own limit, within which it is taken back.
const CHANGE_WITHIN: Duration = Duration::from_secs(90 * 60);
/// How long one may that does, with what comes before and after.
const REBOOT_WITHIN: Duration = BOOT_ENDS_WITHIN.saturating_add(Duration::from_secs(60));
/// How long an answer is as good as a new one.
const FACTS_FRESH: Duration = Duration::from_secs(5);
const CONTAINERS_FRESH: Duration = Duration::from_secs(1);

/// Carries out commands and answers questions.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Carries out `body` as the command `id`, telling `progress` on the way.
    async fn run(&self, id: CommandId, body: CommandBody, progress: mpsc::Sender<wire::Progress>) -> wire::Finished;

    /// Finds out how the command `id` ended, which an earlier process had started. It is not run again: what can't be
    /// seen to hold is at most taken back.
    async fn settle(&self, _id: CommandId, _body: CommandBody, _begun: Begun, _now_us: i64) -> wire::Finished {
        crashed()
    }

    /// The id of the boot that goes on; empty where it can't be told.
    fn boot_id(&self) -> String {
        String::new()
    }

    /// The host's facts as JSON, or why there are none.
    async fn facts_json(&self) -> Result<String, String>;

    /// The engine's containers as JSON, or why there are none.
    async fn containers_json(&self) -> Result<String, String>;
}

/// Runs `body`, giving it up when it takes too long.
pub(super) async fn run_within_limit(
    work: &dyn Work,
    (id, body): (CommandId, CommandBody),
    progress: mpsc::Sender<wire::Progress>,
) -> wire::Finished {
    let outcome = if body.is_read_only() { CommandOutcome::Failed } else { CommandOutcome::Indeterminate };
    let limit = match &body {
        CommandBody::Change(args) if args.mode != Mode::Plan => CHANGE_WITHIN,
        body if body.ends_the_boot() => REBOOT_WITHIN,
        _ => RUN_WITHIN,
    };
    tokio::time::timeout(limit, work.run(id, body, progress)).await.unwrap_or_else(|_| {
        finished(outcome, "timed_out", "the host did not finish in time; look at its load and its disks")
    })
}

/// Answers to read-only questions, each asked of the host once for all who ask at the same time.
pub(super) struct Answers {
    work: Arc<dyn Work>,
    facts: Mutex<Option<(Instant, String)>>,
    containers: Mutex<Option<(Instant, String)>>,
}

impl Answers {
    pub(super) fn new(work: Arc<dyn Work>) -> Self {
        Self { work, facts: Mutex::new(None), containers: Mutex::new(None) }
    }

    pub(super) async fn facts(&self) -> wire::ExecutorReply {
        let mut known = self.facts.lock().await;
        match fresh(&known, FACTS_FRESH) {
            Some(json) => reply(executor_reply::Kind::FactsJson(json)),
            None => match self.work.facts_json().await {
                Ok(json) => {
                    *known = Some((Instant::now(), json.clone()));
                    reply(executor_reply::Kind::FactsJson(json))
                }
                Err(detail) => error("facts_unavailable", &detail),
            },
        }
    }

    pub(super) async fn containers(&self) -> wire::ExecutorReply {
        let mut known = self.containers.lock().await;
        match fresh(&known, CONTAINERS_FRESH) {
            Some(json) => reply(executor_reply::Kind::ContainersJson(json)),
            None => match self.work.containers_json().await {
                Ok(json) => {
                    *known = Some((Instant::now(), json.clone()));
                    reply(executor_reply::Kind::ContainersJson(json))
                }
                Err(detail) => error("containers_unavailable", &detail),
            },
        }
    }
}

fn fresh(known: &Option<(Instant, String)>, within: Duration) -> Option<String> {
    known.as_ref().filter(|(at, _)| at.elapsed() < within).map(|(_, json)| json.clone())
}
