//! `/api/v1/organizations/{org_id}/ssh-keys`

use axum::extract::{Path, State};
use http::StatusCode;
use muster_shared::id::{OrgId, SshKeyPairId};

use super::{
    extract::{Body, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::ssh_key::{SshKeyPair, SshKeyPairCreate, SshKeyPairCreated, SshKeyPairPatch},
    app::App,
    error::Error,
    ssh_keys,
};

/// Make a key pair for the organisation's servers, or take one in.
///
/// The private key is shown this once; after that only the control plane has it, sealed. With `private_key` in the body
/// that key is taken in instead, and its passphrase is not needed any more.
#[utoipa::path(post, path = "/api/v1/organizations/{org_id}/ssh-keys", tag = "ssh keys",
    request_body = SshKeyPairCreate, params(("org_id" = String, Path, description = "The caller's organisation")),
    responses(
        (status = 201, description = "The key pair", body = SshKeyPairCreated),
        (status = 404, description = "Not the caller's organisation"),
        (status = 409, description = "The name is taken"),
        (status = 413, description = "The body is too large"),
        (status = 422, description = "A field is not acceptable, or the key can't be read or is too weak"),
        (status = 429, description = "Other keys are being made, or there are too many key pairs")))]
pub async fn create_ssh_key_pair(
    State(app): State<App>,
    Acting(act): Acting,
    Path(org): Path<String>,
    Body(create): Body<SshKeyPairCreate>,
) -> Result<(StatusCode, axum::Json<SshKeyPairCreated>), Problem> {
    require_own(act.org_id, &org)?;
    let (pair, private_key) = app.ssh_keys.create(&act, create.into_new()?).await?;
    Ok((StatusCode::CREATED, axum::Json(SshKeyPairCreated::of(&pair, private_key.as_ref()))))
}

/// List the organisation's key pairs, oldest first, without their private parts.
#[utoipa::path(get, path = "/api/v1/organizations/{org_id}/ssh-keys", tag = "ssh keys",
    params(("org_id" = String, Path, description = "The caller's organisation"), Page), responses(
        (status = 200, description = "The key pairs of the page", body = Vec<SshKeyPair>),
        (status = 404, description = "Not the caller's organisation"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_ssh_key_pairs(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(org): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<SshKeyPair>>, Problem> {
    require_own(caller.org_id, &org)?;
    let (skip, limit) = page.bounds()?;
    let pairs = app.ssh_keys.list(caller.org_id, skip, limit).await?;
    let now_us = app.clock.now_us();
    Ok(axum::Json(pairs.iter().map(|pair| SshKeyPair::of(pair, now_us)).collect()))
}

/// Show one key pair, without its private part.
#[utoipa::path(get, path = "/api/v1/organizations/{org_id}/ssh-keys/{id}", tag = "ssh keys",
    params(("org_id" = String, Path, description = "The caller's organisation"),
        ("id" = String, Path, description = "A key pair's id")), responses(
        (status = 200, description = "The key pair", body = SshKeyPair),
        (status = 404, description = "No such key pair in the caller's organisation")))]
pub async fn get_ssh_key_pair(
    State(app): State<App>,
    Caller(caller): Caller,
    Path((org, id)): Path<(String, String)>,
) -> Result<axum::Json<SshKeyPair>, Problem> {
    require_own(caller.org_id, &org)?;
    let pair = app.ssh_keys.get(caller.org_id, pair_id(&id)?).await?;
    Ok(axum::Json(SshKeyPair::of(&pair, app.clock.now_us())))
}

/// Change a key pair's name or description. The key itself stays.
#[utoipa::path(patch, path = "/api/v1/organizations/{org_id}/ssh-keys/{id}", tag = "ssh keys",
    request_body = SshKeyPairPatch, params(("org_id" = String, Path, description = "The caller's organisation"),
        ("id" = String, Path, description = "A key pair's id")), responses(
        (status = 200, description = "The key pair", body = SshKeyPair),
        (status = 404, description = "No such key pair in the caller's organisation"),
        (status = 409, description = "The name is taken, or the key pair was changed meanwhile"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn update_ssh_key_pair(
    State(app): State<App>,
    Acting(act): Acting,
    Path((org, id)): Path<(String, String)>,
    Body(patch): Body<SshKeyPairPatch>,
) -> Result<axum::Json<SshKeyPair>, Problem> {
    require_own(act.org_id, &org)?;
    let pair = app.ssh_keys.update(&act, pair_id(&id)?, patch.into_patch()?).await?;
    Ok(axum::Json(SshKeyPair::of(&pair, act.at_us)))
}

/// Delete a key pair that no server is entered with.
#[utoipa::path(delete, path = "/api/v1/organizations/{org_id}/ssh-keys/{id}", tag = "ssh keys",
    params(("org_id" = String, Path, description = "The caller's organisation"),
        ("id" = String, Path, description = "A key pair's id")), responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such key pair in the caller's organisation"),
        (status = 409, description = "Servers are entered with it")))]
pub async fn delete_ssh_key_pair(
    State(app): State<App>,
    Acting(act): Acting,
    Path((org, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    require_own(act.org_id, &org)?;
    app.ssh_keys.delete(&act, pair_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A text that is no id names no key pair.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub fn pair_id(text: &str) -> Result<SshKeyPairId, Error> {
    text.parse().map_err(|_| ssh_keys::not_found())
}

/// The organisation a path names must be the one acted in.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub fn require_own(own: OrgId, named: &str) -> Result<(), Error> {
    if named.parse() == Ok(own) { Ok(()) } else { Err(Error::not_found("organization")) }
}
