//! Commands: what is asked of hosts, kept until the host has answered.
//!
//! A command is stored before anybody is told of it. The session that holds the host's stream claims it under a lease
//! and pushes it down; a lease that runs out, or a stream that ends, puts it back. The host starts it at most once, so
//! it may be pushed any number of times. What the host reports is stored, then acknowledged. A command that was pushed
//! at least once is never called expired before the host had time to report that it ran after all.

mod awaiting;
mod command;
mod filter;
mod progress;
mod receipt;
mod reconcile;
mod watch;

pub use awaiting::{Awaited, UP_WITHIN_US, awaits_target};
pub use command::{
    Command, CommandResult, Finished, InvalidUpdate, Step, Update, next_state, parse_update, powers_off,
};
pub use filter::CommandFilter;
pub use progress::{LISTED_LINES, MAX_LISTED, Progress, SHOWN_LINES};
pub use receipt::{HostReceipt, NoProof, ReceiptStanding, Reporter, judge, on_record};
pub use reconcile::keep_reconciled;
pub use watch::CommandEvent;

use std::{collections::HashMap, fmt, sync::Arc};

use futures_util::Stream;
use muster_shared::{
    command::{CommandBody, CommandState, DEFAULT_TTL_SECONDS},
    id::{CommandId, OrgId, ServerId},
    sign::CommandSigner,
    wire,
};

use serde_json::json;

use crate::{
    access::Act,
    audit::{Action, Record},
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    servers::{AgentStatus, Servers},
    store::{Claim, RecordOutcome, Store},
};

/// How long a command may wait for its host unless the caller says otherwise.
pub const DEFAULT_TTL_US: i64 = DEFAULT_TTL_SECONDS * 1_000_000;
/// Bounds of that time.
pub const MIN_TTL_US: i64 = 10 * 1_000_000;
pub const MAX_TTL_US: i64 = 7 * 24 * 3_600 * 1_000_000;
/// How long a pushed command may stay unanswered before it is pushed again.
pub const LEASE_US: i64 = 15 * 1_000_000;
/// Most unfinished commands of a server; further ones are refused.
pub const MAX_UNFINISHED: u32 = 100;
/// Most commands a session claims at once.
pub const MAX_CLAIM: u32 = 16;
/// Commands in a page, at most and unless asked otherwise.
pub const MAX_PAGE: u32 = 1000;
pub const DEFAULT_PAGE: u32 = 100;
/// How long after its expiry a command that was pushed waits for its host's report; then it is indeterminate.
pub const REPORT_GRACE_US: i64 = 10 * 60 * 1_000_000;

type Result<T> = std::result::Result<T, Error>;

/// Tells the session that holds a host's stream, if there is one, that there is something to do. A hint: sessions look
/// by themselves, too.
pub trait Wake: Send + Sync {
    /// Something changed for `server`.
    fn wake(&self, server: ServerId);
}

/// What became of a reported step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is stored now: acknowledge it.
    Stored,
    /// It was stored before: acknowledge it again.
    Duplicate,
    /// There is no such command: acknowledge it, or it comes for ever.
    Unknown,
    /// The command is another server's: nothing is stored. Acknowledge it.
    Foreign,
}

/// What became of the wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It had not left the control plane, and never will.
    AtOnce,
    /// The host has it or may have it, and is told.
    Requested,
    /// It has started or ended.
    TooLate,
}

/// The commands of every organisation. Clones share everything.
#[derive(Clone)]
pub struct Commands {
    store: Store,
    servers: Servers,
    signer: Arc<CommandSigner>,
    events: Events,
    wake: Arc<dyn Wake>,
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}

impl Commands {
    /// The commands in `store`, signed by `signer`; `wake` is told of new ones.
    #[must_use]
    pub fn new(
        store: Store,
        servers: Servers,
        signer: Arc<CommandSigner>,
        events: Events,
        wake: Arc<dyn Wake>,
    ) -> Self {
        Self { store, servers, signer, events, wake }
    }

    /// Stores a command for `server`, then wakes its session. It waits `ttl_us` at most for its host.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where no agent could ever fetch it;
    /// [`ErrorKind::Exhausted`] when [`MAX_UNFINISHED`] are waiting.
    pub async fn submit(&self, act: &Act, server: ServerId, body: CommandBody, ttl_us: i64) -> Result<Command> {
        self.submit_as(act, CommandId::generate(), server, body, ttl_us).await
    }

