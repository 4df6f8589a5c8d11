//! The stream as its readers meet it: over REST and gRPC, through the whole router.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use muster_shared::{
    id::{CommandId, EnvironmentId, OrgId, ProjectId, ServerId, UserId},
    wire,
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::ServiceExt as _;

use crate::{
    access::{Act, Role},
    api::test_api::Api,
    events::{EventKind, KEPT},
    metrics::Summary,
    projects::Scope,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// One event as it was sent.
#[derive(Debug)]
struct Told {
    id: Option<String>,
    event: String,
    data: Value,
}

struct Reader {
    body: BodyDataStream,
    buffer: String,
}

impl Reader {
    async fn open(api: &Api, token: &str, query: &str, last_event_id: Option<&str>) -> Result<Self, StatusCode> {
        let request =
            Request::builder().uri(format!("/api/v1/events{query}")).header("authorization", format!("Bearer {token}"));
        let request = match last_event_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let request = request.body(Body::empty()).expect("a request");
        let response = api.router.clone().oneshot(request).await.expect("an answer");
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(Self { body: response.into_body().into_data_stream(), buffer: String::new() })
    }

    /// The owner's, past its opening.
    async fn ready(api: &Api) -> Self {
        let mut reader = Self::open(api, &api.owner, "", None).await.expect("open");
        assert_eq!(reader.next().await.expect("an opening").event, "ready");
        reader
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| {
                    let mut lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    lines.next().map(str::to_owned)
                };
                // Comments keep a quiet stream alive.
                if let (Some(event), Some(data)) = (field("event"), field("data")) {
                    return Some(Told { id: field("id"), event, data: serde_json::from_str(&data).expect("JSON") });
                }
            }
            let bytes = timeout(PATIENCE, self.body.next()).await.expect("an event in time")?.expect("a body");
            self.buffer.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }
}

async fn org(api: &Api) -> OrgId {
    api.app.access.authenticate(&api.owner, 1).await.expect("the owner").org_id
}

/// Changes a server of nobody's: its number is what counts.
fn change(api: &Api, org: OrgId, count: usize) {
    for _ in 0..count {
        api.app.events.publish(org, ServerId::generate(), EventKind::ServerChanged);
    }
}

fn number(id: &str) -> u64 {
    id.split_once('-').and_then(|(_, number)| number.parse().ok()).expect("an id")
}

