//! `/api/v1/commands` and `/api/v1/vms/{id}/commands`

use axum::extract::{Path, State};
use muster_shared::{
    command::{CommandBody, CommandState},
    id::CommandId,
};
use serde::Deserialize;
use utoipa::{
    IntoParams,
    openapi::{RefOr, Schema},
};

use super::{
    extract::{self, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::Act,
    api::{
        model::{command::Command, time::Time},
        openapi::one_of,
    },
    app::App,
    commands::{Cancelled, CommandFilter},
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
    let filter = CommandFilter { skip, limit, ..CommandFilter::of_server(server) };
    let commands = app.commands.list(caller.org_id, &filter).await?;
    Ok(axum::Json(commands.iter().map(Command::of).collect()))
}

/// Which commands to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CommandsQuery {
    /// A server's id or name: only commands that it carries out or is the target of.
    pub server: Option<String>,
    /// Only commands in this state, such as `failed`.
    #[param(schema_with = states)]
    pub state: Option<String>,
    /// Only commands of this kind, such as `change`.
    #[param(schema_with = kinds)]
    pub kind: Option<String>,
    /// Only commands asked for at or after this time.
    pub since: Option<Time>,
    /// How many to leave out at the start.
    #[param(default = 0)]
    pub skip: Option<u32>,
    /// How many at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

fn states() -> RefOr<Schema> {
    one_of(CommandState::ALL.iter().map(|state| state.as_str()))
}

fn kinds() -> RefOr<Schema> {
    one_of(CommandBody::KINDS.iter().copied())
}

/// List the organisation's commands, newest first.
#[utoipa::path(get, path = "/api/v1/commands", tag = "commands", params(CommandsQuery), responses(
    (status = 200, description = "The commands of the page", body = Vec<Command>),
    (status = 404, description = "No such server in the caller's organisation"),
    (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_fleet_commands(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(query): Query<CommandsQuery>,
) -> Result<axum::Json<Vec<Command>>, Problem> {
    let (skip, limit) = extract::bounds(query.skip.unwrap_or(0), query.limit.unwrap_or(extract::DEFAULT_PAGE))?;
    let since_us = query.since.map(|since| since.0);
    let filter = CommandFilter { since_us, skip, limit, ..CommandFilter::default() };
    let mut filter = filter.of_words(query.state.as_deref(), query.kind.as_deref())?;
    if let Some(server) = &query.server {
        filter.server = Some(app.servers.resolve(caller.org_id, server).await?.id);
    }
    let commands = app.commands.list(caller.org_id, &filter).await?;
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
