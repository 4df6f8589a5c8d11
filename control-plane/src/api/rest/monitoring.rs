//! `/api/v1/monitoring/servers/{id}`

use axum::{
    extract::{Path, State},
    response::Response,
};
use futures_util::StreamExt as _;

use super::{problem::Problem, routes::Caller};
use crate::{
    api::{
        authorization::Asked,
        model::summary::Summary,
        operation::Operation,
        readmission::Readmission,
        sse,
        watch::{Watched, watch},
    },
    app::App,
    error::{Error, ErrorKind},
    metrics::fresh_summary,
    progress::ProgressEvent,
};

/// Show a server's latest figures.
///
/// A connected host is asked for a fresh sample first, so the figures are seconds old at most.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/summary", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The figures", body = Summary),
        (status = 404, description = "No such server in the caller's organisation, or no sample of it yet")))]
pub async fn get_summary(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Summary>, Problem> {
    Ok(axum::Json(summary(&app, caller.org_id, &id).await?))
}

/// A server's latest figures, fresh where the host is connected.
///
/// # Errors
/// [`ErrorKind::NotFound`]: no such server, or no sample of it yet.
pub async fn summary(app: &App, org: muster_shared::id::OrgId, id: &str) -> Result<Summary, Error> {
    let server = app.servers.resolve(org, id).await?;
    let summary = fresh_summary((&app.sessions, &app.heads, &app.events), &app.clock, org, server.id).await?;
    let none =
        || Error::new(ErrorKind::NotFound, "no_samples", "this server has sent no samples yet: is its agent up?");
    Ok(Summary::of(&summary.ok_or_else(none)?, &server.health(app.clock.now_us())))
}

/// Follow a server's figures, one event `sample` a second.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/live", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The samples as they arrive", body = String, content_type = "text/event-stream",
            example = "event: sample\ndata: {\"cpu_usage_percent\": 45.2, \"memory_usage_percent\": 62.8}\n\n"),
        (status = 404, description = "No such server in the caller's organisation")))]
pub async fn follow_live(
    State(app): State<App>,
    Caller(caller): Caller,
    asked: Asked,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let org = caller.org_id;
    let server = app.servers.resolve(org, &id).await?.id;
    let readmission = Readmission::new(&app, asked, Operation::GetSummary, caller);
    let watched = readmission.guard(watch(app, org, server, true).await?);
    let samples = watched.take_while(|watched| std::future::ready(watched.is_ok())).filter_map(async |watched| {
        let Ok(Watched::Sample(summary)) = watched else { return None };
        Some(ProgressEvent { event: "sample", data: serde_json::to_value(summary).unwrap_or_default() })
    });
    Ok(sse::respond(samples))
}
