//! A run as the fleet knows it, and each server's part in it.

use muster_shared::id::{CommandId, FleetRunId, OrgId, ServerId, UserId};

use super::task::Task;
use crate::servers::words;

words! {
    /// Where a run stands.
    RunState {
        /// Servers begin, wave after wave.
        Running = "running",
        /// Every server had its turn.
        Done = "done",
        /// More servers failed than may: no other begins.
        Stopped = "stopped",
        /// A person stopped it: no other begins.
        Cancelled = "cancelled",
    }
}

words! {
    /// Where a server stands in a run.
    ServerOutcome {
        Waiting = "waiting",
        /// Its command is under way.
        Running = "running",
        Succeeded = "succeeded",
        /// Also where it is not known how the command ended.
        Failed = "failed",
        /// It never began.
        Skipped = "skipped",
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetRun {
    pub id: FleetRunId,
    pub org_id: OrgId,
    pub task: Task,
    /// What selected the servers; empty where they were named, or taken over from the dry run.
    pub filter: String,
    /// Whether servers are only asked what would be done.
    pub dry_run: bool,
    /// The dry run whose servers these are.
    pub dry_run_id: Option<FleetRunId>,
    /// Servers that may be at work at once.
    pub wave_size: u32,
    /// How many servers may fail before no other begins.
    pub max_failures: u32,
    pub state: RunState,
    /// The last wave whose servers may begin, counted from 0.
    pub wave: u32,
    pub created_by: UserId,
    pub created_by_name: String,
    pub created_at_us: i64,
    /// When the last server ended.
    pub ended_at_us: Option<i64>,
    pub tally: Tally,
}

/// How many servers of a run stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Waiting in waves that have begun.
    pub waiting_now: u64,
    /// Waiting in later waves.
    pub waiting_later: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// A server's part in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunServer {
    pub server: ServerId,
    pub name: String,
    /// Counted from 0.
    pub wave: u32,
    pub state: ServerOutcome,
    /// A machine's word; empty where there is nothing to say.
    pub code: String,
    pub detail: String,
    /// The command, once the server has begun.
    pub command: Option<CommandId>,
    pub updated_at_us: i64,
}

/// One server's work, held by a lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    pub run: FleetRunId,
    pub org: OrgId,
    pub server: ServerId,
    pub server_name: String,
    pub lease: String,
    pub task: Task,
    pub dry_run: bool,
    pub created_by: UserId,
    pub created_by_name: String,
    /// As what the creator was let in, in the store's words.
    pub created_with: String,
    pub command: CommandId,
    pub confirmation: CommandId,
}

/// A run to be kept.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: FleetRunId,
    pub task: Task,
    pub filter: String,
    pub dry_run: bool,
    pub dry_run_id: Option<FleetRunId>,
    pub wave_size: u32,
    pub max_failures: u32,
    /// In the order of their turns. Never empty.
    pub servers: Vec<ServerId>,
    /// Nothing is asked of the servers: the run shows who they are, and is over.
    pub only_shows: bool,
}
