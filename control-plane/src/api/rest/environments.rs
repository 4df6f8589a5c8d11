//! `/api/v1/projects/{project_id}/environments`, `/api/v1/vms/{id}/environments` and `/api/v1/vms/{id}/migrate`

use axum::extract::{Path, State};
use http::StatusCode;
use muster_shared::id::ServerId;

use super::{
    extract::{Body, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::{Act, Principal},
    api::model::environment::{Deleted, Environment, EnvironmentCreate, EnvironmentPut, Migrated, Migration},
    app::App,
    environments,
    error::Error,
    projects::{Project, Scope},
};

/// List the environments on a server, oldest first: all, or for the two project roles those of the caller's projects.
#[utoipa::path(get, path = "/api/v1/vms/{id}/environments", tag = "projects",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The environments", body = Vec<Environment>),
        (status = 404, description = "No such server in the caller's organisation")))]
pub async fn list_server_environments(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Vec<Environment>>, Problem> {
    let server = app.servers.resolve(caller.org_id, &id).await?;
    let environments = app.environments.on_server(caller.org_id, Scope::of(&caller), server.id).await?;
    Ok(axum::Json(environments.iter().map(Environment::of).collect()))
}

/// Move environments to another server, all or none.
///
/// It is refused where the target is unready, full or in another organisation.
#[utoipa::path(post, path = "/api/v1/vms/{id}/migrate", tag = "projects", request_body = Migration,
    params(("id" = String, Path, description = "The id or name of the server they are on")), responses(
        (status = 200, description = "They are on the target now", body = Migrated),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "No such server in the caller's organisation, or an environment is not on it"),
        (status = 409, description = "The target is not ready, or full"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn migrate_environments(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(migration): Body<Migration>,
) -> Result<axum::Json<Migrated>, Problem> {
    Ok(axum::Json(migrate(&app, &caller, &act, &id, &migration).await?))
}

/// Moves environments from the server that `source` means.
///
/// # Errors
/// As [`environments::Environments::migrate`].
pub async fn migrate(
    app: &App,
    caller: &Principal,
    act: &Act,
    source: &str,
    migration: &Migration,
) -> Result<Migrated, Error> {
    let source = app.servers.resolve(act.org_id, source).await?.id;
    let target = app.servers.resolve(act.org_id, &migration.target_vm_id).await?.id;
    let moved = app.environments.migrate(act, Scope::of(caller), source, target, &migration.ids()?).await?;
    Ok(Migrated {
        message: format!("{} environment(s) migrated successfully", moved.len()),
        vm_id: source.to_string(),
        target_vm_id: target.to_string(),
        environments: moved.iter().map(Environment::of).collect(),
    })
}

/// List a project's environments, oldest first.
#[utoipa::path(get, path = "/api/v1/projects/{project_id}/environments", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug"), Page), responses(
        (status = 200, description = "The environments of the page", body = Vec<Environment>),
        (status = 404, description = "No such project for the caller"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_environments(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(project): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<Environment>>, Problem> {
    let (skip, limit) = page.bounds()?;
    let project = project_of(&app, &caller, &project).await?;
    let environments = app.environments.of_project(caller.org_id, project.id, skip, limit).await?;
    Ok(axum::Json(environments.iter().map(Environment::of).collect()))
}

/// Make an environment, on a server or on none yet.
#[utoipa::path(post, path = "/api/v1/projects/{project_id}/environments", tag = "projects",
    request_body = EnvironmentCreate,
    params(("project_id" = String, Path, description = "A project's id, or its slug")), responses(
        (status = 201, description = "The environment", body = Environment),
        (status = 400, description = "The body is not JSON"),
        (status = 403, description = "The token's role does not allow this, or the quota is exceeded"),
        (status = 404, description = "No such project for the caller, or no such server or environment to replicate"),
        (status = 409, description = "The name is taken, or the server is not ready, or full"),
        (status = 413, description = "The body is too large"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn create_environment(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(project): Path<String>,
    Body(create): Body<EnvironmentCreate>,
) -> Result<(StatusCode, axum::Json<Environment>), Problem> {
    let made = self::create(&app, &caller, &act, &project, create).await?;
    Ok((StatusCode::CREATED, axum::Json(made)))
}

/// Makes an environment of the project that `project` means.
///
/// # Errors
/// As [`environments::Environments::create`].
pub async fn create(
    app: &App,
    caller: &Principal,
    act: &Act,
    project: &str,
    create: EnvironmentCreate,
) -> Result<Environment, Error> {
    let project = project_of(app, caller, project).await?;
    let replica_of = match &create.replica_of {
        Some(source) => Some(app.environments.resolve(act.org_id, project.id, source).await?.id),
        None => None,
    };
    let server = server_named(app, act, Some(create.vm_id.clone())).await?.flatten();
    let new = create.into_environment(server, replica_of)?;
    Ok(Environment::of(&app.environments.create(act, &project, &new).await?))
}

/// Show one environment.
#[utoipa::path(get, path = "/api/v1/projects/{project_id}/environments/{env_id}", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug"),
        ("env_id" = String, Path, description = "An environment's id, or its name")), responses(
        (status = 200, description = "The environment", body = Environment),
        (status = 404, description = "No such project or environment for the caller")))]
pub async fn get_environment(
    State(app): State<App>,
    Caller(caller): Caller,
    Path((project, environment)): Path<(String, String)>,
) -> Result<axum::Json<Environment>, Problem> {
    Ok(axum::Json(Environment::of(&resolve(&app, &caller, &project, &environment).await?)))
}

/// Change what the body names; the rest stays. Another `vm_id` moves the environment.
#[utoipa::path(put, path = "/api/v1/projects/{project_id}/environments/{env_id}", tag = "projects",
    request_body = EnvironmentPut,
    params(("project_id" = String, Path, description = "A project's id, or its slug"),
        ("env_id" = String, Path, description = "An environment's id, or its name")), responses(
        (status = 200, description = "The environment", body = Environment),
        (status = 400, description = "The body is not JSON"),
        (status = 403, description = "The token's role does not allow this, or the quota is exceeded"),
        (status = 404, description = "No such project, environment or server for the caller"),
        (status = 409, description = "The name is taken, or the server is not ready, or full"),
        (status = 413, description = "The body is too large"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn update_environment(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path((project, environment)): Path<(String, String)>,
    Body(put): Body<EnvironmentPut>,
) -> Result<axum::Json<Environment>, Problem> {
    Ok(axum::Json(update(&app, &caller, &act, (&project, &environment), put).await?))
}

/// Changes the environment that the texts mean.
///
/// # Errors
/// As [`environments::Environments::update`].
pub async fn update(
    app: &App,
    caller: &Principal,
    act: &Act,
    (project, environment): (&str, &str),
    put: EnvironmentPut,
) -> Result<Environment, Error> {
    let before = resolve(app, caller, project, environment).await?;
    let server = server_named(app, act, put.vm_id.clone()).await?;
    let patch = put.into_patch(server)?;
    Ok(Environment::of(&app.environments.update(act, before.project.id, before.id, &patch).await?))
}

/// Delete an environment: what it counted for is free at once. Its containers stay as they are.
#[utoipa::path(delete, path = "/api/v1/projects/{project_id}/environments/{env_id}", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug"),
        ("env_id" = String, Path, description = "An environment's id, or its name")), responses(
        (status = 200, description = "It is deleted", body = Deleted),
        (status = 404, description = "No such project or environment for the caller"),
        (status = 409, description = "Others replicate it")))]
pub async fn delete_environment(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path((project, environment)): Path<(String, String)>,
) -> Result<axum::Json<Deleted>, Problem> {
    let environment = resolve(&app, &caller, &project, &environment).await?;
    app.environments.delete(&act, environment.project.id, environment.id).await?;
    Ok(axum::Json(Deleted::of("Environment")))
}

/// The project that `reference` means to `caller`.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub async fn project_of(app: &App, caller: &Principal, reference: &str) -> Result<Project, Error> {
    app.projects.resolve(caller.org_id, Scope::of(caller), reference).await
}

/// The environment that the two texts mean to `caller`.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub async fn resolve(
    app: &App,
    caller: &Principal,
    project: &str,
    environment: &str,
) -> Result<environments::Environment, Error> {
    let project = project_of(app, caller, project).await?;
    app.environments.resolve(caller.org_id, project.id, environment).await
}

/// The server that a `vm_id` means; an empty text means none.
async fn server_named(app: &App, act: &Act, vm_id: Option<Option<String>>) -> Result<Option<Option<ServerId>>, Error> {
    match vm_id {
        None => Ok(None),
        Some(None) => Ok(Some(None)),
        Some(Some(reference)) if reference.is_empty() => Ok(Some(None)),
        Some(Some(reference)) => Ok(Some(Some(app.servers.resolve(act.org_id, &reference).await?.id))),
    }
}
