//! `/api/v1/organizations`

use axum::extract::{Path, State};
use http::StatusCode;
use muster_shared::id::OrgId;

use super::{
    extract::Body,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::Act,
    api::model::{
        organization::{Organization, OrganizationCreate, OrganizationPatch},
        request::field,
    },
    app::App,
    error::Error,
};

/// List the organisations the caller may act in.
#[utoipa::path(get, path = "/api/v1/organizations", tag = "people",
    responses((status = 200, description = "The organisations", body = Vec<Organization>)))]
pub async fn list_organizations(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<axum::Json<Vec<Organization>>, Problem> {
    let organizations = app.organizations.of(&caller).await?;
    Ok(axum::Json(organizations.iter().map(|organization| Organization::of(organization, &caller)).collect()))
}

/// Make an organisation; the caller owns it. A token acts in its own organisation only, so sign in to act in the new one.
#[utoipa::path(post, path = "/api/v1/organizations", tag = "people", request_body = OrganizationCreate, responses(
    (status = 201, description = "The organisation", body = Organization),
    (status = 400, description = "The body is not JSON"),
    (status = 422, description = "A field is not acceptable")))]
pub async fn create_organization(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(create): Body<OrganizationCreate>,
) -> Result<(StatusCode, axum::Json<Organization>), Problem> {
    let organization = app.organizations.create(&act, &field("name", &create.name)?).await?;
    Ok((StatusCode::CREATED, axum::Json(Organization::of(&organization, &caller))))
}

/// Show an organisation.
#[utoipa::path(get, path = "/api/v1/organizations/{id}", tag = "people",
    params(("id" = String, Path, description = "An organisation's id")), responses(
        (status = 200, description = "The organisation", body = Organization),
        (status = 404, description = "The caller is no member of such an organisation")))]
pub async fn get_organization(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<axum::Json<Organization>, Problem> {
    let organization = app.organizations.get(acted_in(&act, &id)?).await?;
    Ok(axum::Json(Organization::of(&organization, &caller)))
}

/// Change an organisation.
#[utoipa::path(patch, path = "/api/v1/organizations/{id}", tag = "people", request_body = OrganizationPatch,
    params(("id" = String, Path, description = "An organisation's id")), responses(
        (status = 200, description = "The organisation", body = Organization),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "The caller is no member of such an organisation"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn update_organization(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(patch): Body<OrganizationPatch>,
) -> Result<axum::Json<Organization>, Problem> {
    let id = acted_in(&act, &id)?;
    let organization = match &patch.name {
        Some(name) => app.organizations.rename(&act, &field("name", name)?).await?,
        None => app.organizations.get(id).await?,
    };
    Ok(axum::Json(Organization::of(&organization, &caller)))
}

/// The organisation in the path, which is the one acted in; a header that names another one makes no such thing of it.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub fn acted_in(act: &Act, id: &str) -> Result<OrgId, Error> {
    id.parse().ok().filter(|id| *id == act.org_id).ok_or_else(|| Error::not_found("organization"))
}
