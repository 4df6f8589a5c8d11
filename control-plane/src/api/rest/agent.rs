//! `/api/v1/vms/{id}/agent`

use axum::extract::{Path, State};

use super::{problem::Problem, routes::Acting};
use crate::{api::model::server::Vm, app::App};

/// Revoke a server's agent: its stream is cut, and its certificate refused from now on.
#[utoipa::path(post, path = "/api/v1/vms/{id}/agent/revoke", tag = "joining",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server", body = Vm),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "There is no agent to revoke")))]
pub async fn revoke_agent(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<axum::Json<Vm>, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    app.enrollment.revoke_agent(&act, id).await?;
    Ok(axum::Json(Vm::of(&app.servers.get(act.org_id, id).await?, act.at_us)))
}

/// Release a quarantine: one machine of a cloned pair may enrol again; identities given out before stay refused.
#[utoipa::path(post, path = "/api/v1/vms/{id}/agent/release-quarantine", tag = "joining",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server", body = Vm),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "It is not quarantined")))]
pub async fn release_quarantine(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<axum::Json<Vm>, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    app.enrollment.release_quarantine(&act, id).await?;
    Ok(axum::Json(Vm::of(&app.servers.get(act.org_id, id).await?, act.at_us)))
}
