//! `/api/v1/vms/{id}/preflight/fix`

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header::ACCEPT};

use super::{extract::Body, problem::Problem, routes::Acting};
use crate::{
    api::{
        model::fix::{FixAnswer, FixRequest},
        sse,
    },
    app::App,
};

/// Fix what a preflight found.
///
/// Each action is a change that the server's agent plans, makes, verifies and, when it fails, takes back; the first that
/// fails ends the run. With `dry_run` the plans and their differences are answered and nothing is changed; with `undo` the
/// last change of each action is taken back. After a run the checks are run again.
///
/// With `Accept: text/event-stream` the answer is server-sent events: `status`, `line` as the host works, one `change` an
/// action, one `check` a check, then `complete`, whose data is the JSON answer, or `error` with `code`, `detail`, `action`
/// and the host's `report`. The run goes on when the listener leaves. The host's own policy must allow `fix`.
#[utoipa::path(post, path = "/api/v1/vms/{id}/preflight/fix", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), request_body = FixRequest, responses(
        (status = 200, description = "What was done, and what the checks say now", body = FixAnswer),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "Its agent is not connected (`agent_offline`, `no_agent`), no preflight says what to fix (`no_preflight`), the host's owner does not allow it (`policy_refused`), a change waits for its confirmation (`unconfirmed_change`), a login no longer works and the host takes the change back (`way_in_not_proven`), there is nothing to undo (`nothing_to_undo`), or the host could not do it and has taken it back (`fix_failed`)"),
        (status = 422, description = "No action, an unknown one, or an argument that is missing or not acceptable"),
        (status = 429, description = "Too many runs are under way")))]
pub async fn fix_server(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(request): Body<FixRequest>,
) -> Result<Response, Problem> {
    let wish = request.into_wish()?;
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    if wants_events(&headers) {
        return Ok(sse::respond(app.fixes.start(&act, id, &wish).await?));
    }
    let ended = app.fixes.run_to_end(&act, id, &wish).await?;
    Ok(Json(ended).into_response())
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}
