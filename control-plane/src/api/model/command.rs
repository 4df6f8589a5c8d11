//! A command as callers see it.

use muster_shared::{command::CommandBody, preflight::CheckResult, wire};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{filled, structure, time::Time};
use crate::commands::{self, Step};

/// A command and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8060", "server_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "target_server_id": null, "kind": "preflight", "item": null, "mode": null, "state": "succeeded", "code": null, "detail": null,
    "created_at": "2025-01-15T10:30:00Z", "started_at": "2025-01-15T10:30:00.1Z",
    "finished_at": "2025-01-15T10:30:02Z",
    "receipt": { "verified": true, "reason": null, "started_at": "2025-01-15T10:30:00.1Z",
        "ended_at": "2025-01-15T10:30:02Z", "agent_version": "0.1.0" },
    "progress": null,
    "result": { "checked_at_us": 1_736_937_002_000_000_i64, "checks": [] }
}))]
pub struct Command {
    pub id: String,
    /// The server that carries it out.
    pub server_id: String,
    /// The server it is about, where that is another one: whom a `wake` shall wake.
    pub target_server_id: Option<String>,
    /// `refresh_facts`, `preflight`, `reboot`, `stop`, `wake`, `change` or `confirm_change`.
    pub kind: String,
    /// Of a change and of what confirms one: what it is about, such as `install_docker` or `sshd`.
    pub item: Option<String>,
    /// Of a change: `plan`, `apply` or `undo`.
    pub mode: Option<String>,
    /// `queued`, `sent`, `received`, `started`, `succeeded`, `failed`, `refused`, `cancelled`, `expired` or
    /// `indeterminate`.
    pub state: String,
    /// A machine's word for why.
    pub code: Option<String>,
    /// A person's words, with a remedy.
    pub detail: Option<String>,
    pub created_at: Option<Time>,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    /// Whether its host put its name to the end; `null` where the host has not ended it.
    pub receipt: Option<Receipt>,
    /// The newest of what its host said while it carried it out: up to 200 lines of a command that is shown by itself, up to
    /// 20 of each of the newest 100 that run in a list, `null` elsewhere.
    pub progress: Option<CommandProgress>,
    /// What it brought: the facts, the preflight report, the report of a change, or of a reboot `old_boot_id`, `new_boot_id`, `boot_time` and
    /// `downtime_seconds`.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// What a host said while it carried a command out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandProgress {
    /// Oldest first.
    pub lines: Vec<CommandLine>,
    /// Whether more was said before these; following the command tells all.
    pub has_earlier: bool,
    /// How much of the command is over, where that can be told: of a preflight.
    pub percent: Option<u32>,
}

/// One line that a host said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "seq": 7, "at": "2025-01-15T10:30:01Z", "line": "Unpacking docker-ce", "check": null }))]
pub struct CommandLine {
    /// Counts the steps of the command; to be shown as `Last-Event-ID` to go on after this line.
    pub seq: u64,
    /// By the host's clock.
    pub at: Option<Time>,
    pub line: String,
    /// Of a readiness check: its result, which `line` says in words.
    pub check: Option<CheckResult>,
}

impl CommandProgress {
    fn of(progress: &commands::Progress) -> Self {
        Self {
            lines: progress.lines.iter().filter_map(CommandLine::of).collect(),
            has_earlier: progress.has_earlier,
            percent: progress.percent,
        }
    }
}

impl CommandLine {
    /// What `update` says; `None` where it is no line.
    #[must_use]
    pub fn of(update: &commands::Update) -> Option<Self> {
        let (line, check) = match &update.step {
            Step::Line(line) => (line.clone(), None),
            Step::Check(check) => (check_in_words(check), Some(check.clone())),
            Step::Received | Step::Started | Step::Finished(_) => return None,
        };
        Some(Self { seq: update.seq, at: Some(Time(update.at_us)), line, check })
    }
}

fn check_in_words(check: &CheckResult) -> String {
    let words = serde_json::to_value(check).unwrap_or_default();
    let word = |name: &str| words.get(name).and_then(Value::as_str).unwrap_or_default().replace('_', " ");
    format!("{}: {}: {}", word("name"), word("status"), check.evidence)
}

impl From<CommandProgress> for wire::CommandProgress {
    fn from(progress: CommandProgress) -> Self {
        let line = |line: CommandLine| wire::CommandLine {
            seq: line.seq,
            at: line.at.map(Into::into),
            line: line.line,
            check: line.check.map(|check| structure::to_struct(serde_json::to_value(check).unwrap_or_default())),
        };
        Self {
            lines: progress.lines.into_iter().map(line).collect(),
            has_earlier: progress.has_earlier,
            percent: progress.percent,
        }
    }
}

