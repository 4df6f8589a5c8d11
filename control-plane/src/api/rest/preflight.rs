//! `/api/v1/vms/{id}/preflight`

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{problem::Problem, routes::Acting};
use crate::{api::sse, app::App};

/// Run the readiness checks.
///
/// Answers server-sent events: `status` and `os_info`, one `check` as each check finishes, then `complete`, or
/// `error` when the run could not be finished. The run goes on when the listener leaves, and its report is kept.
#[utoipa::path(post, path = "/api/v1/vms/{id}/preflight", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The run's events", body = String, content_type = "text/event-stream", example = "event: status\ndata: {\"step\": \"connecting\", \"message\": \"Establishing SSH connection...\"}\n\nevent: check\ndata: {\"name\": \"docker_installed\", \"passed\": false, \"fixable\": true}\n\nevent: complete\ndata: {\"status\": \"needs_setup\", \"passed\": 7, \"failed\": 2, \"warnings\": 1}\n\n"),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "Neither a connected agent nor a login"),
        (status = 429, description = "Too many runs are under way")))]
pub async fn run_preflight(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    let events = app.preflight.start(&act, id).await?;
    Ok(sse::respond(events))
}
