//! The control plane's own health.

use axum::extract::State;
use http::{HeaderName, header::CONTENT_TYPE};

use super::{problem::Problem, routes::Caller};
use crate::{
    app::App,
    error::{Error, ErrorKind},
};

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "control plane",
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain", example = "ok\n")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Requests can be served: the database answers, and nobody asked the process to stop.
#[utoipa::path(get, path = "/readyz", tag = "control plane",
    responses((status = 200, description = "It is ready", body = String, content_type = "text/plain", example = "ok\n")))]
pub async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.shutdown.is_cancelled() {
        return Err(Error::new(ErrorKind::Unavailable, "stopping", "the control plane is stopping").into());
    }
    app.store.ping().await.map_err(Error::from)?;
    Ok("ok\n")
}

/// The control plane's own counters, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "control plane", operation_id = "own_metrics",
    responses((status = 200, description = "The counters", body = String, content_type = "text/plain")))]
pub async fn own_metrics(State(app): State<App>, _: Caller) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.counters.render())
}
