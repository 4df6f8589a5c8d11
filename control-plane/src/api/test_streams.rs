//! The fleet's events as they come, byte by byte, over both interfaces.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use muster_shared::wire;
use prost::Message as _;
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::test_api::Api;

const PATIENCE: Duration = Duration::from_secs(20);
/// What stands before each message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    Sse,
    Grpc,
}

impl Interface {
    pub(super) const ALL: [Self; 2] = [Self::Sse, Self::Grpc];

    fn request(self, token: &str, samples: bool) -> Request<Body> {
        let request = Request::builder().header("authorization", format!("Bearer {token}"));
        let request = match self {
            Self::Sse => request.uri(format!("/api/v1/events?samples={samples}")).body(Body::empty()),
            Self::Grpc => {
                let message = wire::WatchEventsRequest { samples, ..wire::WatchEventsRequest::default() };
                let length = u32::try_from(message.encoded_len()).expect("short").to_be_bytes();
                request
                    .method("POST")
                    .uri("http://fleet.example.com/muster.v1.FleetService/WatchEvents")
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(Body::from([&[0], length.as_slice(), &message.encode_to_vec()].concat()))
            }
        };
        request.expect("a request")
    }
}

/// One event, as far as tests ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) event: String,
    pub(super) server_id: String,
}

/// A stream of one reader, and every byte it has brought.
pub(super) struct EventStream {
    interface: Interface,
    body: BodyDataStream,
    bytes: Vec<u8>,
    read: usize,
}

impl EventStream {
    /// Opens one; `None` where the reader is refused.
    pub(super) async fn open(api: &Api, interface: Interface, token: &str, samples: bool) -> Option<Self> {
        let response = api.router.clone().oneshot(interface.request(token, samples)).await.expect("an answer");
        let refused = response.headers().get("grpc-status").is_some() || response.status() == StatusCode::FORBIDDEN;
        assert!(refused || response.status() == StatusCode::OK, "{interface:?}: {}", response.status());
        let body = response.into_body().into_data_stream();
        (!refused).then_some(Self { interface, body, bytes: Vec::new(), read: 0 })
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.parse() {
                return told;
            }
            let more = timeout(PATIENCE, self.body.next()).await.expect("an event in time");
            self.bytes.extend_from_slice(&more.expect("the stream goes on").expect("a body"));
        }
    }

    /// Every event up to the one named `event`, without it.
    pub(super) async fn until(&mut self, event: &str, server_id: &str) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            let next = self.next().await;
            if next.event == event && next.server_id == server_id {
                return told;
            }
            told.push(next);
        }
    }

    /// Every byte so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn parse(&mut self) -> Option<Told> {
        let unread = &self.bytes[self.read..];
        match self.interface {
            Interface::Grpc => {
                let length = unread.get(1..PREFIX)?.try_into().map(u32::from_be_bytes).expect("four bytes");
                let message = unread.get(PREFIX..PREFIX + length as usize)?;
                let event = wire::FleetEvent::decode(message).expect("an event");
                self.read += PREFIX + message.len();
                Some(Told { event: event.event, server_id: event.server_id })
            }
            Interface::Sse => {
                let end = unread.windows(2).position(|pair| pair == b"\n\n")?;
                let block = std::str::from_utf8(&unread[..end]).expect("text").to_owned();
                self.read += end + 2;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                // Comments keep a quiet stream alive.
                let Some((event, data)) = field("event").zip(field("data")) else { return self.parse() };
                let data: Value = serde_json::from_str(data).expect("JSON");
                let server_id = data["server_id"].as_str().unwrap_or_default().to_owned();
                Some(Told { event: event.to_owned(), server_id })
            }
        }
    }
}
