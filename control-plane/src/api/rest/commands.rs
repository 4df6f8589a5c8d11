//! `/api/v1/commands` and `/api/v1/vms/{id}/commands`

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use http::HeaderMap;
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
    events::LAST_EVENT_ID,
    extract::{self, Page, Query},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::Act,
    api::{
        authorization::Asked,
        following::follow,
        model::{command::Command, time::Time},
        openapi::one_of,
        operation::Operation,
        readmission::Readmission,
        sse,
    },
    app::App,
    commands::{self, Cancelled, CommandFilter},
    error::{Error, ErrorKind},
};

/// Show one command, with what its host said last.
///
/// With `accept: text/event-stream` it is followed, whoever gave it: `line` for whatever its host says, from the beginning
/// or after `Last-Event-ID`, `command` whenever it is in another state, then `complete`.
#[utoipa::path(get, path = "/api/v1/commands/{id}", tag = "commands",
    params(("id" = String, Path, description = "A command's id"),
        ("last-event-id" = Option<String>, Header, description = "The number of the last line that was read, to follow it from there")),
    responses(
        (status = 200, description = "The command", content(
            (Command = "application/json"),
            (String = "text/event-stream", example = "id: 7\nevent: line\ndata: {\"seq\": 7, \"at\": \"2025-01-15T10:30:01Z\", \"line\": \"Unpacking docker-ce\", \"check\": null}\n\n"))),
        (status = 404, description = "No such command in the caller's organisation")))]
pub async fn get_command(
    State(app): State<App>,
    Caller(caller): Caller,
    asked: Asked,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = command_id(&id)?;
    if !sse::is_asked_for(&headers) {
        return Ok(Json(shown(&app, &app.commands.get(caller.org_id, id).await?).await?).into_response());
    }
    // Whoever shows what is no line's number gets all of them.
    let after_seq = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    let readmission = Readmission::new(&app, asked, Operation::GetCommand, caller);
    let followed = follow(&app, readmission, id, after_seq).await?;
    Ok(sse::respond_numbered(followed.map(|(seq, event)| sse::Numbered {
        id: seq.map(|seq| seq.to_string()),
        event: event.event.to_owned(),
        data: event.data,
    })))
}

/// A command with what its host said.
///
/// # Errors
/// [`Error`] when the store fails.
pub async fn shown(app: &App, command: &commands::Command) -> Result<Command, Error> {
    Ok(Command::with(command, app.commands.progress(command).await?.as_ref()))
}

/// The commands of a page, with what hosts said of those that run.
///
/// # Errors
/// [`Error`] when the store fails.
pub async fn listed(app: &App, commands: &[commands::Command]) -> Result<Vec<Command>, Error> {
    let said = app.commands.progress_of(commands).await?;
    Ok(commands.iter().map(|command| Command::with(command, said.get(&command.id))).collect())
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
) -> Result<Json<Vec<Command>>, Problem> {
    let (skip, limit) = page.bounds()?;
    let server = app.servers.resolve(caller.org_id, &id).await?.id;
    let filter = CommandFilter { skip, limit, ..CommandFilter::of_server(server) };
    let commands = app.commands.list(caller.org_id, &filter).await?;
    Ok(Json(listed(&app, &commands).await?))
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
) -> Result<Json<Vec<Command>>, Problem> {
    let (skip, limit) = extract::bounds(query.skip.unwrap_or(0), query.limit.unwrap_or(extract::DEFAULT_PAGE))?;
    let since_us = query.since.map(|since| since.0);
    let filter = CommandFilter { since_us, skip, limit, ..CommandFilter::default() };
    let mut filter = filter.of_words(query.state.as_deref(), query.kind.as_deref())?;
    if let Some(server) = &query.server {
        filter.server = Some(app.servers.resolve(caller.org_id, server).await?.id);
    }
    let commands = app.commands.list(caller.org_id, &filter).await?;
    Ok(Json(listed(&app, &commands).await?))
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
) -> Result<Json<Command>, Problem> {
    Ok(Json(cancel(&app, &act, command_id(&id)?).await?))
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