    /// The same under an id of the caller's, who had it before.
    ///
    /// # Errors
    /// As [`Self::submit`]; [`ErrorKind::Conflict`] where there is a command of this id.
    pub async fn submit_as(
        &self,
        act: &Act,
        id: CommandId,
        server: ServerId,
        body: CommandBody,
        ttl_us: i64,
    ) -> Result<Command> {
        let (org, now_us) = (act.org_id, act.at_us);
        let created_by = act.user_id().ok_or_else(|| Error::internal("a command is given by a user"))?;
        let record = self.servers.get(org, server).await?;
        require_agent(record.agent.status)?;
        let command = Command {
            id,
            org_id: org,
            server_id: server,
            body,
            state: CommandState::Queued,
            code: String::new(),
            detail: String::new(),
            result: None,
            created_by,
            created_at_us: now_us,
            expires_at_us: now_us.saturating_add(ttl_us.clamp(MIN_TTL_US, MAX_TTL_US)),
            sent_at_us: None,
            started_at_us: None,
            finished_at_us: None,
            cancel_requested_at_us: None,
            receipt: None,
        };
        let record = Record::new(act, Action::CommandSubmitted, command.id, &record.name)
            .after(json!({ "server_id": server.to_string(), "kind": command.body.kind(), "body": command.body }));
        if !self.store.insert_command(&command, MAX_UNFINISHED, &record).await? {
            let detail = format!("{MAX_UNFINISHED} commands wait for this server already: wait or cancel some");
            return Err(Error::new(ErrorKind::Exhausted, "too_many_commands", detail));
        }
        self.tell(&command);
        Ok(command)
    }

