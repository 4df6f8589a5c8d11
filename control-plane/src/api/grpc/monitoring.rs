//! Figures, and watching a server.

use futures_util::StreamExt as _;
use muster_shared::wire::{self, server_event::Kind};

use super::{
    fleet::{Answers, Call},
    status::to_status,
};
use crate::{
    access::Permission,
    api::{
        operation::Operation,
        readmission::Readmission,
        rest,
        watch::{Watched, watch},
    },
    error::Error,
};

pub(super) async fn summary(call: Call<wire::GetSummaryRequest>) -> Result<wire::Summary, Error> {
    Ok(rest::monitoring::summary(&call.app, call.caller.org_id, &call.request.server).await?.into())
}

pub(super) async fn stats(call: Call<wire::GetStatsRequest>) -> Result<wire::ServerStats, Error> {
    Ok(rest::stats::stats(&call.app, &call.caller, &call.request.server).await?.into())
}

pub(super) async fn watch_server(call: Call<wire::WatchServerRequest>) -> Result<Answers<wire::ServerEvent>, Error> {
    if call.request.metrics {
        call.caller.require(Permission::MonitoringView)?;
    }
    let server = call.server(&call.request.server).await?.id;
    let org = call.caller.org_id;
    let readmission = Readmission::new(&call.app, call.asked, Operation::WatchServer, call.caller);
    let watched = readmission.guard(watch(call.app, org, server, call.request.metrics).await?);
    Ok(Box::pin(watched.map(|watched| watched.map(event).map_err(|error| to_status(&error)))))
}

fn event(watched: Watched) -> wire::ServerEvent {
    let kind = match watched {
        Watched::Server(vm) => Kind::Server((*vm).into()),
        Watched::Sample(summary) => Kind::Summary(summary.into()),
        Watched::Command(command) => Kind::Command(command.into()),
    };
    wire::ServerEvent { kind: Some(kind) }
}
