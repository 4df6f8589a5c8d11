//! Members of the organisation acted in.

use muster_shared::wire;

use super::{call::Call, servers::page};
use crate::{
    api::model::{
        member::{Member, role},
        request::field,
    },
    error::Error,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn list(call: Call<wire::ListMembersRequest>) -> Result<wire::ListMembersResponse> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let members = call.app.members.list(call.caller.org_id, skip, limit).await?;
    Ok(wire::ListMembersResponse { members: members.iter().map(|member| Member::of(member).into()).collect() })
}

pub(super) async fn add(call: Call<wire::AddMemberRequest>) -> Result<wire::Member> {
    let (name, role) = (field("name", &call.request.name)?, role(&call.request.role)?);
    let member = call.app.members.add(&call.act(), &call.caller, &name, role).await?;
    Ok(Member::of(&member).into())
}

pub(super) async fn update(call: Call<wire::UpdateMemberRequest>) -> Result<wire::Member> {
    let id = call.app.members.resolve(call.caller.org_id, &call.request.user).await?.user_id;
    let role = role(&call.request.role)?;
    let member = call.app.members.set_role(&call.act(), &call.caller, id, role).await?;
    Ok(Member::of(&member).into())
}

pub(super) async fn remove(call: Call<wire::RemoveMemberRequest>) -> Result<wire::RemoveMemberResponse> {
    let id = call.app.members.resolve(call.caller.org_id, &call.request.user).await?.user_id;
    call.app.members.remove(&call.act(), call.caller.role, id).await?;
    Ok(wire::RemoveMemberResponse {})
}
