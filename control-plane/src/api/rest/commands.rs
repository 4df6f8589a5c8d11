//! `/api/v1/commands` and `/api/v1/vms/{id}/commands`

use axum::extract::{Path, State};
use muster_shared::id::CommandId;

use super::{
    extract::{Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::Act,
    api::model::command::Command,
    app::App,
    commands::Cancelled,
    error::{Error, ErrorKind},
};

/// Show one command.
#[utoipa::path(get, path = "/api/v1/commands/{id}", tag = "commands",
    params(("id" = String, Path, description = "A command's id")), responses(
        (status = 200, description = "The command", body = Command),
        (status = 404, description = "No such command in the caller's organisation")))]
pub async fn get_command(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Command>, Problem> {
    let command = app.commands.get(caller.org_id, command_id(&id)?).await?;
    Ok(axum::Json(Command::of(&command)))
}

/// List a server's commands, newest first.
#[utoipa::path(get, path = "/api/v1/vms/{id}/commands", tag = "commands",
    params(("id" = String, Path, description = "A server's id, or its name"), Page), responses(
        (status = 200, description = "The commands of the page", body = Vec<Command>),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_commands(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<Command>>, Problem> {
    let (skip, limit) = page.bounds()?;
    let server = app.servers.resolve(caller.org_id, &id).await?.id;
    let commands = app.commands.list(caller.org_id, Some(server), skip, limit).await?;
    Ok(axum::Json(commands.iter().map(Command::of).collect()))
}

/// Cancel a command that has not started.
#[utoipa::path(post, path = "/api/v1/commands/{id}/cancel", tag = "commands",
    params(("id" = String, Path, description = "A command's id")), responses(
        (status = 200, description = "The command; its host is told if it has it already", body = Command),
        (status = 404, description = "No such command in the caller's organisation"),
        (status = 409, description = "It has started or ended")))]
pub async fn cancel_command(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<axum::Json<Command>, Problem> {
    Ok(axum::Json(cancel(&app, &act, command_id(&id)?).await?))
}

/// Cancels a command and answers it as it is then.
///
/// # Errors
/// [`ErrorKind::Precondition`] for one that has started or ended.
pub async fn cancel(app: &App, act: &Act, id: CommandId) -> Result<Command, Error> {
    if app.commands.cancel(act, id).await? == Cancelled::TooLate {
        let detail = "the command has started or ended; only one that waits can be cancelled";
        return Err(Error::new(ErrorKind::Precondition, "too_late", detail));
    }
    Ok(Command::of(&app.commands.get(act.org_id, id).await?))
}

/// A text that is no id names no command.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub fn command_id(text: &str) -> Result<CommandId, Error> {
    text.parse().map_err(|_| Error::not_found("command"))
}
