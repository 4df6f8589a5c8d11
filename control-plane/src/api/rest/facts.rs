//! `/api/v1/vms/{id}/facts`

use axum::extract::{Path, State};

use super::{
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::facts::FactsDocument,
    app::App,
    error::{Error, ErrorKind},
    servers::Server,
};

/// Show what is known of a host.
#[utoipa::path(get, path = "/api/v1/vms/{id}/facts", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The facts and their age", body = FactsDocument),
        (status = 404, description = "No such server in the caller's organisation, or nothing is known of it yet")))]
pub async fn get_facts(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<FactsDocument>, Problem> {
    let server = app.servers.resolve(caller.org_id, &id).await?;
    Ok(axum::Json(document(&app, &server).await?))
}

/// Have a host's facts collected anew, and show them.
///
/// Over the agent's stream, or over SSH where no agent is.
#[utoipa::path(post, path = "/api/v1/vms/{id}/facts/refresh", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The facts and their age", body = FactsDocument),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "Neither a connected agent nor a login, or the host refused")))]
pub async fn refresh_facts(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<axum::Json<FactsDocument>, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    let server = app.facts.run(&act, id).await?;
    Ok(axum::Json(document(&app, &server).await?))
}

async fn document(app: &App, server: &Server) -> Result<FactsDocument, Error> {
    let nothing = || {
        let detail = "nothing is known of this host yet: wait for its agent, or refresh its facts";
        Error::new(ErrorKind::NotFound, "no_facts", detail)
    };
    let (facts, collected_at_us) = app.servers.facts(server.org_id, server.id).await?.ok_or_else(nothing)?;
    Ok(FactsDocument::of(server.id, facts, collected_at_us))
}
