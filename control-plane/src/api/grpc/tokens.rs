//! The caller's own API tokens.

use muster_shared::wire;

use super::call::Call;
use crate::{
    api::{
        model::api_token::{ApiToken, ApiTokenCreate, ApiTokenCreated},
        rest::tokens::api_token_id,
    },
    error::Error,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn list(call: Call<wire::ListApiTokensRequest>) -> Result<wire::ListApiTokensResponse> {
    let tokens = call.app.api_tokens.list(&call.caller).await?;
    Ok(wire::ListApiTokensResponse { tokens: tokens.iter().map(|token| ApiToken::of(token).into()).collect() })
}

pub(super) async fn create(mut call: Call<wire::CreateApiTokenRequest>) -> Result<wire::CreateApiTokenResponse> {
    let new = ApiTokenCreate::from(std::mem::take(&mut call.request)).into_new()?;
    let (token, secret) = call.app.api_tokens.create(&call.caller, &call.act(), new).await?;
    Ok(ApiTokenCreated::of(&token, &secret).into())
}

pub(super) async fn revoke(call: Call<wire::RevokeApiTokenRequest>) -> Result<wire::RevokeApiTokenResponse> {
    let id = api_token_id(&call.request.id)?;
    call.app.api_tokens.revoke(&call.caller, &call.act(), id).await?;
    Ok(wire::RevokeApiTokenResponse {})
}
