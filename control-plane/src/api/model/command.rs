//! A command as callers see it.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{filled, structure, time::Time};
use crate::commands;

/// A command and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8060", "server_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "target_server_id": null, "kind": "preflight", "state": "succeeded", "code": null, "detail": null,
    "created_at": "2025-01-15T10:30:00Z", "started_at": "2025-01-15T10:30:00.1Z",
    "finished_at": "2025-01-15T10:30:02Z",
    "receipt": { "verified": true, "reason": null, "started_at": "2025-01-15T10:30:00.1Z",
        "ended_at": "2025-01-15T10:30:02Z", "agent_version": "0.1.0" },
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
    /// What it brought: the facts, the preflight report, the report of a change, or of a reboot `old_boot_id`, `new_boot_id`, `boot_time` and
    /// `downtime_seconds`.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
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
        Self {
            id: command.id.to_string(),
            server_id: command.server_id.to_string(),
            target_server_id: command.body.target().map(|target| target.to_string()),
            kind: command.body.kind().to_owned(),
            state: command.state.as_str().to_owned(),
            code: filled(command.code.clone()),
            detail: filled(command.detail.clone()),
            created_at: Some(Time(command.created_at_us)),
            started_at: command.started_at_us.map(Time),
            finished_at: command.finished_at_us.map(Time),
            receipt: command.receipt.as_ref().map(Receipt::of),
            result: command.result.clone(),
        }
    }
}

impl From<Command> for wire::Command {
    fn from(command: Command) -> Self {
        Self {
            id: command.id,
            server_id: command.server_id,
            target_server_id: command.target_server_id.unwrap_or_default(),
            kind: command.kind,
            state: command.state,
            code: command.code.unwrap_or_default(),
            detail: command.detail.unwrap_or_default(),
            created_at: command.created_at.map(Into::into),
            started_at: command.started_at.map(Into::into),
            finished_at: command.finished_at.map(Into::into),
            receipt: command.receipt.map(Into::into),
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
            state: command.state,
            code: filled(command.code),
            detail: filled(command.detail),
            created_at: command.created_at.map(Into::into),
            started_at: command.started_at.map(Into::into),
            finished_at: command.finished_at.map(Into::into),
            receipt: command.receipt.map(Into::into),
            result: command.result.map(structure::to_json),
        }
    }
}
