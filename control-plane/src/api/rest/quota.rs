//! `/api/v1/organizations/{org_id}/quota`

use axum::extract::{Path, State};
use muster_shared::id::OrgId;

use super::{
    extract::Body,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::quota::{Quota, QuotaPut},
    app::App,
    error::Error,
};

/// Show what the organisation may use, uses and has left.
#[utoipa::path(get, path = "/api/v1/organizations/{org_id}/quota", tag = "projects",
    params(("org_id" = String, Path, description = "The caller's organisation")), responses(
        (status = 200, description = "The quota", body = Quota),
        (status = 404, description = "Not the caller's organisation")))]
pub async fn get_quota(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Quota>, Problem> {
    own(&id, caller.org_id)?;
    Ok(axum::Json(Quota::of(&app.quotas.get(caller.org_id).await?)))
}

/// Set limits; what is absent stays, `null` lifts one. A limit below what is used lets nothing more in.
#[utoipa::path(put, path = "/api/v1/organizations/{org_id}/quota", tag = "projects", request_body = QuotaPut,
    params(("org_id" = String, Path, description = "The caller's organisation")), responses(
        (status = 200, description = "The quota", body = Quota),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "Not the caller's organisation"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn set_quota(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(put): Body<QuotaPut>,
) -> Result<axum::Json<Quota>, Problem> {
    own(&id, act.org_id)?;
    Ok(axum::Json(Quota::of(&app.quotas.set(&act, &put.into_patch()?).await?)))
}

fn own(id: &str, org: OrgId) -> Result<(), Error> {
    if id.parse() == Ok(org) { Ok(()) } else { Err(Error::not_found("organization")) }
}
