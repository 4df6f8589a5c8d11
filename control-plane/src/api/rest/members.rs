//! `/api/v1/organizations/{id}/members`

use axum::extract::{Path, State};
use http::StatusCode;

use super::{
    extract::{Body, Page, Query},
    organizations::acted_in,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::{
        member::{Member, MemberAdd, MemberPatch, role},
        request::field,
    },
    app::App,
};

/// List an organisation's members, the oldest membership first.
#[utoipa::path(get, path = "/api/v1/organizations/{id}/members", tag = "people",
    params(("id" = String, Path, description = "An organisation's id"), Page), responses(
        (status = 200, description = "The members of the page", body = Vec<Member>),
        (status = 404, description = "The caller is no member of such an organisation"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_members(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<Member>>, Problem> {
    let org = acted_in(&act, &id)?;
    let (skip, limit) = page.bounds()?;
    let members = app.members.list(org, skip, limit).await?;
    Ok(axum::Json(members.iter().map(Member::of).collect()))
}

/// Make an existing user a member.
#[utoipa::path(post, path = "/api/v1/organizations/{id}/members", tag = "people", request_body = MemberAdd,
    params(("id" = String, Path, description = "An organisation's id")), responses(
        (status = 201, description = "The member", body = Member),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "No such user, or the caller is no member of such an organisation"),
        (status = 409, description = "A member already"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn add_member(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(add): Body<MemberAdd>,
) -> Result<(StatusCode, axum::Json<Member>), Problem> {
    acted_in(&act, &id)?;
    let member = app.members.add(&act, &caller, &field("name", &add.name)?, role(&add.role)?).await?;
    Ok((StatusCode::CREATED, axum::Json(Member::of(&member))))
}

/// Change a member's role. It counts at once.
#[utoipa::path(patch, path = "/api/v1/organizations/{id}/members/{user}", tag = "people", request_body = MemberPatch,
    params(
        ("id" = String, Path, description = "An organisation's id"),
        ("user" = String, Path, description = "A member's id, or their name")), responses(
        (status = 200, description = "The member", body = Member),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "No such member, or the caller is no member of such an organisation"),
        (status = 409, description = "The last owner stays one"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn update_member(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path((id, user)): Path<(String, String)>,
    Body(patch): Body<MemberPatch>,
) -> Result<axum::Json<Member>, Problem> {
    let member = app.members.resolve(acted_in(&act, &id)?, &user).await?;
    let member = match &patch.role {
        Some(word) => app.members.set_role(&act, &caller, member.user_id, role(word)?).await?,
        None => member,
    };
    Ok(axum::Json(Member::of(&member)))
}

/// Take a member out of the organisation. It counts at once: their tokens for it are gone, and a user who is in no other
/// organisation is deleted.
#[utoipa::path(delete, path = "/api/v1/organizations/{id}/members/{user}", tag = "people",
    params(
        ("id" = String, Path, description = "An organisation's id"),
        ("user" = String, Path, description = "A member's id, or their name")), responses(
        (status = 204, description = "No member any more"),
        (status = 404, description = "No such member, or the caller is no member of such an organisation"),
        (status = 409, description = "The last owner stays")))]
pub async fn remove_member(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path((id, user)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let member = app.members.resolve(acted_in(&act, &id)?, &user).await?;
    app.members.remove(&act, caller.role, member.user_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
