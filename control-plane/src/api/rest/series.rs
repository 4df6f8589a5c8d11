//! `/api/v1/monitoring/servers/{id}/series`, `/api/v1/monitoring/series` and `/api/v1/monitoring/metrics`

use axum::{
    extract::{Path, State},
    response::Response,
};
use futures_util::StreamExt as _;
use muster_shared::id::OrgId;
use serde::Deserialize;
use utoipa::{
    IntoParams,
    openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type},
};

use super::{extract::Query, problem::Problem, routes::Caller, servers};
use crate::{
    api::{
        authorization::Asked as AskedBy,
        model::{
            series::{Metric, SeriesAnswer},
            series_query::SeriesParameters,
        },
        operation::Operation,
        readmission::Readmission,
        sse,
        watch_series::watch_series,
    },
    app::App,
    error::Error,
    metrics::{Asked, MAX_SERVERS, Selection, metrics_of, query},
    progress::ProgressEvent,
    servers::ServerFilter,
};

const OF_SERVER: [&str; 8] = ["metric", "label", "from", "to", "step", "group_by", "aggregate", "top"];
const OF_FLEET: [&str; 10] =
    ["metric", "label", "server", "filter", "from", "to", "step", "group_by", "aggregate", "top"];
const OF_WATCH: [&str; 2] = ["metric", "label"];

type Pairs = Query<Vec<(String, String)>>;

/// Which series of a server, and how.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it is there for the API's document; parameters may be repeated, which serde can't say")]
pub struct SeriesQuery {
    /// A metric's name, such as `host_memory_available_bytes`; may be repeated.
    metric: Vec<String>,
    /// `name=value`: only series with this label; may be repeated.
    label: Option<Vec<String>>,
    /// Start, RFC 3339 or seconds since the epoch; five minutes before the end unless given.
    #[param(schema_with = point_schema)]
    from: Option<String>,
    /// End, RFC 3339 or seconds since the epoch; now unless given.
    #[param(schema_with = point_schema)]
    to: Option<String>,
    /// Length of a step, such as `10s`, `5m`, `1h` or `1d`; chosen by the range unless given.
    #[param(pattern = "^[1-9][0-9]{0,5}[smhd]?$")]
    step: Option<String>,
    /// Labels that series are put together by, separated by commas.
    group_by: Option<String>,
    /// How series are put together: `sum`, `avg`, `min` or `max`.
    #[param(schema_with = aggregate_schema)]
    aggregate: Option<String>,
    /// Only so many series, those with the greatest mean first.
    #[param(minimum = 1, maximum = 2000)]
    top: Option<u32>,
}

/// Which servers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it is there for the API's document; parameters may be repeated, which serde can't say")]
pub struct FleetQuery {
    /// A server's id or name; may be repeated. Every server of the organisation unless given.
    server: Option<Vec<String>>,
    /// A filter over servers' fields and facts in CEL, as the list of servers takes it.
    filter: Option<String>,
}

/// Which series to follow.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it is there for the API's document; parameters may be repeated, which serde can't say")]
pub struct WatchQuery {
    /// A metric's name; may be repeated.
    metric: Vec<String>,
    /// `name=value`: only series with this label; may be repeated.
    label: Option<Vec<String>>,
}

fn point_schema() -> RefOr<Schema> {
    let time =
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let seconds = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).exclusive_maximum(Some(1e11));
    OneOfBuilder::new().item(time).item(seconds).into()
}

fn aggregate_schema() -> RefOr<Schema> {
    let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["sum", "avg", "min", "max"]));
    RefOr::T(Schema::Object(words.into()))
}

/// Show a server's series over a range, step by step.
///
/// Each step has the least, the mean and the greatest value of the seconds in it, `null` where there is none; counters
/// are rates per second. Steps begin at whole multiples of their length.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/series", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name"), SeriesQuery), responses(
        (status = 200, description = "The series", body = SeriesAnswer),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 422, description = "A parameter is not acceptable, or the answer would be too large")))]
pub async fn query_series(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(pairs): Pairs,
) -> Result<axum::Json<SeriesAnswer>, Problem> {
    let parameters = SeriesParameters::read(pairs, &OF_SERVER)?;
    let asked = parameters.query(app.clock.now_us())?;
    let server = app.servers.resolve(caller.org_id, &id).await?.id;
    let servers = [Asked { server, labels: [].into() }];
    let found = query(&app.metric_store, caller.org_id, &servers, &asked).await?;
    Ok(axum::Json(SeriesAnswer::of(asked.steps, found)))
}

/// Show series of many servers over a range, step by step.
///
/// Series have the labels `server` and `server_id` beside their own, which `group_by` may name: the ten containers with
/// the most memory are `metric=container_memory_bytes&group_by=server,name&top=10`.
#[utoipa::path(get, path = "/api/v1/monitoring/series", tag = "monitoring", params(FleetQuery, SeriesQuery), responses(
    (status = 200, description = "The series", body = SeriesAnswer),
    (status = 404, description = "No such server in the caller's organisation"),
    (status = 422, description = "A parameter is not acceptable, or the answer would be too large")))]
