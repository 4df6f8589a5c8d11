//! Figures, and watching a server.

use futures_util::StreamExt as _;
use muster_shared::wire::{self, server_event::Kind};

use super::{
    call::{Answers, Call},
    status::to_status,
};
use crate::{
    access::Permission,
    api::{
        door::Door,
        model::{series_query::SeriesParameters, structure},
        operation::Operation,
        readmission::Readmission,
        rest,
        watch::{Watched, watch},
        watch_series,
    },
    error::Error,
    metrics::Selection,
};

pub(super) async fn summary(call: Call<wire::GetSummaryRequest>) -> Result<wire::Summary, Error> {
    Ok(rest::monitoring::summary(&call.app, call.caller.org_id, &call.request.server).await?.into())
}

pub(super) async fn stats(call: Call<wire::GetStatsRequest>) -> Result<wire::ServerStats, Error> {
    Ok(rest::stats::stats(&call.app, &call.caller, &call.request.server).await?.into())
}

pub(super) async fn server_metrics(call: Call<wire::GetServerMetricsRequest>) -> Result<wire::ServerMetrics, Error> {
    let metrics = rest::server_metrics::server_metrics(&call.app, call.caller.org_id, &call.request.server).await?;
    Ok(wire::ServerMetrics { metrics: Some(document(&metrics)) })
}

pub(super) async fn container_metrics(
    call: Call<wire::GetContainerMetricsRequest>,
) -> Result<wire::ContainerMetrics, Error> {
    let wire::GetContainerMetricsRequest { container, server } = &call.request;
    let server = Some(server.as_str()).filter(|server| !server.is_empty());
    let metrics = rest::server_metrics::container_metrics(&call.app, call.caller.org_id, container, server).await?;
    Ok(wire::ContainerMetrics { metrics: Some(document(&metrics)) })
}

pub(super) async fn monitoring_url(
    call: Call<wire::GetMonitoringUrlRequest>,
    door: Door,
) -> Result<wire::MonitoringUrl, Error> {
    let act = call.act();
    let link = rest::server_metrics::monitoring_url(&call.app, &call.caller, &act, &door, &call.request.server).await?;
    Ok(wire::MonitoringUrl { url: link.url, expires_at: Some(link.expires_at.into()) })
}

pub(super) async fn list_metrics(call: Call<wire::ListMetricsRequest>) -> Result<wire::ListMetricsResponse, Error> {
    let server = Some(call.request.server.as_str()).filter(|server| !server.is_empty());
    let metrics = rest::series::metrics(&call.app, call.caller.org_id, server).await?;
    Ok(wire::ListMetricsResponse { metrics: metrics.into_iter().map(Into::into).collect() })
}

pub(super) async fn query_series(call: Call<wire::QuerySeriesRequest>) -> Result<wire::QuerySeriesResponse, Error> {
    let parameters = SeriesParameters::of(call.request)?;
    Ok(rest::series::fleet_series(&call.app, call.caller.org_id, parameters).await?.into())
}

pub(super) async fn watch_series(call: Call<wire::WatchSeriesRequest>) -> Result<Answers<wire::SeriesEvent>, Error> {
    let server = call.server(&call.request.server).await?.id;
    let selection = Selection::new(call.request.metrics, call.request.labels)?;
    let org = call.caller.org_id;
    let readmission = Readmission::new(&call.app, call.asked, Operation::WatchSeries, call.caller);
    let told = readmission.guard(watch_series::watch_series(call.app, org, server, selection));
    Ok(Box::pin(told.map(|told| told.map(Into::into).map_err(|error| to_status(&error)))))
}

fn document(metrics: &impl serde::Serialize) -> prost_types::Struct {
    structure::to_struct(serde_json::to_value(metrics).unwrap_or_default())
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
        Watched::Command(command) => Kind::Command((*command).into()),
    };
    wire::ServerEvent { kind: Some(kind) }
}
