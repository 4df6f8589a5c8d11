//! `/api/v1/fleet/runs`

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};

use super::{
    extract::{Body, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::{
        model::fleet_run::{FleetRun, FleetRunCreate, run_id},
        sse,
    },
    app::App,
};

/// Run one typed command on a selection of servers.
///
/// A run is dry unless `"dry_run": false` is sent. What changes hosts (`fix`, `harden`) has to be shown by a dry run first:
/// send its id as `after`, and the same is done on the servers whose dry run went well. Servers have their turns in waves; a
/// wave begins when the one before has ended, and no other server begins once more than `max_failures` have failed. The
/// servers are fixed when the run is made, and the run survives any restart of the control plane.
///
/// Nothing is selected by leaving something out: an empty filter or list is an error, and so is one that no server matches.
/// What the task needs for one server is needed here: `org.servers.test` for `refresh_facts`, `org.servers.update` for `fix`,
/// `org.servers.secure` for `harden`.
#[utoipa::path(post, path = "/api/v1/fleet/runs", tag = "fleet runs", request_body = FleetRunCreate, responses(
    (status = 202, description = "The run is under way; of a dry run that asks the servers nothing, it is over", body = FleetRun),
    (status = 403, description = "The task is not the caller's to give"),
    (status = 404, description = "A server or the dry run is not the organisation's"),
    (status = 409, description = "No server is selected (`nothing_selected`), a dry run has to come first (`dry_run_first`), or \
                                  it has not ended, is too old or was none"),
    (status = 422, description = "A field is not acceptable, or says nothing of which servers (`selection_required`)")))]
pub async fn create_fleet_run(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(create): Body<FleetRunCreate>,
) -> Result<(StatusCode, Json<FleetRun>), Problem> {
    let (wanted, bounds) = create.into_wanted()?;
    let run = app.fleet_runs.start(&caller, &act, wanted, bounds).await?;
    let servers = app.fleet_runs.servers(&run, 0, crate::api::rest::extract::DEFAULT_PAGE).await?;
    Ok((StatusCode::ACCEPTED, Json(FleetRun::of(&run, &servers))))
}

/// List fleet runs, newest first, without their servers.
#[utoipa::path(get, path = "/api/v1/fleet/runs", tag = "fleet runs", params(Page), responses(
    (status = 200, description = "The runs of the page", body = Vec<FleetRun>),
    (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_fleet_runs(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(page): Query<Page>,
) -> Result<Json<Vec<FleetRun>>, Problem> {
    let (skip, limit) = page.bounds()?;
    let runs = app.fleet_runs.list(caller.org_id, skip, limit).await?;
    Ok(Json(runs.iter().map(|run| FleetRun::of(run, &[])).collect()))
}

/// Show a fleet run with a page of its servers.
///
/// With `accept: text/event-stream` it is followed: `server` whenever one stands otherwise than before, then `complete`.
#[utoipa::path(get, path = "/api/v1/fleet/runs/{id}", tag = "fleet runs",
    params(("id" = String, Path, description = "A run's id"), Page), responses(
        (status = 200, description = "The run", content(
            (FleetRun = "application/json"),
            (String = "text/event-stream", example = "event: complete\ndata: {\"status\": \"done\", \"succeeded\": 12, \"failed\": 0}\n\n"))),
        (status = 404, description = "No such run in the caller's organisation"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn get_fleet_run(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let (skip, limit) = page.bounds()?;
    let run = app.fleet_runs.get(caller.org_id, run_id(&id)?).await?;
    if sse::is_asked_for(&headers) {
        return Ok(sse::respond(app.fleet_runs.watch(&run)));
    }
    let servers = app.fleet_runs.servers(&run, skip, limit).await?;
    Ok(Json(FleetRun::of(&run, &servers)).into_response())
}

/// Cancel a fleet run: no other server begins.
///
/// Commands that have not started are cancelled; those that have come to their end.
#[utoipa::path(post, path = "/api/v1/fleet/runs/{id}/cancel", tag = "fleet runs",
    params(("id" = String, Path, description = "A run's id")), responses(
        (status = 200, description = "The run", body = FleetRun),
        (status = 404, description = "No such run in the caller's organisation"),
        (status = 409, description = "It has ended or was stopped")))]
pub async fn cancel_fleet_run(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<Json<FleetRun>, Problem> {
    Ok(Json(FleetRun::of(&app.fleet_runs.cancel(&act, run_id(&id)?).await?, &[])))
}
