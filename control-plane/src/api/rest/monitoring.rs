//! `/api/v1/monitoring/servers/{id}`

use axum::{
    extract::{Path, State},
    response::Response,
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use utoipa::{
    IntoParams,
    openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type},
};

use super::{extract::Query, problem::Problem, routes::Caller};
use crate::{
    api::{
        authorization::Asked,
        model::{series::SeriesAnswer, summary::Summary, time::Time},
        operation::Operation,
        readmission::Readmission,
        sse,
        watch::{Watched, watch},
    },
    app::App,
    error::{Error, ErrorKind},
    metrics::{fresh_summary, series},
    progress::ProgressEvent,
};

/// How far back a range reaches unless its start is given, in microseconds.
const DEFAULT_RANGE_US: i64 = 300 * 1_000_000;

/// Show a server's latest figures.
///
/// A connected host is asked for a fresh sample first, so the figures are seconds old at most.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/summary", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The figures", body = Summary),
        (status = 404, description = "No such server in the caller's organisation, or no sample of it yet")))]
pub async fn get_summary(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Summary>, Problem> {
    Ok(axum::Json(summary(&app, caller.org_id, &id).await?))
}

/// A server's latest figures, fresh where the host is connected.
///
/// # Errors
/// [`ErrorKind::NotFound`]: no such server, or no sample of it yet.
pub async fn summary(app: &App, org: muster_shared::id::OrgId, id: &str) -> Result<Summary, Error> {
    let server = app.servers.resolve(org, id).await?;
    let summary = fresh_summary((&app.sessions, &app.heads, &app.events), &app.clock, org, server.id).await?;
    let none =
        || Error::new(ErrorKind::NotFound, "no_samples", "this server has sent no samples yet: is its agent up?");
    Ok(Summary::of(&summary.ok_or_else(none)?, &server.health(app.clock.now_us())))
}

/// Follow a server's figures, one event `sample` a second.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/live", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The samples as they arrive", body = String, content_type = "text/event-stream",
            example = "event: sample\ndata: {\"cpu_usage_percent\": 45.2, \"memory_usage_percent\": 62.8}\n\n"),
        (status = 404, description = "No such server in the caller's organisation")))]
pub async fn follow_live(
    State(app): State<App>,
    Caller(caller): Caller,
    asked: Asked,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let org = caller.org_id;
    let server = app.servers.resolve(org, &id).await?.id;
    let readmission = Readmission::new(&app, asked, Operation::GetSummary, caller);
    let watched = readmission.guard(watch(app, org, server, true).await?);
    let samples = watched.take_while(|watched| std::future::ready(watched.is_ok())).filter_map(async |watched| {
        let Ok(Watched::Sample(summary)) = watched else { return None };
        Some(ProgressEvent { event: "sample", data: serde_json::to_value(summary).unwrap_or_default() })
    });
    Ok(sse::respond(samples))
}

/// Which samples.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// The metric's name, such as `host_memory_available_bytes`.
    pub metric: String,
    /// Start, RFC 3339 or seconds since the epoch; five minutes before the end unless given.
    #[param(schema_with = point_schema)]
    pub from: Option<String>,
    /// End, RFC 3339 or seconds since the epoch; now unless given.
    #[param(schema_with = point_schema)]
    pub to: Option<String>,
}

impl SeriesQuery {
    fn range_us(&self, now_us: i64) -> Result<(i64, i64), Error> {
        let to_us = self.to.as_deref().map_or(Ok(now_us), |to| point("to", to))?;
        let from_us = self.from.as_deref().map_or(Ok(to_us - DEFAULT_RANGE_US), |from| point("from", from))?;
        if from_us > to_us {
            return Err(Error::invalid("invalid_range", "from must not be after to"));
        }
        Ok((from_us, to_us))
    }
}

fn point_schema() -> RefOr<Schema> {
    let time =
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let seconds = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).exclusive_maximum(Some(1e11));
    OneOfBuilder::new().item(time).item(seconds).into()
}

fn point(field: &str, text: &str) -> Result<i64, Error> {
    if let Ok(seconds) = text.parse::<f64>()
        && (0.0..1e11).contains(&seconds)
    {
        // In range, so the cast keeps all but the fraction of a microsecond.
        return Ok((seconds * 1e6) as i64);
    }
    let time = text.parse::<prost_types::Timestamp>();
    time.map(|time| Time::from(time).0).map_err(|_| {
        Error::invalid("invalid_time", format!("{field}: expected RFC 3339, such as 2025-01-15T10:30:00Z, or seconds"))
    })
}

/// Show a metric's samples over a range.
///
/// Counters are as counted; gaps are where no point is.
#[utoipa::path(get, path = "/api/v1/monitoring/servers/{id}/series", tag = "monitoring",
    params(("id" = String, Path, description = "A server's id, or its name"), SeriesQuery), responses(
        (status = 200, description = "The samples, one entry a series", body = SeriesAnswer),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 422, description = "A parameter is not acceptable, or the range holds too much")))]
pub async fn query_series(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(query): Query<SeriesQuery>,
) -> Result<axum::Json<SeriesAnswer>, Problem> {
    let range_us = query.range_us(app.clock.now_us())?;
    let server = app.servers.resolve(caller.org_id, &id).await?.id;
    let found = series(&app.store, (caller.org_id, server), &query.metric, range_us).await?;
    Ok(axum::Json(SeriesAnswer::of(query.metric, range_us, found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: Option<&str>, to: Option<&str>) -> SeriesQuery {
        SeriesQuery { metric: "x".into(), from: from.map(str::to_owned), to: to.map(str::to_owned) }
    }

    #[test]
    fn ranges_are_read_in_either_form_and_end_now() {
        let now_us = 1_736_937_000_000_000;
        assert_eq!(query(None, None).range_us(now_us).ok(), Some((now_us - DEFAULT_RANGE_US, now_us)));
        let range = query(Some("1736936999.5"), Some("2025-01-15T10:30:00Z")).range_us(0).ok();
        assert_eq!(range, Some((now_us - 500_000, now_us)));
        assert!(query(Some("yesterday"), None).range_us(now_us).is_err());
        assert!(query(Some("20"), Some("10")).range_us(now_us).is_err());
        assert!(query(Some("1e300"), None).range_us(now_us).is_err());
    }
}
