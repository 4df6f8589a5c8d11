//! `/install.sh` and `/agent/{arch}/muster-agent`: what a host fetches before it can join. Public, because a host has
//! nothing to show yet; nothing in either is a secret.

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, header::CONTENT_TYPE};

use super::problem::Problem;
use crate::{
    api::door::Door,
    app::App,
    error::{Error, ErrorKind},
    install_script::{Filling, InstallScript},
};

/// The script that joins a host.
#[utoipa::path(get, path = "/install.sh", tag = "joining", responses(
    (status = 200, description = "The script", body = String, content_type = "text/x-shellscript"),
    (status = 409, description = "It is not known where hosts find this control plane")))]
pub async fn install_sh(
    State(app): State<App>,
    door: Door,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let script = script(&app, &door).await?;
    Ok(([(CONTENT_TYPE, "text/x-shellscript; charset=utf-8")], script.text))
}

/// The agent for an architecture.
#[utoipa::path(get, path = "/agent/{arch}/muster-agent", tag = "joining",
    params(("arch" = String, Path, description = "`x86_64` or `aarch64`")), responses(
        (status = 200, description = "The program", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "There is no agent for this architecture")))]
pub async fn agent_binary(State(app): State<App>, Path(arch): Path<String>) -> Result<Response, Problem> {
    let binary = app.agent_binaries.get(&arch).await.map_err(Error::internal)?;
    let none = || {
        let detail = "this control plane serves no agent for this architecture: add its binary to agent_dir";
        Error::new(ErrorKind::NotFound, "no_agent_binary", detail)
    };
    let binary = binary.ok_or_else(none)?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], binary.bytes).into_response())
}

/// The script for hosts that are sent where `door` leads.
///
/// # Errors
/// [`Error`] when that isn't known, or a binary can't be read.
pub async fn script(app: &App, door: &Door) -> Result<InstallScript, Error> {
    let sha256 = async |arch| app.agent_binaries.get(arch).await.map_err(Error::internal);
    let (x86_64, aarch64) = (sha256("x86_64").await?, sha256("aarch64").await?);
    Ok(InstallScript::fill(&Filling {
        origin: &door.origin(&app.config)?,
        agent_origin: &door.agent_origin(&app.config)?,
        ca_sha256: &app.identity.authority.pin().to_string(),
        x86_64_sha256: x86_64.as_ref().map(|binary| binary.sha256.as_str()),
        aarch64_sha256: aarch64.as_ref().map(|binary| binary.sha256.as_str()),
    }))
}
