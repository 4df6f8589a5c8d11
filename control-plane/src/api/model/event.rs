//! What happened in a fleet, as those who follow it are told.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{command::Command, filled, server::Vm, summary::Summary};

/// One event of a fleet. What it happened to is shown as it is when the event is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "event": "health_changed", "id": "00c0ffee00c0ffee-42", "server_id": "01890a5d-ac96-774b-bcce-b302099a8057"
}))]
pub struct FleetEvent {
    /// `ready`, `server_created`, `server_changed`, `server_deleted`, `health_changed`, `hardening_changed`, `agent_online`,
    /// `agent_offline`, `environment_changed`, `project_changed`, `member_changed`, `command_changed`,
    /// `samples_damaged`, `sample`, `reset` or `closed`.
    pub event: String,
    /// To be shown as `Last-Event-ID` to go on after this event; samples have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_id: Option<String>,
    /// Of an environment's event: the project it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Box<Vm>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Box<Command>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Of `reset` and `closed`: a machine's word for why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of `reset` and `closed`: what to do, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl From<FleetEvent> for wire::FleetEvent {
    fn from(event: FleetEvent) -> Self {
        Self {
            event: event.event,
            id: event.id.unwrap_or_default(),
            server_id: event.server_id.unwrap_or_default(),
            server: event.server.map(|server| (*server).into()),
            command: event.command.map(|command| (*command).into()),
            summary: event.summary.map(Into::into),
            code: event.code.unwrap_or_default(),
            detail: event.detail.unwrap_or_default(),
            environment_id: event.environment_id.unwrap_or_default(),
            project_id: event.project_id.unwrap_or_default(),
            user_id: event.user_id.unwrap_or_default(),
        }
    }
}

impl From<wire::FleetEvent> for FleetEvent {
    fn from(event: wire::FleetEvent) -> Self {
        Self {
            event: event.event,
            id: filled(event.id),
            server_id: filled(event.server_id),
            server: event.server.map(|server| Box::new(server.into())),
            command: event.command.map(|command| Box::new(command.into())),
            summary: event.summary.map(Into::into),
            code: filled(event.code),
            detail: filled(event.detail),
            environment_id: filled(event.environment_id),
            project_id: filled(event.project_id),
            user_id: filled(event.user_id),
        }
    }
}
