//! Fleet runs.

use muster_shared::wire;

use super::{
    call::{Answers, Call},
    runs::told,
    servers::page,
};
use crate::{
    api::{
        model::fleet_run::{FleetRun, FleetRunCreate, run_id},
        rest::extract::DEFAULT_PAGE,
    },
    error::Error,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn create(mut call: Call<wire::CreateFleetRunRequest>) -> Result<wire::FleetRun> {
    let (wanted, bounds) = FleetRunCreate::from(std::mem::take(&mut call.request)).into_wanted()?;
    let run = call.app.fleet_runs.start(&call.caller, &call.act(), wanted, bounds).await?;
    let servers = call.app.fleet_runs.servers(&run, 0, DEFAULT_PAGE).await?;
    Ok(FleetRun::of(&run, &servers).into())
}

pub(super) async fn list(call: Call<wire::ListFleetRunsRequest>) -> Result<wire::ListFleetRunsResponse> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let runs = call.app.fleet_runs.list(call.caller.org_id, skip, limit).await?;
    Ok(wire::ListFleetRunsResponse { runs: runs.iter().map(|run| FleetRun::of(run, &[]).into()).collect() })
}

pub(super) async fn get(call: Call<wire::GetFleetRunRequest>) -> Result<wire::FleetRun> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let run = call.app.fleet_runs.get(call.caller.org_id, run_id(&call.request.id)?).await?;
    let servers = call.app.fleet_runs.servers(&run, skip, limit).await?;
    Ok(FleetRun::of(&run, &servers).into())
}

pub(super) async fn watch(call: Call<wire::WatchFleetRunRequest>) -> Result<Answers<wire::ProgressEvent>> {
    let run = call.app.fleet_runs.get(call.caller.org_id, run_id(&call.request.id)?).await?;
    Ok(told(call.app.fleet_runs.watch(&run)))
}

pub(super) async fn cancel(call: Call<wire::CancelFleetRunRequest>) -> Result<wire::FleetRun> {
    let run = call.app.fleet_runs.cancel(&call.act(), run_id(&call.request.id)?).await?;
    Ok(FleetRun::of(&run, &[]).into())
}