pub async fn query_fleet_series(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(pairs): Pairs,
) -> Result<axum::Json<SeriesAnswer>, Problem> {
    let parameters = SeriesParameters::read(pairs, &OF_FLEET)?;
    Ok(axum::Json(fleet_series(&app, caller.org_id, parameters).await?))
}

/// Series of many servers.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a server there is not; [`Error`] for what can't be
/// asked.
pub async fn fleet_series(app: &App, org: OrgId, parameters: SeriesParameters) -> Result<SeriesAnswer, Error> {
    let servers = asked_servers(app, org, &parameters).await?;
    let asked = parameters.query(app.clock.now_us())?;
    let found = query(&app.metric_store, org, &servers, &asked).await?;
    Ok(SeriesAnswer::of(asked.steps, found))
}

/// The servers that are asked, by `server` or `filter`: all of them unless either is given.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a server there is not; [`Error`] for more than may be asked
/// at once.
pub(super) async fn asked_servers(app: &App, org: OrgId, parameters: &SeriesParameters) -> Result<Vec<Asked>, Error> {
    let filter = servers::filter(parameters.filter.as_deref())?;
    let limit = u32::try_from(MAX_SERVERS).unwrap_or(u32::MAX);
    let mut found = Vec::new();
    if parameters.servers.is_empty() {
        let page = ServerFilter { limit, ..ServerFilter::default() };
        found = servers::list(app, org, page, filter.as_ref()).await?;
        let more = ServerFilter { skip: limit, limit: 1, ..ServerFilter::default() };
        if found.len() >= MAX_SERVERS && !servers::list(app, org, more, filter.as_ref()).await?.is_empty() {
            let detail = format!("more than {MAX_SERVERS} servers would be asked: name some, or give a `filter`");
            return Err(Error::invalid("too_many_servers", detail));
        }
    } else if filter.is_some() {
        return Err(Error::invalid("invalid_query", "give `server` or `filter`, not both"));
    } else {
        for reference in &parameters.servers {
            let server = app.servers.resolve(org, reference).await?;
            if found.iter().all(|known: &crate::servers::Server| known.id != server.id) {
                found.push(server);
            }
        }
    }
    let asked = found.into_iter().map(|server| {
        let labels = [("server", server.name.to_string()), ("server_id", server.id.to_string())];
        Asked { server: server.id, labels: labels.map(|(name, value)| (name.to_owned(), value)).into() }
    });
    Ok(asked.collect())
}

/// Follow chosen series of a server, a point a second.
///
/// The event `series` lists the series that points have values of, in their order, and comes again whenever they change;
/// `point` has the time in milliseconds and a value for each, `null` where there is none. Counters are rates per second.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/series/live", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name"), WatchQuery), responses(
        (status = 200, description = "The points as they arrive", body = String, content_type = "text/event-stream",
            example = "event: series\ndata: {\"series\": [{\"metric\": \"host_load_1m\", \"labels\": {}, \"unit\": \"1\"}]}\n\nevent: point\ndata: {\"t\": 1736937000000, \"values\": [0.72]}\n\n"),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 422, description = "A parameter is not acceptable")))]
pub async fn follow_series(
    State(app): State<App>,
    Caller(caller): Caller,
    asked: AskedBy,
    Path(id): Path<String>,
    Query(pairs): Pairs,
) -> Result<Response, Problem> {
    let SeriesParameters { metrics, labels, .. } = SeriesParameters::read(pairs, &OF_WATCH)?;
    let selection = Selection::new(metrics, labels)?;
    let org = caller.org_id;
    let server = app.servers.resolve(org, &id).await?.id;
    let readmission = Readmission::new(&app, asked, Operation::WatchSeries, caller);
    let told = readmission.guard(watch_series(app, org, server, selection));
    let events = told.take_while(|told| std::future::ready(told.is_ok())).filter_map(async |told| {
        let told = told.ok()?;
        Some(ProgressEvent { event: told.word(), data: serde_json::to_value(told).unwrap_or_default() })
    });
    Ok(sse::respond(events))
}

/// Whose metrics.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MetricsQuery {
    /// Only those of this server: an id or a name.
    pub server: Option<String>,
}

/// List what is measured: names, units and labels.
#[utoipa::path(get, path = "/api/v1/monitoring/metrics", tag = "monitoring", params(MetricsQuery), responses(
    (status = 200, description = "The metrics, by name", body = Vec<Metric>),
    (status = 404, description = "No such server in the caller's organisation")))]
pub async fn list_metrics(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(query): Query<MetricsQuery>,
) -> Result<axum::Json<Vec<Metric>>, Problem> {
    Ok(axum::Json(metrics(&app, caller.org_id, query.server.as_deref()).await?))
}

/// What the organisation's servers, or one of them, measure.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a server there is not.
pub async fn metrics(app: &App, org: OrgId, server: Option<&str>) -> Result<Vec<Metric>, Error> {
    let server = match server {
        Some(server) => Some(app.servers.resolve(org, server).await?.id),
        None => None,
    };
    let series = app.store.declared_series(org, server).await?;
    Ok(metrics_of(&series).into_iter().map(Metric::from).collect())
}
