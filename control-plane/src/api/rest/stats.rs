//! `/api/v1/vms/{id}/stats`

use axum::extract::{Path, State};

use super::{problem::Problem, routes::Caller};
use crate::{
    access::{Permission, Principal},
    api::model::stats::{Figures, VmStats},
    app::App,
    capacity::{Allocation, WINDOW_HOURS, forecast},
    error::Error,
};

const HOUR_US: i64 = 3_600 * 1_000_000;

/// Show how much of a server is spoken for and in use.
///
/// With a level for each resource, and when the disk will be full if it goes on as it does. The figures and the forecast
/// need the permission `org.monitoring.view` besides and are `null` without it.
#[utoipa::path(get, path = "/api/v1/vms/{id}/stats", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server's capacity", body = VmStats),
        (status = 404, description = "No such server in the caller's organisation")))]
pub async fn get_stats(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<VmStats>, Problem> {
    Ok(axum::Json(stats(&app, &caller, &id).await?))
}

/// A server's capacity, as `caller` may see it.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub async fn stats(app: &App, caller: &Principal, id: &str) -> Result<VmStats, Error> {
    let server = app.servers.resolve(caller.org_id, id).await?;
    let now_us = app.clock.now_us();
    let figures = match caller.require(Permission::MonitoringView) {
        Err(_) => None,
        Ok(()) => {
            let from_hour = now_us / HOUR_US - WINDOW_HOURS;
            let points = app.store.disk_use(server.org_id, server.id, from_hour).await?;
            let summary = app.heads.summary(server.org_id, server.id).await?;
            Some(Figures { summary, forecast: forecast(&points) })
        }
    };
    let counts = app.store.environment_counts(server.org_id, server.id).await?;
    Ok(VmStats::of(&server, &Allocation::of(&server, counts.active, &counts.given), figures.as_ref(), now_us))
}
