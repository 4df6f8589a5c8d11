//! Terminals that ask to be signed in.

use muster_shared::wire;

use super::call::Call;
use crate::{
    api::model::{
        api_token::ApiToken,
        login_request::{LoginRequestCreate, LoginRequestCreated, LoginRequestShown},
    },
    app::App,
    error::Error,
};

pub(super) fn begin(app: &App, request: wire::BeginLoginRequest) -> Result<wire::BeginLoginResponse, Error> {
    let (name, hash) = LoginRequestCreate::from(request).into_parts()?;
    let (request, carried) = app.login_requests.begin(name, hash, app.clock.now_us())?;
    Ok(LoginRequestCreated::of(&request, carried).into())
}

pub(super) fn get(call: &Call<wire::GetLoginRequestRequest>) -> Result<wire::LoginRequest, Error> {
    let request = call.app.login_requests.open(&call.request.request, call.app.clock.now_us())?;
    Ok(LoginRequestShown::of(&request).into())
}

pub(super) async fn approve(call: Call<wire::ApproveLoginRequest>) -> Result<wire::ApiToken, Error> {
    // 0 stands for the default.
    let ttl_seconds = Some(call.request.ttl_seconds).filter(|seconds| *seconds > 0);
    let requests = &call.app.login_requests;
    let token = requests.approve(&call.caller, &call.act(), &call.request.request, ttl_seconds).await?;
    Ok(ApiToken::of(&token).into())
}