impl From<wire::CommandProgress> for CommandProgress {
    fn from(progress: wire::CommandProgress) -> Self {
        let line = |line: wire::CommandLine| CommandLine {
            seq: line.seq,
            at: line.at.map(Into::into),
            line: line.line,
            check: line.check.and_then(|check| serde_json::from_value(structure::to_json(check)).ok()),
        };
        Self {
            lines: progress.lines.into_iter().map(line).collect(),
            has_earlier: progress.has_earlier,
            percent: progress.percent,
        }
    }
}

/// What the host signed of a command's end, as the control plane judged it when it came. The receipt itself is in the
/// audit entry `COMMAND_FINISHED`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Whether it was signed with the key that the host's certificate names, and says what the host reported.
    pub verified: bool,
    /// Why not.
    pub reason: Option<String>,
    /// By the host's clock, as the two below: when the command started, where it did.
    pub started_at: Option<Time>,
    pub ended_at: Option<Time>,
    /// The version of the agent that carried it out.
    pub agent_version: Option<String>,
}

impl Receipt {
    fn of(standing: &commands::ReceiptStanding) -> Self {
        Self {
            verified: standing.no_proof.is_none(),
            reason: standing.no_proof.clone(),
            started_at: standing.started_at_us.map(Time),
            ended_at: standing.ended_at_us.map(Time),
            agent_version: standing.agent_version.clone(),
        }
    }
}

impl From<Receipt> for wire::CommandReceipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            verified: receipt.verified,
            reason: receipt.reason.unwrap_or_default(),
            started_at: receipt.started_at.map(Into::into),
            ended_at: receipt.ended_at.map(Into::into),
            agent_version: receipt.agent_version.unwrap_or_default(),
        }
    }
}

impl From<wire::CommandReceipt> for Receipt {
    fn from(receipt: wire::CommandReceipt) -> Self {
        Self {
            verified: receipt.verified,
            reason: filled(receipt.reason),
            started_at: receipt.started_at.map(Into::into),
            ended_at: receipt.ended_at.map(Into::into),
            agent_version: filled(receipt.agent_version),
        }
    }
}

impl Command {
    /// `command` as it is.
    #[must_use]
    pub fn of(command: &commands::Command) -> Self {
        let (item, mode) = match &command.body {
            CommandBody::Change(args) => (Some(args.item.name()), Some(args.mode)),
            CommandBody::ConfirmChange(args) => (Some(args.item), None),
            _ => (None, None),
        };
        Self {
            id: command.id.to_string(),
            server_id: command.server_id.to_string(),
            target_server_id: command.body.target().map(|target| target.to_string()),
            kind: command.body.kind().to_owned(),
            item: item.map(|item| item.as_str().to_owned()),
            mode: mode.map(|mode| mode.as_str().to_owned()),
            state: command.state.as_str().to_owned(),
            code: filled(command.code.clone()),
            detail: filled(command.detail.clone()),
            created_at: Some(Time(command.created_at_us)),
            started_at: command.started_at_us.map(Time),
            finished_at: command.finished_at_us.map(Time),
            receipt: command.receipt.as_ref().map(Receipt::of),
            progress: None,
            result: command.result.clone(),
        }
    }

    /// The same with what its host said.
    #[must_use]
    pub fn with(command: &commands::Command, progress: Option<&commands::Progress>) -> Self {
        Self { progress: progress.map(CommandProgress::of), ..Self::of(command) }
    }
}

impl From<Command> for wire::Command {
    fn from(command: Command) -> Self {
        Self {
            id: command.id,
            server_id: command.server_id,
            target_server_id: command.target_server_id.unwrap_or_default(),
            kind: command.kind,
            item: command.item.unwrap_or_default(),
            mode: command.mode.unwrap_or_default(),
            state: command.state,
            code: command.code.unwrap_or_default(),
            detail: command.detail.unwrap_or_default(),
            created_at: command.created_at.map(Into::into),
            started_at: command.started_at.map(Into::into),
            finished_at: command.finished_at.map(Into::into),
            receipt: command.receipt.map(Into::into),
            progress: command.progress.map(Into::into),
            result: command.result.map(structure::to_struct),
        }
    }
}

impl From<wire::Command> for Command {
    fn from(command: wire::Command) -> Self {
        Self {
            id: command.id,
            server_id: command.server_id,
            target_server_id: filled(command.target_server_id),
            kind: command.kind,
            item: filled(command.item),
            mode: filled(command.mode),
            state: command.state,
            code: filled(command.code),
            detail: filled(command.detail),
            created_at: command.created_at.map(Into::into),
            started_at: command.started_at.map(Into::into),
            finished_at: command.finished_at.map(Into::into),
            receipt: command.receipt.map(Into::into),
            progress: command.progress.map(Into::into),
            result: command.result.map(structure::to_json),
        }
    }
}
