//! `/api/v1/join-tokens`

use axum::extract::{Path, State};
use http::StatusCode;
use muster_shared::id::JoinTokenId;

use super::{
    extract::Body,
    install,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::Act,
    api::{
        door::Door,
        model::{
            join_token::{JoinToken, JoinTokenCreate, JoinTokenCreated},
            request::field,
            time::Time,
        },
    },
    app::App,
    enrollment::NewJoinToken,
    error::Error,
    install_script::JoinLines,
};

/// Make a join token, and the line to paste into a server's root shell.
///
/// The token works once. It is shown once, too: only its hash is kept.
#[utoipa::path(post, path = "/api/v1/join-tokens", tag = "joining", request_body = JoinTokenCreate, responses(
    (status = 201, description = "The token and its lines", body = JoinTokenCreated),
    (status = 404, description = "No such server in the caller's organisation"),
    (status = 409, description = "It is not known where hosts find this control plane"),
    (status = 422, description = "A field is not acceptable")))]
pub async fn create_join_token(
    State(app): State<App>,
    Acting(act): Acting,
    door: Door,
    Body(create): Body<JoinTokenCreate>,
) -> Result<(StatusCode, axum::Json<JoinTokenCreated>), Problem> {
    Ok((StatusCode::CREATED, axum::Json(self::create(&app, &act, create, &door).await?)))
}

/// Makes a token and its lines.
///
/// # Errors
/// [`Error`]: a field is not acceptable, there is no such server, or it is not known where to send hosts.
pub async fn create(app: &App, act: &Act, create: JoinTokenCreate, door: &Door) -> Result<JoinTokenCreated, Error> {
    let origin = door.origin(&app.config)?;
    let script = install::script(app, door).await?;
    let for_server = match &create.server {
        Some(server) => Some(app.servers.resolve(act.org_id, server).await?.id),
        None => None,
    };
    let new = NewJoinToken {
        ttl_seconds: create.ttl_seconds,
        server_name: create.server_name.as_deref().map(|name| field("server_name", name)).transpose()?,
        allow: create.allow,
        for_server,
    };
    let (token, secret) = app.enrollment.create_token(act, new).await?;
    let lines = JoinLines::new(&origin, secret.reveal(), &script.sha256, &token.allowed_families);
    Ok(JoinTokenCreated {
        id: token.id.to_string(),
        token: secret.reveal().to_owned(),
        command: lines.curl,
        command_wget: lines.wget,
        expires_at: Some(Time(token.expires_at_us)),
        ca_sha256: app.identity.authority.pin().to_string(),
        install_sha256: script.sha256,
    })
}

/// List join tokens, newest first, without their secrets.
#[utoipa::path(get, path = "/api/v1/join-tokens", tag = "joining",
    responses((status = 200, description = "The tokens", body = Vec<JoinToken>)))]
pub async fn list_join_tokens(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<axum::Json<Vec<JoinToken>>, Problem> {
    let tokens = app.enrollment.list_tokens(caller.org_id).await?;
    let now_us = app.clock.now_us();
    Ok(axum::Json(tokens.iter().map(|token| JoinToken::of(token, now_us)).collect()))
}

/// Revoke a join token. One that was used stays used.
#[utoipa::path(delete, path = "/api/v1/join-tokens/{id}", tag = "joining",
    params(("id" = String, Path, description = "A join token's id")), responses(
        (status = 204, description = "It is of no use any more"),
        (status = 404, description = "No such token in the caller's organisation")))]
pub async fn revoke_join_token(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.enrollment.revoke_token(&act, token_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A text that is no id names no token.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub fn token_id(text: &str) -> Result<JoinTokenId, Error> {
    text.parse().map_err(|_| Error::not_found("join token"))
}