#[tokio::test]
async fn what_happens_is_told_with_what_it_happened_to() {
    let api = Api::open().await;
    let mut reader = Reader::ready(&api).await;
    let server = api.make_server("web-1").await;
    let told = reader.next().await.expect("an event");
    assert_eq!(told.event, "server_created");
    assert_eq!((&told.data["server"]["name"], &told.data["server_id"]), (&server["name"], &server["id"]));
    assert_eq!(told.data["id"].as_str(), told.id.as_deref());
    assert!(!told.data.to_string().contains("horse"), "no secret is told");
    let id: ServerId = server["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let org = org(&api).await;
    for kind in [EventKind::AgentOnline, EventKind::HealthChanged, EventKind::ServerDeleted] {
        api.app.events.publish(org, id, kind.clone());
        let told = reader.next().await.expect("an event");
        assert_eq!(told.event, kind.word());
        assert_eq!(told.data["server"].is_object(), !matches!(kind, EventKind::ServerDeleted));
    }
}

#[tokio::test]
async fn a_revoked_token_hears_nothing_after_a_second_and_the_stream_ends() {
    let api = Api::open().await;
    let org = org(&api).await;
    let mut reader = Reader::ready(&api).await;
    let events = api.app.events.clone();
    let busy = tokio::spawn(async move {
        loop {
            events.publish(org, ServerId::generate(), EventKind::ServerChanged);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    for _ in 0..3 {
        assert_eq!(reader.next().await.expect("an event").event, "server_changed");
    }
    api.app.store.revoke_tokens(org, 1).await;
    let revoked = Instant::now();
    let closed = loop {
        let told = reader.next().await.expect("an event");
        assert!(revoked.elapsed() < Duration::from_secs(1), "{told:?} after {:?}", revoked.elapsed());
        if told.event != "server_changed" {
            break told;
        }
    };
    assert_eq!((closed.event.as_str(), &closed.data["code"]), ("closed", &"unauthenticated".into()));
    assert!(reader.next().await.is_none(), "that was the end");
    assert_eq!(Reader::open(&api, &api.owner, "", None).await.err(), Some(StatusCode::UNAUTHORIZED));
    busy.abort();
}

#[tokio::test]
async fn a_quiet_stream_ends_as_well() {
    let api = Api::open().await;
    let mut reader = Reader::ready(&api).await;
    api.app.store.revoke_tokens(org(&api).await, 1).await;
    let revoked = Instant::now();
    assert_eq!(reader.next().await.expect("an event").event, "closed");
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn another_role_ends_the_stream_and_sees_its_own_events_only() {
    let api = Api::open().await;
    let org = org(&api).await;
    let command = || {
        api.app.events.publish(org, ServerId::generate(), EventKind::CommandChanged(CommandId::generate()));
    };
    let mut reader = Reader::ready(&api).await;
    command();
    let told = reader.next().await.expect("an event");
    assert_eq!(told.event, "command_changed");
    api.app.store.set_roles(org, Role::ProjectMember).await;
    let closed = reader.next().await.expect("an event");
    assert_eq!((closed.event.as_str(), &closed.data["code"]), ("closed", &"access_changed".into()));
    assert!(reader.next().await.is_none());
    command();
    change(&api, org, 1);
    let mut reader = Reader::open(&api, &api.owner, "", told.id.as_deref()).await.expect("open");
    assert_eq!(reader.next().await.expect("an event").event, "ready");
    let told = reader.next().await.expect("an event");
    assert_eq!((told.event.as_str(), number(&told.id.expect("an id"))), ("server_changed", 3));
    assert_eq!(Reader::open(&api, &api.owner, "?samples=true", None).await.err(), Some(StatusCode::FORBIDDEN));
}

#[tokio::test]
async fn a_project_role_hears_of_its_own_projects_only() {
    let api = Api::open().await;
    let (_, me) = api.call("GET", "/api/v1/me", &Value::Null).await;
    let project = async |name: &str| {
        let (_, made) = api.call("POST", "/api/v1/projects", &json!({ "name": name })).await;
        made["id"].as_str().and_then(|id| id.parse::<ProjectId>().ok()).expect("a project")
    };
    let (own, other) = (project("own").await, project("other").await);
    let member = format!("/api/v1/projects/{own}/members/{}", me["id"].as_str().expect("an id"));
    assert_eq!(api.call("PUT", &member, &json!({})).await.0, StatusCode::NO_CONTENT);
    let org = org(&api).await;
    api.app.store.set_roles(org, Role::ProjectMember).await;
    let mut reader = Reader::ready(&api).await;
    let server = ServerId::generate();
    let tell = |project| {
        let environment = EnvironmentId::generate();
        api.app.events.publish(org, server, EventKind::EnvironmentChanged { environment, project });
        api.app.events.publish(org, None, EventKind::ProjectChanged(project));
        environment
    };
    api.app.events.publish(org, None, EventKind::MemberChanged(UserId::generate()));
    tell(other);
    let environment = tell(own);
    let told = reader.next().await.expect("an event");
    assert_eq!((told.event.as_str(), &told.data["server_id"]), ("environment_changed", &json!(server.to_string())));
    assert_eq!(told.data["environment_id"], environment.to_string(), "and not the one of another project");
    assert_eq!(told.data["project_id"], own.to_string());
    let told = reader.next().await.expect("an event");
    assert_eq!((told.event.as_str(), &told.data["project_id"]), ("project_changed", &json!(own.to_string())));
    // Who does not belong to it any more hears no more of it.
    let act = Act::of_system(org, 1);
    let found = api.app.store.project(org, Scope::Organization, own).await.expect("read").expect("there");
    let user = me["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    assert!(api.app.store.remove_project_member(&act, &found, user).await.expect("removed"));
    tell(own);
    change(&api, org, 1);
    assert_eq!(reader.next().await.expect("an event").event, "server_changed");
}

#[tokio::test]
async fn whatever_changes_is_told_to_those_who_may_list_it() {
    let api = Api::open().await;
    let mut reader = Reader::ready(&api).await;
    let (_, project) = api.call("POST", "/api/v1/projects", &json!({ "name": "shop" })).await;
    let told = reader.next().await.expect("an event");
    assert_eq!((told.event.as_str(), &told.data["project_id"]), ("project_changed", &project["id"]));
    let environment = json!({ "name": "production", "cpu_cores": 1, "ram_mb": 1024, "disk_gb": 10 });
    let (_, made) = api.call("POST", "/api/v1/projects/shop/environments", &environment).await;
    let told = reader.next().await.expect("an event");
    assert_eq!((told.event.as_str(), &told.data["environment_id"]), ("environment_changed", &made["id"]));
    assert_eq!(
        (&told.data["server_id"], &told.data["project_id"]),
        (&Value::Null, &project["id"]),
        "it is on no server"
    );
    let (_, user) = api.call("POST", "/api/v1/users", &json!({ "name": "ada" })).await;
    for (method, path, body) in [
        ("PATCH", "/api/v1/organizations/{}/members/ada", json!({ "role": "admin" })),
        ("DELETE", "/api/v1/organizations/{}/members/ada", Value::Null),
    ] {
        let told = reader.next().await.expect("an event");
        assert_eq!((told.event.as_str(), &told.data["user_id"]), ("member_changed", &user["id"]));
        let path = path.replace("{}", &org(&api).await.to_string());
        assert!(api.call(method, &path, &body).await.0.is_success(), "{method} {path}");
    }
    assert_eq!(reader.next().await.expect("an event").event, "member_changed");
}

#[tokio::test]
async fn a_reader_that_comes_back_gets_every_event_once() {
    let api = Api::open().await;
    let org = org(&api).await;
    let mut seen = Vec::new();
    let mut last: Option<String> = None;
    for round in 1..=5_usize {
        change(&api, org, if round == 1 { 0 } else { 7 * round });
        let mut reader = Reader::open(&api, &api.owner, "", last.as_deref()).await.expect("open");
        let ready = reader.next().await.expect("an opening");
        assert_eq!(ready.event, "ready");
        last = last.or(ready.id);
        change(&api, org, 3);
        // It leaves in the middle of what there is.
        let count = if round == 1 { 2 } else { 7 * round };
        for _ in 0..count {
            let told = reader.next().await.expect("an event");
            seen.push(number(told.id.as_deref().expect("an id")));
            last = told.id;
        }
    }
    let expected: Vec<u64> = (1..=seen.len() as u64).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_is_no_longer_known_is_a_reset() {
    let api = Api::open().await;
    let org = org(&api).await;
    let mut reader = Reader::ready(&api).await;
    change(&api, org, 1);
    let first = reader.next().await.and_then(|told| told.id).expect("an id");
    drop(reader);
    change(&api, org, KEPT);
    let opened = async |id: &str| {
        let mut reader = Reader::open(&api, &api.owner, "", Some(id)).await.expect("open");
        (reader.next().await.expect("an opening"), reader)
    };
    assert_eq!(opened(&first).await.0.event, "ready", "the very last that is known");
    change(&api, org, 1);
    let (_, number) = first.split_once('-').expect("an id");
    for id in [first.as_str(), &format!("{:016x}-{number}", 1), "1", "\u{7f}", "0000000000000000-18446744073709551615"]
    {
        if http::HeaderValue::from_str(id).is_err() {
            continue;
        }
        let (reset, mut reader) = opened(id).await;
        assert_eq!((reset.event.as_str(), &reset.data["code"]), ("reset", &"events_lost".into()), "{id}");
        change(&api, org, 1);
        let told = reader.next().await.expect("an event");
        let after = |told: &Told| self::number(told.id.as_deref().expect("an id"));
        assert_eq!((told.event.as_str(), after(&told)), ("server_changed", after(&reset) + 1));
    }
}

#[tokio::test]
async fn a_slow_reader_costs_nothing_and_is_reset() {
    let api = Api::open().await;
    let org = org(&api).await;
    let mut reader = Reader::ready(&api).await;
    change(&api, org, KEPT + 5);
    assert_eq!(reader.next().await.expect("an event").event, "reset");
    change(&api, org, 1);
    let told = reader.next().await.expect("an event");
    assert_eq!((told.event.as_str(), number(&told.id.expect("an id"))), ("server_changed", KEPT as u64 + 6));
}

#[tokio::test]
async fn another_organization_s_events_are_not_there() {
    let api = Api::open().await;
    let stranger = api.stranger().await;
    let theirs = api.app.access.authenticate(&stranger, 1).await.expect("the stranger").org_id;
    let mut ours = Reader::open(&api, &api.owner, "?samples=true", None).await.expect("open");
    let mut strangers = Reader::open(&api, &stranger, "?samples=true", None).await.expect("open");
    let ready = ours.next().await.and_then(|told| told.id).expect("an id");
    assert_eq!(strangers.next().await.expect("an opening").event, "ready");
    let server = api.make_server("web-1").await;
    let id: ServerId = server["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    sample(&api, org(&api).await, id);
    change(&api, theirs, 1);
    let told = strangers.next().await.expect("an event");
    assert_eq!((told.event.as_str(), number(told.id.as_deref().expect("an id"))), ("server_changed", 1));
    assert!(!told.data.to_string().contains("web-1"));
    let mut resumed = Reader::open(&api, &stranger, "", Some(&ready)).await.expect("open");
    assert_eq!(resumed.next().await.expect("an opening").event, "ready");
    let told = resumed.next().await.expect("an event");
    assert_eq!(told.data["server"], Value::Null, "another's place is no way in: {told:?}");
}

fn sample(api: &Api, org: OrgId, server: ServerId) {
    let summary = Summary {
        server_id: server,
        at_us: 1_736_937_000_000_000,
        cpu_usage_percent: 45.2,
        memory_usage_percent: 62.8,
        disk_usage_percent: 48.5,
        network_rx_bytes_per_second: 0.0,
        network_tx_bytes_per_second: 0.0,
        container_count: 0,
        load_1m: 0.0,
        uptime_seconds: 0.0,
    };
    api.app.events.publish(org, server, EventKind::Sample(Arc::new(summary)));
}

#[tokio::test]
async fn samples_come_to_who_asks_and_move_no_place() {
    let api = Api::open().await;
    let org = org(&api).await;
    let id: ServerId = api.make_server("web-1").await["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let mut without = Reader::ready(&api).await;
    let mut with = Reader::open(&api, &api.owner, "?samples=true", None).await.expect("open");
    assert_eq!(with.next().await.expect("an opening").event, "ready");
    assert!(api.app.events.wants_samples(org));
    sample(&api, org, id);
    let told = with.next().await.expect("a sample");
    assert_eq!((told.event.as_str(), told.id), ("sample", None));
    assert_eq!(told.data["summary"]["cpu_usage_percent"], 45.2);
    change(&api, org, 1);
    assert_eq!(without.next().await.expect("an event").event, "server_changed");
    drop(with);
    assert!(!api.app.events.wants_samples(org));
}

#[tokio::test]
async fn grpc_tells_the_same() {
    let api = Api::open().await;
    let org = org(&api).await;
    let request = Request::builder()
        .method("POST")
        .uri("http://fleet.example.com/muster.v1.FleetService/WatchEvents")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", api.owner))
        .body(Body::from(vec![0; 5]))
        .expect("a request");
    let response = api.router.clone().oneshot(request).await.expect("an answer");
    let mut body = response.into_body().into_data_stream();
    let mut next = async || {
        let frame = timeout(PATIENCE, body.next()).await.expect("an event in time").expect("open").expect("a body");
        wire::FleetEvent::decode(&frame[5..]).expect("an event")
    };
    let ready = next().await;
    assert_eq!((ready.event.as_str(), number(&ready.id)), ("ready", 0));
    api.make_server("web-1").await;
    let told = next().await;
    assert_eq!((told.event.as_str(), number(&told.id)), ("server_created", 1));
    assert_eq!(told.server.expect("a server").name, "web-1");
    api.app.store.revoke_tokens(org, 1).await;
    assert_eq!(next().await.code, "unauthenticated");
}

#[tokio::test]
async fn the_end_of_the_control_plane_ends_the_stream() {
    let api = Api::open().await;
    let mut reader = Reader::ready(&api).await;
    api.app.shutdown.cancel();
    let closed = reader.next().await.expect("an event");
    assert_eq!((closed.event.as_str(), &closed.data["code"]), ("closed", &"stopping".into()));
    assert!(reader.next().await.is_none());
}
