//! `/api/v1/vms/{id}/host-key`

use axum::extract::{Path, State};

use super::{extract::Body, problem::Problem, routes::Caller};
use crate::{
    api::model::{connection::HostKeyAccept, request::field, server::Vm},
    app::App,
};

/// Accept a host key.
///
/// Releases the hard stop after a host showed another key than the one on record: the fingerprint given is believed
/// from now on. Compare it with `ssh-keygen -lf` on the host first.
#[utoipa::path(put, post, path = "/api/v1/vms/{id}/host-key", tag = "servers", request_body = HostKeyAccept,
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server", body = Vm),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 422, description = "Not a fingerprint")))]
pub async fn accept_host_key(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Body(accept): Body<HostKeyAccept>,
) -> Result<axum::Json<Vm>, Problem> {
    let now_us = app.clock.now_us();
    let key = field("fingerprint", &accept.fingerprint)?;
    let id = app.servers.resolve(caller.org_id, &id).await?.id;
    let server = app.servers.accept_host_key(caller.org_id, id, &key, now_us).await?;
    Ok(axum::Json(Vm::of(&server, now_us)))
}
