//! `/api/v1/organizations/{org_id}/ssh-keys/{id}/rotate`

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header::CACHE_CONTROL};
use muster_shared::id::SshKeyPairId;

use super::{
    extract::{OptionalBody, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
    ssh_keys::{pair_id, require_own},
};
use crate::{
    access::{Act, Permission, Principal},
    api::{
        model::ssh_key_rotation::{RotateRequest, RotationBegun, SshKeyRotation},
        sse,
    },
    app::App,
    error::Error,
    progress::{ProgressEvent, ProgressStream},
};

/// Replace a key pair on every server that is entered with it.
///
/// A new pair takes over the name; each server gets the new key, proves it by a fresh login, is switched to it on the
/// record, and only then loses the old key. **The new private key is shown this once.** A server that does not take the new
/// key keeps the old one and says why. The old pair goes when nothing depends on it any more, deleted servers included;
/// otherwise it stays, and calling this again on the old pair goes on with the servers that were left behind. The rotation
/// survives any restart of the control plane. It makes a key pair, so it needs `org.ssh_keys.create` besides.
///
/// Answers at once, or with `accept: text/event-stream` server-sent events: `rotation` with this very answer, `server`
/// whenever one stands otherwise than before, then `complete`. The rotation goes on when its caller leaves.
#[utoipa::path(post, path = "/api/v1/organizations/{org_id}/ssh-keys/{id}/rotate", tag = "ssh keys",
    request_body = Option<RotateRequest>,
    params(("org_id" = String, Path, description = "The caller's organisation"),
        ("id" = String, Path, description = "The id of the key pair to replace")), responses(
        (status = 202, description = "The rotation is under way", content(
            (RotationBegun = "application/json"),
            (String = "text/event-stream", example = "event: server\ndata: {\"server_name\": \"web-1\", \"state\": \"rotated\"}\n\n"))),
        (status = 404, description = "No such key pair in the caller's organisation"),
        (status = 409, description = "It is being rotated already (`rotation_running`), or takes another pair's place \
                                      just now (`key_pair_rotating`)"),
        (status = 422, description = "A field is not acceptable"),
        (status = 429, description = "Other keys are being made, or there are too many key pairs")))]
pub async fn rotate_ssh_key_pair(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path((org, id)): Path<(String, String)>,
    headers: HeaderMap,
    OptionalBody(request): OptionalBody<RotateRequest>,
) -> Result<Response, Problem> {
    require_own(act.org_id, &org)?;
    let (begun, events) = rotate(&app, &caller, &act, pair_id(&id)?, request).await?;
    if sse::is_asked_for(&headers) {
        let data = serde_json::to_value(begun).map_err(Error::internal)?;
        let first = ProgressEvent { event: "rotation", data };
        let events = sse::respond(stream::iter([first]).chain(events));
        return Ok((StatusCode::ACCEPTED, events).into_response());
    }
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::ACCEPTED, no_store, Json(begun)).into_response())
}

/// Starts or takes up a rotation in `caller`'s name.
///
/// # Errors
/// As [`SshKeyRotations::start`](crate::ssh_key_rotations::SshKeyRotations::start), and where the caller may not make key
/// pairs.
pub async fn rotate(
    app: &App,
    caller: &Principal,
    act: &Act,
    id: SshKeyPairId,
    request: RotateRequest,
) -> Result<(RotationBegun, ProgressStream), Error> {
    caller.require(Permission::SshKeysCreate)?;
    let started = app.ssh_key_rotations.start(act, id, request.kind()?).await?;
    let events = app.ssh_key_rotations.watch(&started.rotation);
    Ok((RotationBegun::of(&started), events))
}

/// Show a key pair's rotation, with a page of its servers.
///
/// Of the pair that is or was replaced, or of the one that came in its place. With `accept: text/event-stream` it is
/// followed: `server` whenever one stands otherwise than before, then `complete`.
#[utoipa::path(get, path = "/api/v1/organizations/{org_id}/ssh-keys/{id}/rotation", tag = "ssh keys",
    params(("org_id" = String, Path, description = "The caller's organisation"),
        ("id" = String, Path, description = "The id of the old or the new key pair"), Page), responses(
        (status = 200, description = "The rotation", content(
            (SshKeyRotation = "application/json"),
            (String = "text/event-stream", example = "event: complete\ndata: {\"status\": \"done\", \"rotated\": 2, \"failed\": 0}\n\n"))),
        (status = 404, description = "No such key pair in the caller's organisation, or it was never rotated"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn get_ssh_key_rotation(
    State(app): State<App>,
    Caller(caller): Caller,
    Path((org, id)): Path<(String, String)>,
    headers: HeaderMap,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    require_own(caller.org_id, &org)?;
    let (skip, limit) = page.bounds()?;
    let rotation = app.ssh_key_rotations.get(caller.org_id, pair_id(&id)?).await?;
    if sse::is_asked_for(&headers) {
        return Ok(sse::respond(app.ssh_key_rotations.watch(&rotation)));
    }
    let servers = app.ssh_key_rotations.servers(&rotation, skip, limit).await?;
    Ok(Json(SshKeyRotation::of(&rotation, &servers)).into_response())
}
