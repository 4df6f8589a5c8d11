//! `/api/v1/users`: the users who are members of the organisation acted in.

use axum::extract::{Path, State};
use http::StatusCode;

use super::{
    extract::{Body, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::user::{User, UserCreate, UserPatch},
    app::App,
};

/// List the organisation's users, the oldest membership first.
#[utoipa::path(get, path = "/api/v1/users", tag = "people", params(Page), responses(
    (status = 200, description = "The users of the page", body = Vec<User>),
    (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_users(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<User>>, Problem> {
    let (skip, limit) = page.bounds()?;
    let members = app.members.list(caller.org_id, skip, limit).await?;
    Ok(axum::Json(members.iter().map(User::of).collect()))
}

/// Make a user who is a member of the organisation.
#[utoipa::path(post, path = "/api/v1/users", tag = "people", request_body = UserCreate, responses(
    (status = 201, description = "The user", body = User),
    (status = 400, description = "The body is not JSON"),
    (status = 409, description = "The name or e-mail address is taken"),
    (status = 422, description = "A field is not acceptable"),
    (status = 429, description = "Too many passwords are being hashed at once")))]
pub async fn create_user(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(create): Body<UserCreate>,
) -> Result<(StatusCode, axum::Json<User>), Problem> {
    let member = app.users.create(&act, &caller, create.into_create()?).await?;
    Ok((StatusCode::CREATED, axum::Json(User::of(&member))))
}

/// Show a user.
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "people",
    params(("id" = String, Path, description = "A user's id, or their name")), responses(
        (status = 200, description = "The user", body = User),
        (status = 404, description = "No such user in the caller's organisation")))]
pub async fn get_user(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<User>, Problem> {
    Ok(axum::Json(User::of(&app.members.resolve(caller.org_id, &id).await?)))
}

/// Change a user who is a member of this organisation and of no other.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "people", request_body = UserPatch,
    params(("id" = String, Path, description = "A user's id, or their name")), responses(
        (status = 200, description = "The user", body = User),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "No such user in the caller's organisation"),
        (status = 409, description = "The name or e-mail address is taken, or the user is a member elsewhere, too"),
        (status = 422, description = "A field is not acceptable"),
        (status = 429, description = "Too many passwords are being hashed at once")))]
pub async fn update_user(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(patch): Body<UserPatch>,
) -> Result<axum::Json<User>, Problem> {
    let id = app.members.resolve(act.org_id, &id).await?.user_id;
    let member = app.users.update(&act, &caller, id, patch.into_update()?).await?;
    Ok(axum::Json(User::of(&member)))
}

/// Take away the second factor of a user who lost it. Their sessions end.
#[utoipa::path(delete, path = "/api/v1/users/{id}/totp", tag = "people",
    params(("id" = String, Path, description = "A user's id, or their name")), responses(
        (status = 200, description = "The user", body = User),
        (status = 404, description = "No such user in the caller's organisation"),
        (status = 409, description = "There is no second factor, it is the caller's own, or the user is a member \
            elsewhere, too")))]
pub async fn reset_user_totp(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<axum::Json<User>, Problem> {
    let id = app.members.resolve(act.org_id, &id).await?.user_id;
    Ok(axum::Json(User::of(&app.totp.reset(&act, &caller, id).await?)))
}

/// Delete a user: take them out of the organisation, and out of the control plane where they are in no other.
#[utoipa::path(delete, path = "/api/v1/users/{id}", tag = "people",
    params(("id" = String, Path, description = "A user's id, or their name")), responses(
        (status = 204, description = "The user is gone"),
        (status = 404, description = "No such user in the caller's organisation"),
        (status = 409, description = "The last owner stays")))]
pub async fn delete_user(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = app.members.resolve(act.org_id, &id).await?.user_id;
    app.members.remove(&act, caller.role, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
