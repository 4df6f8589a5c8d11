//! `/api/v1/vms`

use axum::extract::{Path, State};
use http::{HeaderMap, HeaderName, StatusCode};
use muster_shared::id::OrgId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{self, Body, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::{Act, Principal},
    api::{
        model::{
            connection::{VmCreate, VmPatch},
            environment::Deleted,
            request::field,
            server::Vm,
        },
        operation::Operation,
    },
    app::App,
    error::Error,
    filter::Filter,
    servers::{IdempotencyKey, Server, ServerFilter, ServerStatus},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Which servers to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// The caller's organisation; another one has no servers for this caller.
    #[param(format = Uuid)]
    pub organization_id: Option<String>,
    /// `pending`, `running`, `stopped` or `error`.
    #[param(pattern = "^(pending|running|stopped|error)$")]
    pub status: Option<String>,
    /// A CEL expression over a server's fields and facts, such as `docker.version < version("24.0")`; a server for
    /// which it is not known to be true is left out.
    #[param(max_length = 2000)]
    pub filter: Option<String>,
    /// How many to leave out at the start.
    #[param(default = 0)]
    pub skip: Option<u32>,
    /// How many at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl ListQuery {
    fn page(&self) -> Result<ServerFilter, Error> {
        let (skip, limit) = extract::bounds(self.skip.unwrap_or(0), self.limit.unwrap_or(extract::DEFAULT_PAGE))?;
        Ok(ServerFilter { status: status(self.status.as_deref())?, skip, limit })
    }

    fn organization(&self) -> Result<Option<OrgId>, Error> {
        let invalid = |_| Error::invalid("invalid_field", "organization_id: expected an organisation's id, a UUID");
        self.organization_id.as_deref().map(|id| id.parse().map_err(invalid)).transpose()
    }
}

/// The status a list is filtered by.
///
/// # Errors
/// A word that is no status.
pub fn status(word: Option<&str>) -> Result<Option<ServerStatus>, Error> {
    let unknown = || Error::invalid("invalid_status", "status must be pending, running, stopped or error");
    let listed = |word| ServerStatus::parse(word).filter(|status| *status != ServerStatus::Deleted);
    word.map(|word| listed(word).ok_or_else(unknown)).transpose()
}

/// The expression a list is filtered by.
///
/// # Errors
/// What is wrong with it, and in which column.
pub fn filter(text: Option<&str>) -> Result<Option<Filter>, Error> {
    Ok(text.map(Filter::compile).transpose()?)
}

/// The servers of a page.
///
/// # Errors
/// [`Error`] when the store fails.
pub async fn list(app: &App, org: OrgId, page: ServerFilter, filter: Option<&Filter>) -> Result<Vec<Server>, Error> {
    match filter {
        Some(filter) => app.servers.list_matching(org, page, filter, app.clock.now_us()).await,
        None => app.servers.list(org, page).await,
    }
}

/// List servers, oldest first.
#[utoipa::path(get, path = "/api/v1/vms", tag = "servers", params(ListQuery), responses(
    (status = 200, description = "The servers of the page", body = Vec<Vm>),
    (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_servers(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Vec<Vm>>, Problem> {
    let page = query.page()?;
    let filter = filter(query.filter.as_deref())?;
    if query.organization()?.is_some_and(|org| org != caller.org_id) {
        return Ok(axum::Json(Vec::new()));
    }
    let servers = list(&app, caller.org_id, page, filter.as_ref()).await?;
    let now_us = app.clock.now_us();
    Ok(axum::Json(servers.iter().map(|server| Vm::of(server, now_us)).collect()))
}

/// Register a server that is reached over SSH.
///
/// Repeating the call with the same `idempotency-key` answers the server made before.
#[utoipa::path(post, path = "/api/v1/vms", tag = "servers", request_body = VmCreate,
    params(("idempotency-key" = Option<String>, Header, description = "1 to 200 visible ASCII characters",
        max_length = 200, pattern = "^[!-~]{1,200}$")),
    responses(
        (status = 201, description = "The server", body = Vm),
        (status = 400, description = "The body is not JSON"),
        (status = 403, description = "The token's role does not allow this, or the quota is exceeded"),
        (status = 404, description = "No such organisation or key pair for this caller"),
        (status = 409, description = "The name is taken, or the key was used for another server"),
        (status = 413, description = "The body is too large"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn create_server(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    headers: HeaderMap,
    Body(create): Body<VmCreate>,
) -> Result<(StatusCode, axum::Json<Vm>), Problem> {
    let key = idempotency_key(&headers)?;
    let act = within(&caller, act, create.organization_id.as_deref())?;
    let server = create.into_server(act.org_id)?;
    let server = app.servers.create(&act, server, key.as_ref()).await?;
    Ok((StatusCode::CREATED, axum::Json(Vm::of(&server, act.at_us))))
}

/// The act in the organisation that the body names, where the caller may do as much there.
fn within(caller: &Principal, act: Act, organization_id: Option<&str>) -> Result<Act, Error> {
    match organization_id.and_then(|id| id.parse().ok()) {
        Some(org) if org != act.org_id => {
            caller.acting_in(org)?.require(Operation::CreateServer.permission())?;
            Ok(act.within(org))
        }
        _ => Ok(act),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Error> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    headers.get(IDEMPOTENCY_KEY).map(|value| field("idempotency-key", &text(value))).transpose()
}

/// Show one server.
#[utoipa::path(get, path = "/api/v1/vms/{id}", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server", body = Vm),
        (status = 404, description = "No such server in the caller's organisation")))]
pub async fn get_server(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Vm>, Problem> {
    let server = app.servers.resolve(caller.org_id, &id).await?;
    Ok(axum::Json(Vm::of(&server, app.clock.now_us())))
}

/// Change what the body names; the rest stays. An empty text removes an address.
#[utoipa::path(patch, path = "/api/v1/vms/{id}", tag = "servers", request_body = VmPatch,
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server", body = Vm),
        (status = 400, description = "The body is not JSON"),
        (status = 403, description = "The token's role does not allow this, or the quota is exceeded"),
        (status = 404, description = "No such server or key pair in the caller's organisation"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn update_server(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(patch): Body<VmPatch>,
) -> Result<axum::Json<Vm>, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    let server = app.servers.update(&act, id, &patch.into_patch()?).await?;
    Ok(axum::Json(Vm::of(&server, act.at_us)))
}

/// Whether to delete a server though containers run on it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Delete though containers run on the server.
    #[param(default = false)]
    pub force: Option<bool>,
}

/// Delete a server that holds no active environments.
///
/// Its name is free again and its quota released; its agent is told to retire. The record of it is kept.
#[utoipa::path(delete, path = "/api/v1/vms/{id}", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name"), DeleteQuery), responses(
        (status = 200, description = "It is deleted", body = Deleted),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "Active environments are on it, or containers run and `force` is not set"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn delete_server(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Result<axum::Json<Deleted>, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    app.server_deletion.run(&act, id, query.force.unwrap_or(false)).await?;
    Ok(axum::Json(Deleted::of("Server")))
}