    /// The command `id`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId, id: CommandId) -> Result<Command> {
        self.store.command(org, id).await?.ok_or_else(|| Error::not_found("command"))
    }

    /// A page of the organisation's commands, newest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, org: OrgId, filter: &CommandFilter) -> Result<Vec<Command>> {
        let filter = CommandFilter { limit: filter.limit.clamp(1, MAX_PAGE), ..filter.clone() };
        Ok(self.store.list_commands(org, &filter).await?)
    }

    /// The newest [`SHOWN_LINES`] of what the host has said of `command`; `None` where it has said nothing.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn progress(&self, command: &Command) -> Result<Option<Progress>> {
        self.newest(command, SHOWN_LINES).await
    }

    /// The newest [`LISTED_LINES`] of what hosts have said of those `commands` that run, of [`MAX_LISTED`] at most.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn progress_of(&self, commands: &[Command]) -> Result<HashMap<CommandId, Progress>> {
        let running = commands.iter().filter(|command| command.state == CommandState::Started).take(MAX_LISTED);
        let mut said = HashMap::new();
        for command in running {
            if let Some(progress) = self.newest(command, LISTED_LINES).await? {
                said.insert(command.id, progress);
            }
        }
        Ok(said)
    }

    async fn newest(&self, command: &Command, limit: usize) -> Result<Option<Progress>> {
        let steps = limit + progress::OTHER_STEPS;
        let newest = self.store.newest_command_updates(command.org_id, command.id, steps).await?;
        Ok(Progress::of(&command.body, newest, limit))
    }

    /// Cancels a command that has not started.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn cancel(&self, act: &Act, id: CommandId) -> Result<Cancelled> {
        let org = act.org_id;
        let command = self.get(org, id).await?;
        let server = self.servers.get(org, command.server_id).await?;
        let record = Record::new(act, Action::CommandCancelled, id, &server.name)
            .change(&json!({ "state": command.state.as_str() }), &json!({ "state": "cancelled" }));
        let outcome = self.store.cancel_command(id, &record).await?;
        if outcome != Cancelled::TooLate {
            self.tell(&self.get(org, id).await?);
        }
        Ok(outcome)
    }

    /// Claims what waits for `server` under a lease of [`LEASE_US`], oldest first, to be pushed down its stream.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn claim(&self, server: ServerId, lease_owner: &str, now_us: i64) -> Result<Vec<Command>> {
        let mut claimed = Vec::new();
        for id in self.store.waiting_commands(server, MAX_CLAIM, now_us).await? {
            match self.store.claim_command(server, id, lease_owner, now_us, now_us + LEASE_US).await? {
                Claim::Taken(command) => {
                    self.events.publish(command.org_id, server, EventKind::CommandChanged(id));
                    claimed.push(*command);
                }
                Claim::HeldByAnother | Claim::NoLongerWaiting => {}
            }
        }
        Ok(claimed)
    }

    /// Commands that may have reached `server`, have not started as far as is known, and are to be cancelled there.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn cancellations(&self, server: ServerId) -> Result<Vec<CommandId>> {
        Ok(self.store.cancellations(server, MAX_CLAIM).await?)
    }

    /// The command as its host accepts it.
    #[must_use]
    pub fn sign(&self, command: &Command) -> wire::SignedCommand {
        self.signer.sign(&command.envelope())
    }

    /// Stores a step that a server reported, and what it brought back. Safe to repeat.
    ///
    /// # Errors
    /// [`Error`] when the store fails: then nothing may be acknowledged.
    pub async fn record(
        &self,
        from: impl Into<Reporter>,
        id: CommandId,
        update: &Update,
        now_us: i64,
    ) -> Result<Recorded> {
        let from = from.into();
        let server = from.server;
        let (recorded, org) = match self.store.record_update(&from, id, update, now_us).await? {
            RecordOutcome::Unknown => return Ok(Recorded::Unknown),
            RecordOutcome::Foreign => {
                metrics::counter!("muster_commands_foreign_updates_total").increment(1);
                return Ok(Recorded::Foreign);
            }
            RecordOutcome::Stored { org_id } => (Recorded::Stored, org_id),
            RecordOutcome::Duplicate { org_id } => (Recorded::Duplicate, org_id),
        };
        // A duplicate may be the repetition of an update whose result was not kept before a crash.
        if let Step::Finished(Finished { result: Some(result), .. }) = &update.step {
            self.keep_result(org, server, result, update.at_us, now_us).await?;
        }
        if recorded == Recorded::Stored {
            self.events.publish(org, server, EventKind::CommandUpdated { command_id: id, seq: update.seq });
            if update.step.state().is_some() {
                self.events.publish(org, server, EventKind::CommandChanged(id));
            }
        }
        Ok(recorded)
    }

    /// The command's stored steps, then what comes, until it has ended.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn watch(
        &self,
        org: OrgId,
        id: CommandId,
    ) -> Result<impl Stream<Item = Result<CommandEvent>> + Send + use<>> {
        self.watch_after(org, id, 0).await
    }

    /// The same without the steps up to `after_seq`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn watch_after(
        &self,
        org: OrgId,
        id: CommandId,
        after_seq: u64,
    ) -> Result<impl Stream<Item = Result<CommandEvent>> + Send + use<>> {
        let hints = self.events.subscribe();
        self.get(org, id).await?;
        Ok(watch::watch(self.store.clone(), hints, org, id, after_seq))
    }

    async fn keep_result(
        &self,
        org: OrgId,
        server: ServerId,
        result: &CommandResult,
        at_us: i64,
        now_us: i64,
    ) -> Result<()> {
        let kept = match result {
            CommandResult::Facts(json) => self.servers.record_facts(org, server, json.as_bytes(), at_us, now_us).await,
            CommandResult::Preflight(report) => self.servers.record_preflight(org, server, report).await,
            CommandResult::Reboot(_) | CommandResult::Change(_) => Ok(()),
        };
        match kept {
            // The step is stored with it; only the server's record does without. Repeating would not mend it.
            Err(error) if error.kind == ErrorKind::Invalid => {
                tracing::warn!(%server, code = error.code, "a command's result can't be read");
                Ok(())
            }
            kept => kept,
        }
    }

    fn tell(&self, command: &Command) {
        self.events.publish(command.org_id, command.server_id, EventKind::CommandChanged(command.id));
        self.wake.wake(command.server_id);
    }
}

fn require_agent(status: AgentStatus) -> Result<()> {
    let detail = match status {
        AgentStatus::Pending | AgentStatus::Online | AgentStatus::Offline => return Ok(()),
        AgentStatus::None => "the server has no agent: bootstrap it, or join it with a token",
        AgentStatus::Quarantined => "the server's identity is quarantined: release it and join the right machine",
        AgentStatus::Revoked => "the agent's identity was revoked: join the server again",
        AgentStatus::Retired => "the agent was retired",
    };
    Err(Error::new(ErrorKind::Precondition, "no_agent", detail))
}
