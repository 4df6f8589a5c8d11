//! A server's agent.

use muster_shared::wire;

use super::call::Call;
use crate::error::Error;

pub(super) async fn revoke(call: Call<wire::RevokeAgentRequest>) -> Result<wire::Server, Error> {
    let id = call.server(&call.request.server).await?.id;
    call.app.enrollment.revoke_agent(&call.act(), id).await?;
    Ok(call.shown(&call.app.servers.get(call.caller.org_id, id).await?))
}

pub(super) async fn release(call: Call<wire::ReleaseQuarantineRequest>) -> Result<wire::Server, Error> {
    let id = call.server(&call.request.server).await?.id;
    call.app.enrollment.release_quarantine(&call.act(), id).await?;
    Ok(call.shown(&call.app.servers.get(call.caller.org_id, id).await?))
}
