//! Hardening.

use muster_shared::wire;

use super::{
    call::{Answers, Call},
    runs::told,
};
use crate::{
    api::model::hardening::{HardenRequest, ServerHardening},
    error::Error,
    hardening::Wish,
};

pub(super) async fn get(call: Call<wire::GetHardeningRequest>) -> Result<wire::Hardening, Error> {
    let server = call.server(&call.request.server).await?.id;
    Ok(ServerHardening::of(&call.app.hardenings.get(call.caller.org_id, server).await?).into())
}

pub(super) async fn harden(call: Call<wire::HardenRequest>) -> Result<Answers<wire::ProgressEvent>, Error> {
    let server = call.server(&call.request.server).await?.id;
    let wish = Wish::try_from(HardenRequest::try_from(call.request.clone())?)?;
    Ok(told(call.app.hardenings.start(&call.act(), server, wish).await?))
}
