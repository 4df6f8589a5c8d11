//! `/api/v1/projects`

use axum::extract::{Path, State};
use http::StatusCode;
use muster_shared::id::UserId;

use super::{
    extract::{Body, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::{
        environment::Deleted,
        project::{Project, ProjectCreate, ProjectMember, ProjectPatch},
    },
    app::App,
    error::Error,
    projects::Scope,
};

/// List projects, oldest first: all, or for the two project roles those the caller belongs to.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", params(Page), responses(
    (status = 200, description = "The projects of the page", body = Vec<Project>),
    (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_projects(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<Project>>, Problem> {
    let (skip, limit) = page.bounds()?;
    let projects = app.projects.list(caller.org_id, Scope::of(&caller), skip, limit).await?;
    Ok(axum::Json(projects.iter().map(Project::of).collect()))
}

/// Make a project.
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = ProjectCreate, responses(
    (status = 201, description = "The project", body = Project),
    (status = 400, description = "The body is not JSON"),
    (status = 409, description = "The slug is taken"),
    (status = 413, description = "The body is too large"),
    (status = 422, description = "A field is not acceptable")))]
pub async fn create_project(
    State(app): State<App>,
    Acting(act): Acting,
    Body(create): Body<ProjectCreate>,
) -> Result<(StatusCode, axum::Json<Project>), Problem> {
    let project = app.projects.create(&act, create.into_project()?).await?;
    Ok((StatusCode::CREATED, axum::Json(Project::of(&project))))
}

/// Show one project.
#[utoipa::path(get, path = "/api/v1/projects/{project_id}", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug")), responses(
        (status = 200, description = "The project", body = Project),
        (status = 404, description = "No such project for the caller")))]
pub async fn get_project(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(project): Path<String>,
) -> Result<axum::Json<Project>, Problem> {
    let project = app.projects.resolve(caller.org_id, Scope::of(&caller), &project).await?;
    Ok(axum::Json(Project::of(&project)))
}

/// Change what the body names; the rest stays. An empty text empties a description or version.
#[utoipa::path(patch, path = "/api/v1/projects/{project_id}", tag = "projects", request_body = ProjectPatch,
    params(("project_id" = String, Path, description = "A project's id, or its slug")), responses(
        (status = 200, description = "The project", body = Project),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "No such project for the caller"),
        (status = 409, description = "The slug is taken"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn update_project(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(project): Path<String>,
    Body(patch): Body<ProjectPatch>,
) -> Result<axum::Json<Project>, Problem> {
    let project = app.projects.resolve(caller.org_id, Scope::of(&caller), &project).await?;
    let project = app.projects.update(&act, project.id, &patch.into_patch()?).await?;
    Ok(axum::Json(Project::of(&project)))
}

/// Delete a project that has no environments left. Its slug is free again.
#[utoipa::path(delete, path = "/api/v1/projects/{project_id}", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug")), responses(
        (status = 200, description = "It is deleted", body = Deleted),
        (status = 404, description = "No such project for the caller"),
        (status = 409, description = "It has environments")))]
pub async fn delete_project(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(project): Path<String>,
) -> Result<axum::Json<Deleted>, Problem> {
    let project = app.projects.resolve(caller.org_id, Scope::of(&caller), &project).await?;
    app.projects.delete(&act, project.id).await?;
    Ok(axum::Json(Deleted::of("Project")))
}

/// List who belongs to a project. It matters for the two project roles only: all others see every project.
#[utoipa::path(get, path = "/api/v1/projects/{project_id}/members", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug")), responses(
        (status = 200, description = "The members, by name", body = Vec<ProjectMember>),
        (status = 404, description = "No such project for the caller")))]
pub async fn list_project_members(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(project): Path<String>,
) -> Result<axum::Json<Vec<ProjectMember>>, Problem> {
    let project = app.projects.resolve(caller.org_id, Scope::of(&caller), &project).await?;
    let members = app.projects.members(caller.org_id, project.id).await?;
    Ok(axum::Json(members.iter().map(ProjectMember::of).collect()))
}

/// Let a user of the organisation belong to a project. Twice is once.
#[utoipa::path(put, path = "/api/v1/projects/{project_id}/members/{user_id}", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug"),
        ("user_id" = String, Path, description = "A user's id")), responses(
        (status = 204, description = "The user belongs to it"),
        (status = 404, description = "No such project for the caller, or no such user in the organisation")))]
pub async fn add_project_member(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path((project, user)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let project = app.projects.resolve(caller.org_id, Scope::of(&caller), &project).await?;
    app.projects.add_member(&act, &project, user_id(&user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a user's belonging to a project.
#[utoipa::path(delete, path = "/api/v1/projects/{project_id}/members/{user_id}", tag = "projects",
    params(("project_id" = String, Path, description = "A project's id, or its slug"),
        ("user_id" = String, Path, description = "A user's id")), responses(
        (status = 204, description = "The user does not belong to it any more"),
        (status = 404, description = "No such project for the caller, or the user does not belong to it")))]
pub async fn remove_project_member(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path((project, user)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let project = app.projects.resolve(caller.org_id, Scope::of(&caller), &project).await?;
    app.projects.remove_member(&act, &project, user_id(&user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A text that is no id names no user.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub fn user_id(text: &str) -> Result<UserId, Error> {
    text.parse().map_err(|_| Error::not_found("user"))
}
