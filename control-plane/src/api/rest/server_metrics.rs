//! `/api/v1/monitoring/servers/{id}/metrics` and `…/url`, `/api/v1/monitoring/containers/{id}/metrics`

use axum::extract::{Path, State};
use muster_shared::{
    facts::Docker,
    id::{OrgId, ServerId},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::Query,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::{Act, Principal},
    api::{
        door::Door,
        model::{
            container_metrics::ContainerMetrics,
            server_metrics::{MonitoringUrl, ServerMetrics},
            time::Time,
        },
    },
    app::App,
    error::{Error, ErrorKind},
    metrics::{Latest, fresh_summary, latest, the_one},
};

/// Show everything a server's page shows: system, engine, containers.
///
/// A connected host is asked for a fresh sample first, so the figures are seconds old at most.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/metrics", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The figures", body = ServerMetrics),
        (status = 404, description = "No such server in the caller's organisation, or no sample of it yet")))]
pub async fn get_server_metrics(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<ServerMetrics>, Problem> {
    Ok(axum::Json(server_metrics(&app, caller.org_id, &id).await?))
}

/// A server's figures, fresh where the host is connected.
///
/// # Errors
/// [`ErrorKind::NotFound`]: no such server, or no sample of it yet.
pub async fn server_metrics(app: &App, org: OrgId, id: &str) -> Result<ServerMetrics, Error> {
    let server = app.servers.resolve(org, id).await?;
    let latest = fresh(app, org, server.id).await?;
    let docker = docker(app, org, server.id).await?;
    Ok(ServerMetrics::of(&latest, &server.health(app.clock.now_us()), &docker))
}

/// Get a link to a server's page that signs its reader in, for ten minutes.
///
/// Whoever follows it may read the organisation's servers and their figures, and nothing else.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/url", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The link", body = MonitoringUrl),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "It is not known where this control plane is found: set `public_url`"),
        (status = 429, description = "The caller has as many API tokens and open links as one may")))]
pub async fn get_monitoring_url(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    door: Door,
    Path(id): Path<String>,
) -> Result<axum::Json<MonitoringUrl>, Problem> {
    Ok(axum::Json(monitoring_url(&app, &caller, &act, &door, &id).await?))
}

/// A link to a server's page.
///
/// # Errors
/// [`ErrorKind::NotFound`], [`ErrorKind::Precondition`], [`ErrorKind::Exhausted`].
pub async fn monitoring_url(
    app: &App,
    caller: &Principal,
    act: &Act,
    door: &Door,
    id: &str,
) -> Result<MonitoringUrl, Error> {
    let server = app.servers.resolve(caller.org_id, id).await?;
    let origin = door.origin(&app.config)?;
    let (token, secret) = app.api_tokens.create_link(caller, act, server.name.as_str()).await?;
    let url = format!("{origin}/servers/{}#token={}", server.id, secret.reveal());
    Ok(MonitoringUrl { url, expires_at: Time(token.expires_at_us.unwrap_or(act.at_us)) })
}

/// Whose container.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ContainerQuery {
    /// The server it is on, where several have a container of that name: an id or a name.
    pub server: Option<String>,
}

/// Show a container's figures, wherever in the organisation it runs.
#[utoipa::path(get, path = "/api/v1/monitoring/containers/{id}/metrics", tag = "monitoring",
    params(("id" = String, Path, description = "A container's id, its first 12 or more digits, or its name"),
        ContainerQuery), responses(
        (status = 200, description = "The figures", body = ContainerMetrics),
        (status = 404, description = "No such container in the caller's organisation, or no sample of its server yet"),
        (status = 409, description = "Several containers are called that")))]
pub async fn get_container_metrics(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(query): Query<ContainerQuery>,
) -> Result<axum::Json<ContainerMetrics>, Problem> {
    Ok(axum::Json(container_metrics(&app, caller.org_id, &id, query.server.as_deref()).await?))
}

/// A container's figures, fresh where its host is connected.
///
/// # Errors
/// [`ErrorKind::NotFound`], [`ErrorKind::Precondition`] where several are called that.
pub async fn container_metrics(
    app: &App,
    org: OrgId,
    reference: &str,
    server: Option<&str>,
) -> Result<ContainerMetrics, Error> {
    let mut found = app.store.containers_called(org, reference).await?;
    if let Some(server) = server {
        let server = app.servers.resolve(org, server).await?.id;
        found.retain(|container| container.server_id == server);
    }
    let container = the_one(reference, found)?;
    let latest = fresh(app, org, container.server_id).await?;
    let docker = docker(app, org, container.server_id).await?;
    let seen = docker.containers.iter().find(|seen| seen.id.eq_ignore_ascii_case(&container.id));
    Ok(ContainerMetrics::of(&latest, &container.id, &container.name, seen))
}

async fn fresh(app: &App, org: OrgId, server: ServerId) -> Result<Latest, Error> {
    fresh_summary((&app.sessions, &app.heads, &app.events), &app.clock, org, server).await?;
    let none =
        || Error::new(ErrorKind::NotFound, "no_samples", "this server has sent no samples yet: is its agent up?");
    latest(&app.store, org, server).await?.ok_or_else(none)
}

/// What a server's engine said last; nothing before its first facts.
async fn docker(app: &App, org: OrgId, server: ServerId) -> Result<Docker, Error> {
    Ok(app.servers.facts(org, server).await?.map(|(facts, _)| facts.docker).unwrap_or_default())
}
