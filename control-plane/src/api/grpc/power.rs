//! Power.

use muster_shared::wire;

use super::call::Call;
use crate::{api::model::power::PowerAnswer, error::Error};

type Result = std::result::Result<wire::PowerResponse, Error>;

pub(super) async fn reboot(call: Call<wire::PowerRequest>) -> Result {
    let id = call.server(&call.request.server).await?.id;
    Ok(PowerAnswer::of(&call.app.power.reboot(&call.act(), id).await?).into())
}

pub(super) async fn stop(call: Call<wire::PowerRequest>) -> Result {
    let id = call.server(&call.request.server).await?.id;
    Ok(PowerAnswer::of(&call.app.power.stop(&call.act(), id).await?).into())
}

pub(super) async fn start(call: Call<wire::PowerRequest>) -> Result {
    let id = call.server(&call.request.server).await?.id;
    Ok(PowerAnswer::of(&call.app.power.start(&call.act(), id).await?).into())
}
