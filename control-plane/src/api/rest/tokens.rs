//! `/api/v1/tokens`: the caller's own.

use axum::extract::{Path, State};
use http::StatusCode;
use muster_shared::id::ApiTokenId;

use super::{
    extract::Body,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::api_token::{ApiToken, ApiTokenCreate, ApiTokenCreated},
    app::App,
    error::Error,
};

/// List the caller's API tokens for the organisation, newest first, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "account",
    responses((status = 200, description = "The tokens", body = Vec<ApiToken>)))]
pub async fn list_tokens(State(app): State<App>, Caller(caller): Caller) -> Result<axum::Json<Vec<ApiToken>>, Problem> {
    let tokens = app.api_tokens.list(&caller).await?;
    Ok(axum::Json(tokens.iter().map(ApiToken::of).collect()))
}

/// Make an API token for the caller and the organisation acted in. It is shown once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "account", request_body = ApiTokenCreate, responses(
    (status = 201, description = "The token", body = ApiTokenCreated),
    (status = 400, description = "The body is not JSON"),
    (status = 422, description = "A field is not acceptable"),
    (status = 429, description = "The caller has as many as one may")))]
pub async fn create_token(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(create): Body<ApiTokenCreate>,
) -> Result<(StatusCode, axum::Json<ApiTokenCreated>), Problem> {
    let (token, secret) = app.api_tokens.create(&caller, &act, create.into_new()?).await?;
    Ok((StatusCode::CREATED, axum::Json(ApiTokenCreated::of(&token, &secret))))
}

/// Revoke one of the caller's API tokens. It is of no use at once.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "account",
    params(("id" = String, Path, description = "An API token's id")), responses(
        (status = 204, description = "It is of no use any more"),
        (status = 404, description = "The caller has no such token")))]
pub async fn revoke_token(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.api_tokens.revoke(&caller, &act, api_token_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A text that is no id names no token.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub fn api_token_id(text: &str) -> Result<ApiTokenId, Error> {
    text.parse().map_err(|_| Error::not_found("API token"))
}
