//! `/api/v1/vms/{id}/ssh-password` and `/api/v1/vms/{id}/ssh-key`

use axum::extract::{Path, State};

use super::{extract::Body, problem::Problem, routes::Acting};
use crate::{
    access::Act,
    api::model::{
        connection::{SshKeyUpdate, SshPasswordUpdate},
        server::Vm,
    },
    app::App,
    error::Error,
    servers::SshLogin,
};

/// Replace how a server is entered by a password.
///
/// The password is tried first unless `test_connection` is false, against the host key on record; where it does not
/// work, nothing changes. A private key or key pair that was used before is forgotten.
#[utoipa::path(put, path = "/api/v1/vms/{id}/ssh-password", tag = "servers", request_body = SshPasswordUpdate,
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server", body = Vm),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "The login does not work, and `code` says how it failed; or the server has no SSH \
                                      address and user, or was changed meanwhile"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn set_ssh_password(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(update): Body<SshPasswordUpdate>,
) -> Result<axum::Json<Vm>, Problem> {
    Ok(axum::Json(replace(&app, &act, &id, || update.into_login()).await?))
}

/// Replace how a server is entered by a private key, or by one of the organisation's key pairs.
///
/// The key is tried first unless `test_connection` is false, against the host key on record; where it does not work,
/// nothing changes. A password that was used before is forgotten.
#[utoipa::path(put, path = "/api/v1/vms/{id}/ssh-key", tag = "servers", request_body = SshKeyUpdate,
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server", body = Vm),
        (status = 404, description = "No such server or key pair in the caller's organisation"),
        (status = 409, description = "The login does not work, and `code` says how it failed; or the server has no SSH \
                                      address and user, or was changed meanwhile"),
        (status = 422, description = "A field is not acceptable, or the key can't be read")))]
pub async fn set_ssh_key(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(update): Body<SshKeyUpdate>,
) -> Result<axum::Json<Vm>, Problem> {
    Ok(axum::Json(replace(&app, &act, &id, || update.into_login()).await?))
}

/// Replaces the login of the server that `reference` means.
///
/// # Errors
/// [`Error`]: no such server, a login that is not acceptable, or one that does not work.
pub async fn replace(
    app: &App,
    act: &Act,
    reference: &str,
    login: impl FnOnce() -> Result<(SshLogin, bool), Error>,
) -> Result<Vm, Error> {
    let id = app.servers.resolve(act.org_id, reference).await?.id;
    let (login, test) = login()?;
    let server = app.connection_test.replace_login(act, id, login, test).await?;
    Ok(Vm::of(&server, app.clock.now_us()))
}
