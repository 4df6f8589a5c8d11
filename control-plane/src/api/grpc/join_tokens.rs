//! Join tokens.

use muster_shared::wire;
use tonic::Request;

use super::call::Call;
use crate::{
    api::{
        door::Door,
        model::join_token::{JoinToken, JoinTokenCreate},
        rest::join_tokens,
    },
    error::Error,
};

/// Which door the call came through, as the guard saw it.
pub(super) fn door<T>(request: &Request<T>) -> Door {
    request.extensions().get().cloned().unwrap_or_default()
}

pub(super) async fn create(
    call: Call<wire::CreateJoinTokenRequest>,
    door: Door,
) -> Result<wire::CreateJoinTokenResponse, Error> {
    let act = call.act();
    let create = JoinTokenCreate::try_from(call.request)?;
    Ok(join_tokens::create(&call.app, &act, create, &door).await?.into())
}

pub(super) async fn list(call: Call<wire::ListJoinTokensRequest>) -> Result<wire::ListJoinTokensResponse, Error> {
    let tokens = call.app.enrollment.list_tokens(call.caller.org_id).await?;
    let now_us = call.app.clock.now_us();
    let join_tokens = tokens.iter().map(|token| JoinToken::of(token, now_us).into()).collect();
    Ok(wire::ListJoinTokensResponse { join_tokens })
}

pub(super) async fn revoke(call: Call<wire::RevokeJoinTokenRequest>) -> Result<wire::RevokeJoinTokenResponse, Error> {
    let id = join_tokens::token_id(&call.request.id)?;
    call.app.enrollment.revoke_token(&call.act(), id).await?;
    Ok(wire::RevokeJoinTokenResponse {})
}
