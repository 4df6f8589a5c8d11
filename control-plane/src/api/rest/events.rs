//! `/api/v1/events`

use axum::{extract::State, response::Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{extract::Query, problem::Problem, routes::Caller};
use crate::{
    api::{
        authorization::Asked, events::follow, model::event::FleetEvent, operation::Operation, readmission::Readmission,
        sse,
    },
    app::App,
};

/// What a browser shows when it connects again.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What to follow.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// With the hosts' figures as they arrive; needs the permission `org.monitoring.view` besides.
    #[serde(default)]
    #[param(default = false)]
    pub samples: bool,
}

/// Follow the fleet.
///
/// Server-sent events, told by what the caller may see at that moment: `server_created`, `server_changed`,
/// `server_deleted`, `health_changed`, `hardening_changed`, `agent_online`, `agent_offline`, `environment_changed`,
/// `project_changed`, `member_changed`, `command_changed`, `samples_damaged`, and `sample` where asked for. The project
/// roles hear of their own projects only.
/// The stream begins with `ready`. A client that connects again with `Last-Event-ID` gets every event it missed once;
/// where they are no longer known it gets `reset` and has to read again what it shows. `closed` is the last event: the
/// token was withdrawn, or what it allows has changed.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(EventsQuery,
        ("last-event-id" = Option<String>, Header, description = "The id of the last event that was read")),
    responses(
        (status = 200, description = "The events; the data of each is a `FleetEvent`", body = FleetEvent,
            content_type = "text/event-stream",
            example = "id: 00c0ffee00c0ffee-42\nevent: health_changed\ndata: {\"event\": \"health_changed\", \"id\": \"00c0ffee00c0ffee-42\", \"server_id\": \"01890a5d-ac96-774b-bcce-b302099a8057\"}\n\n"),
        (status = 422, description = "A parameter is not acceptable"),
        (status = 429, description = "Too many streams of this organisation are open")))]
pub async fn watch_events(
    State(app): State<App>,
    Caller(caller): Caller,
    asked: Asked,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("unreadable").to_owned());
    let readmission = Readmission::new(&app, asked, Operation::WatchEvents, caller);
    let events = follow(app, readmission, last.as_deref(), query.samples)?;
    Ok(sse::respond_numbered(events.map(|event| sse::Numbered {
        id: event.id.clone(),
        event: event.event.clone(),
        data: serde_json::to_value(event).unwrap_or_default(),
    })))
}
