//! `/api/v1/vms/{id}/bootstrap`

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{problem::Problem, routes::Caller};
use crate::{api::sse, app::App};

/// Install the agent over SSH.
///
/// Answers server-sent events: one `status` a step, then `complete` once the agent's first sample arrived, or `error`.
/// The run goes on when the listener leaves. On a host whose agent works already, it changes nothing.
#[utoipa::path(post, path = "/api/v1/vms/{id}/bootstrap", tag = "joining",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The run's events", body = String, content_type = "text/event-stream",
            example = "event: status\ndata: {\"step\": \"connecting\", \"message\": \"Establishing SSH connection...\"}\n\n"),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "No SSH credentials, a quarantined identity, or a run that is under way")))]
pub async fn bootstrap(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = app.servers.resolve(caller.org_id, &id).await?.id;
    let events = app.bootstrap.run(caller.org_id, id, caller.user_id).await?;
    Ok(sse::respond(events))
}
