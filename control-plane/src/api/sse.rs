//! Server-sent events. A stream that is quiet says so every [`KEEP_ALIVE`], so that proxies keep it and a client that
//! is gone is noticed.

use std::{convert::Infallible, time::Duration};

use axum::response::{IntoResponse, Response, Sse, sse};
use futures_util::{Stream, StreamExt as _};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CACHE_CONTROL},
};
use serde_json::Value;

use crate::progress::ProgressEvent;

/// How long a stream may be quiet.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event that its reader can go on after.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Without line breaks; `None` leaves the reader's place as it is.
    pub id: Option<String>,
    pub event: String,
    pub data: Value,
}

/// Whether a caller wants to be told how a run gets on, rather than its result alone.
#[must_use]
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let asked = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    asked
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}

/// `events` as a response: a block `event:` and `data:` each.
pub fn respond(events: impl Stream<Item = ProgressEvent> + Send + 'static) -> Response {
    respond_numbered(events.map(|event| Numbered { id: None, event: event.event.to_owned(), data: event.data }))
}

/// The same with an `id:` where an event has one.
pub fn respond_numbered(events: impl Stream<Item = Numbered> + Send + 'static) -> Response {
    let frames = events.map(|event| {
        // Compact JSON has no line break, so that an event's data is always one line.
        let frame = sse::Event::default().event(event.event).data(event.data.to_string());
        Ok::<_, Infallible>(match event.id {
            Some(id) => frame.id(id),
            None => frame,
        })
    });
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Asks reverse proxies not to collect events before passing them on.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Sse::new(frames).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::progress;

    #[tokio::test]
    async fn events_are_framed_as_published() {
        let (sender, stream) = progress::channel();
        sender.status("connecting", "Establishing SSH connection...");
        sender.send("check", json!({ "name": "docker_installed", "evidence": "two\nlines" }));
        drop(sender);
        let response = respond(stream);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let expected = "event: status\n\
            data: {\"message\":\"Establishing SSH connection...\",\"step\":\"connecting\"}\n\n\
            event: check\n\
            data: {\"evidence\":\"two\\nlines\",\"name\":\"docker_installed\"}\n\n";
        assert_eq!(String::from_utf8_lossy(&body), expected);
    }
}
