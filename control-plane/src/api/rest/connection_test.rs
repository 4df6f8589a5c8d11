//! `/api/v1/vms/test-connection` and `/api/v1/vms/{id}/test-connection`

use axum::extract::{Path, State};

use super::{extract::Body, problem::Problem, routes::Caller};
use crate::{
    api::model::connection::{ConnectionTested, VmConnection},
    app::App,
};

/// Test a connection before the server is saved.
///
/// Takes the body that would create the server, and keeps nothing of it. A failed connection is an answer, not an
/// error: `status` and `remedy` say what to do.
#[utoipa::path(post, path = "/api/v1/vms/test-connection", tag = "joining", request_body = VmConnection, responses(
    (status = 200, description = "What the attempt found", body = ConnectionTested),
    (status = 404, description = "No such organisation or key pair for this caller"),
    (status = 422, description = "A field is not acceptable")))]
pub async fn test_new_connection(
    State(app): State<App>,
    Caller(caller): Caller,
    Body(create): Body<VmConnection>,
) -> Result<axum::Json<ConnectionTested>, Problem> {
    let result = app.connection_test.run(caller.org_id, &create.into_connection(caller.org_id)?).await?;
    Ok(axum::Json(ConnectionTested::of(&result, None)))
}

/// Test the connection of a saved server.
///
/// What it finds goes on the server's record: the host key of a first contact, how the attempt ended, the facts, and
/// the sudo mode that works.
#[utoipa::path(post, path = "/api/v1/vms/{id}/test-connection", tag = "joining",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "What the attempt found", body = ConnectionTested),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "The server has no SSH credentials")))]
pub async fn test_connection(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<ConnectionTested>, Problem> {
    let id = app.servers.resolve(caller.org_id, &id).await?.id;
    let result = app.connection_test.run_saved(caller.org_id, id).await?;
    Ok(axum::Json(ConnectionTested::of(&result, Some(id))))
}
