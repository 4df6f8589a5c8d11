//! What was asked of a server's power.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{command::Command, filled};
use crate::power::Asked;

/// What became of a wish to reboot, stop or start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "server_id": "01890a5d-ac96-774b-bcce-b302099a8057", "status": "running", "message": "the server reboots",
    "command": {
        "id": "01890a5d-ac96-774b-bcce-b302099a8060", "server_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "target_server_id": null, "kind": "reboot", "state": "started", "code": null, "detail": null,
        "created_at": "2025-01-15T10:30:00Z", "started_at": "2025-01-15T10:30:00.1Z", "finished_at": null,
        "result": null
    }
}))]
pub struct PowerAnswer {
    /// The server it is about.
    pub server_id: String,
    /// Its status now: `pending`, `running`, `stopped` or `error`.
    pub status: String,
    /// What happens, in words.
    pub message: String,
    /// The command that does it: follow it under `/api/v1/commands/{id}`. A start is carried out by another server. `null`
    /// where nothing had to be done.
    pub command: Option<Command>,
}

impl PowerAnswer {
    /// `asked` as callers see it.
    #[must_use]
    pub fn of(asked: &Asked) -> Self {
        let (server, message, command) = match asked {
            Asked::UnderWay { server, command, message } => (server, message, Some(Command::of(command))),
            Asked::Already { server, message } => (server, message, None),
        };
        Self {
            server_id: server.id.to_string(),
            status: server.status.as_str().to_owned(),
            message: message.clone(),
            command,
        }
    }
}

impl From<PowerAnswer> for wire::PowerResponse {
    fn from(answer: PowerAnswer) -> Self {
        Self {
            server_id: answer.server_id,
            status: answer.status,
            message: answer.message,
            command: answer.command.map(Into::into),
        }
    }
}

impl From<wire::PowerResponse> for PowerAnswer {
    fn from(answer: wire::PowerResponse) -> Self {
        Self {
            server_id: answer.server_id,
            status: answer.status,
            message: filled(answer.message).unwrap_or_default(),
            command: answer.command.map(Into::into),
        }
    }
}
