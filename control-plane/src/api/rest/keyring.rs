//! `/api/v1/keyring`

use axum::extract::{Path, State};

use super::{
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{api::model::keyring::Keyring, app::App};

/// Show the keys that seal stored secrets, and how many values need each.
///
/// For owners of the organisation that was made first.
#[utoipa::path(get, path = "/api/v1/keyring", tag = "control plane",
    responses((status = 200, description = "The key ring, without its secrets", body = Keyring)))]
pub async fn get_keyring(State(app): State<App>, Caller(caller): Caller) -> Result<axum::Json<Keyring>, Problem> {
    Ok(axum::Json(Keyring::of(&app.rotation.standing(caller.org_id).await?)))
}

/// Add a key that seals from now on.
///
/// What older keys sealed is sealed anew in the background, while everything runs. For owners of the organisation that
/// was made first.
#[utoipa::path(post, path = "/api/v1/keyring/rotate", tag = "control plane", responses(
    (status = 200, description = "The key ring, without its secrets", body = Keyring),
    (status = 409, description = "There are too many keys: retire those that nothing needs")))]
pub async fn rotate_keyring(State(app): State<App>, Acting(act): Acting) -> Result<axum::Json<Keyring>, Problem> {
    Ok(axum::Json(Keyring::of(&app.rotation.rotate(&act).await?)))
}

/// Remove a key that nothing needs any more.
///
/// Backups of the database from before the rotation need it: keep the key ring's file with them.
#[utoipa::path(delete, path = "/api/v1/keyring/keys/{key_id}", tag = "control plane",
    params(("key_id" = String, Path, description = "A key's id")), responses(
        (status = 200, description = "The key ring, without its secrets", body = Keyring),
        (status = 404, description = "No such key"),
        (status = 409, description = "It seals, values still need it, or it was replaced only just now")))]
pub async fn retire_keyring_key(
    State(app): State<App>,
    Acting(act): Acting,
    Path(key_id): Path<String>,
) -> Result<axum::Json<Keyring>, Problem> {
    Ok(axum::Json(Keyring::of(&app.rotation.retire(&act, &key_id).await?)))
}
