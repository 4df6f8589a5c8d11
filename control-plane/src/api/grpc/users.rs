//! Users who are members of the organisation acted in.

use muster_shared::wire;

use super::{call::Call, servers::page};
use crate::{
    api::model::user::{User, UserCreate, UserPatch},
    error::Error,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn list(call: Call<wire::ListUsersRequest>) -> Result<wire::ListUsersResponse> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let members = call.app.members.list(call.caller.org_id, skip, limit).await?;
    Ok(wire::ListUsersResponse { users: members.iter().map(|member| User::of(member).into()).collect() })
}

pub(super) async fn get(call: Call<wire::GetUserRequest>) -> Result<wire::User> {
    let member = call.app.members.resolve(call.caller.org_id, &call.request.user).await?;
    Ok(User::of(&member).into())
}

pub(super) async fn create(mut call: Call<wire::CreateUserRequest>) -> Result<wire::User> {
    let create = UserCreate::from(std::mem::take(&mut call.request)).into_create()?;
    let member = call.app.users.create(&call.act(), &call.caller, create).await?;
    Ok(User::of(&member).into())
}

pub(super) async fn update(mut call: Call<wire::UpdateUserRequest>) -> Result<wire::User> {
    let request = std::mem::take(&mut call.request);
    let id = call.app.members.resolve(call.caller.org_id, &request.user).await?.user_id;
    let update = UserPatch::try_from(request)?.into_update()?;
    let member = call.app.users.update(&call.act(), &call.caller, id, update).await?;
    Ok(User::of(&member).into())
}

pub(super) async fn reset_totp(call: Call<wire::ResetUserTotpRequest>) -> Result<wire::User> {
    let id = call.app.members.resolve(call.caller.org_id, &call.request.user).await?.user_id;
    let member = call.app.totp.reset(&call.act(), &call.caller, id).await?;
    Ok(User::of(&member).into())
}

pub(super) async fn delete(call: Call<wire::DeleteUserRequest>) -> Result<wire::DeleteUserResponse> {
    let id = call.app.members.resolve(call.caller.org_id, &call.request.user).await?.user_id;
    call.app.members.remove(&call.act(), call.caller.role, id).await?;
    Ok(wire::DeleteUserResponse {})
}
