//! `/api/v1/metrics/export`

use axum::extract::{Query, State};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderName, header::CONTENT_TYPE};
use utoipa::IntoParams;

use super::{
    problem::Problem,
    routes::Caller,
    series::{FleetQuery, asked_servers},
};
use crate::{
    api::model::series_query::SeriesParameters,
    app::App,
    error::Error,
    metrics::{
        latest,
        prometheus::{Exposition, is_up},
    },
};

const KNOWN: [&str; 2] = ["server", "filter"];
/// Servers whose newest samples are read at once.
const AT_ONCE: usize = 8;

/// How.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "it is there for the API's document; the parameters are read with those that may be repeated"
)]
pub struct ExportQuery {
    /// `true`: each value with the time it was sampled at, instead of leaving that to whoever scrapes.
    timestamps: Option<bool>,
}

/// Export the newest value of every series, for Prometheus to scrape.
///
/// Text exposition format 0.0.4. Names and units are those of the metrics' table; every series has the labels `server` and
/// `server_id` beside its own. A server that nothing came from for a minute has `muster_server_up` 0 and no other series.
#[utoipa::path(get, path = "/api/v1/metrics/export", tag = "monitoring", params(FleetQuery, ExportQuery), responses(
    (status = 200, description = "The values", body = String, content_type = "text/plain",
        example = "# HELP host_load_1m Load average of one minute.\n# TYPE host_load_1m gauge\nhost_load_1m{server=\"web-1\",server_id=\"01890a5d-ac96-774b-bcce-b302099a8057\"} 0.25\n"),
    (status = 404, description = "No such server in the caller's organisation"),
    (status = 422, description = "A parameter is not acceptable, or there would be too many series")))]
pub async fn export_metrics(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(mut pairs): Query<Vec<(String, String)>>,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let has_timestamps = timestamps(&mut pairs)?;
    let parameters = SeriesParameters::read(pairs, &KNOWN)?;
    let (servers, org) = (asked_servers(&app, caller.org_id, &parameters).await?, caller.org_id);
    let (app, mut exposition) = (&app, Exposition::new(has_timestamps));
    let mut newest = stream::iter(servers)
        .map(|asked| async move {
            let is_up = is_up(app.heads.arrived_at_us(org, asked.server), app.clock.now_us());
            let newest = if is_up { latest(&app.store, org, asked.server).await? } else { None };
            Ok::<_, Error>((asked, newest))
        })
        .buffered(AT_ONCE);
    while let Some((asked, newest)) = newest.try_next().await? {
        let added = exposition.add(&asked.labels, app.clock.now_us(), newest.as_ref());
        added.map_err(|too_many| Error::invalid("too_many_series", too_many.to_string()))?;
    }
    metrics::counter!("muster_export_series_total").increment(exposition.series() as u64);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exposition.finish()))
}

/// Takes `timestamps` out of a query's pairs.
fn timestamps(pairs: &mut Vec<(String, String)>) -> Result<bool, Error> {
    let Some(at) = pairs.iter().position(|(name, _)| name == "timestamps") else { return Ok(false) };
    match pairs.swap_remove(at).1.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid("invalid_query", "timestamps: expected true or false")),
    }
}
