//! `/api/v1/vms/{id}/bootstrap`

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{problem::Problem, routes::Acting};
use crate::{api::sse, app::App};

/// Install the agent over SSH and wait for its first sample.
///
/// Answers server-sent events: one `status` a step (`connecting`, `host_key`, `authenticated`, `detecting`, `uploading`,
/// `installing`, `joining`, `waiting_for_agent`, `online`, `first_sample`), then `complete` or `error`. The run goes on
/// when the listener leaves. A server whose agent is online is left as it is.
#[utoipa::path(post, path = "/api/v1/vms/{id}/bootstrap", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The run's events", body = String, content_type = "text/event-stream", example = "event: status\ndata: {\"step\": \"connecting\", \"message\": \"Establishing SSH connection to 203.0.113.10 port 22…\", \"elapsed_ms\": 1}\n\nevent: complete\ndata: {\"status\": \"online\", \"changed\": true, \"elapsed_ms\": 1900}\n\n"),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "The server has no login, is quarantined, or is being bootstrapped already")))]
pub async fn bootstrap(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    let events = app.bootstrap.start(&act, id).await?;
    Ok(sse::respond(events))
}
