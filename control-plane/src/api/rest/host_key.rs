//! `/api/v1/vms/{id}/host-key`

use axum::extract::{Path, State};

use super::{extract::Body, problem::Problem, routes::Acting};
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
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(accept): Body<HostKeyAccept>,
) -> Result<axum::Json<Vm>, Problem> {
    let key = field("fingerprint", &accept.fingerprint)?;
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    let server = app.servers.accept_host_key(&act, id, &key).await?;
    Ok(axum::Json(Vm::of(&server, act.at_us)))
}
