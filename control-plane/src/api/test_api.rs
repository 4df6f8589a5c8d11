//! The API as its tests call it.

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use muster_shared::{
    id::{ApiTokenId, JoinTokenId, OrgId, ServerId, UserId},
    policy::Family,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tower::ServiceExt as _;

use super::{rest::problem, router};
use crate::{
    access::{API_TOKEN_PREFIX, Act, OWNER_TOKEN_FILE, Origin, Token},
    app::App,
    audit::{Action, Record},
    clock::Clock,
    config::{Config, Layers},
    enrollment::JOIN_TOKEN_PREFIX,
    store::{
        DatabaseUrl, Enrolled, FirstOwner, NewJoinToken,
        suite::{enrolment, signed},
    },
    users::Cost,
};

/// A control plane without doors: what comes in goes to its router.
pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) app: App,
    pub(crate) owner: String,
    pub(crate) folder: tempfile::TempDir,
}

impl Api {
    pub(crate) async fn open() -> Self {
        Self::open_with(None, Clock::system()).await
    }

    /// On the database given, or on SQLite in its own folder.
    pub(crate) async fn open_on(database: Option<DatabaseUrl>) -> Self {
        Self::open_with(database, Clock::system()).await
    }

    /// With a clock of the test's own.
    pub(crate) async fn open_at(clock: Clock) -> Self {
        Self::open_with(None, clock).await
    }

    async fn open_with(database: Option<DatabaseUrl>, clock: Clock) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("data");
        let mut config = Config::resolve(&Layers::default()).expect("defaults");
        config.data_dir.clone_from(&data_dir);
        config.database_url = database.unwrap_or_else(|| DatabaseUrl::sqlite_in(&data_dir));
        config.password_cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
        let (app, _writer) = App::open(config, clock, CancellationToken::new()).await.expect("opens");
        let owner = std::fs::read_to_string(data_dir.join(OWNER_TOKEN_FILE)).expect("a token").trim().to_owned();
        Self { router: router(&app).await.expect("services"), app, owner, folder }
    }

    /// The token of the owner of another organisation.
    pub(crate) async fn stranger(&self) -> String {
        let token = Token::generate(API_TOKEN_PREFIX).expect("randomness");
        let owner = FirstOwner {
            org_id: OrgId::generate(),
            org_name: "Another",
            user_id: UserId::generate(),
            user_name: "stranger",
            token_id: ApiTokenId::generate(),
            token_hash: token.hash(),
        };
        self.app.store.create_first_owner(&owner, self.app.clock.now_us()).await.expect("made");
        token.reveal().to_owned()
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> (StatusCode, String) {
        let request: Request<Body> = request.body(body.into()).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        let id = response.headers().get(problem::REQUEST_ID).cloned().expect("a request id");
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status.is_client_error() || status.is_server_error() {
            let body: problem::ProblemBody = serde_json::from_str(&text).expect("every error has its body");
            assert_eq!(body.request_id, id);
        }
        (status, text)
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        self.call_as(&self.owner, method, path, body).await
    }

    /// The same by the holder of `token`.
    pub(crate) async fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let (status, text) = self.send(request, body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Calls a method of the fleet service with a framed message, and answers what came of it.
    pub(crate) async fn call_grpc(&self, token: Option<&str>, method: &str, body: Vec<u8>) -> (Code, Vec<u8>) {
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://fleet.example.com/muster.v1.FleetService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        let code =
            |status: &http::HeaderValue| Code::from(status.to_str().expect("digits").parse::<i32>().expect("a number"));
        let request: Request<Body> = request.body(Body::from(body)).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        if let Some(status) = response.headers().get("grpc-status") {
            // Whatever is said of a refusal stands in the head.
            return (code(status), format!("{:?}", response.headers()).into_bytes());
        }
        let collected = response.into_body().collect().await.expect("a body");
        let status = collected.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned().expect("a status");
        (code(&status), collected.to_bytes().to_vec())
    }

    /// The same with a message of its own, by the owner.
    pub(crate) async fn send_grpc(&self, method: &str, message: &impl prost::Message) -> (Code, Vec<u8>) {
        let encoded = message.encode_to_vec();
        let length = u32::try_from(encoded.len()).expect("a short message").to_be_bytes();
        let framed = [&[0], length.as_slice(), encoded.as_slice()].concat();
        self.call_grpc(Some(&self.owner), method, framed).await
    }

    /// What the owner does now.
    pub(crate) async fn owner_act(&self) -> Act {
        let owner = self.app.access.authenticate(&self.owner, 1).await.expect("the owner");
        owner.act(Origin::default(), self.app.clock.now_us())
    }

    /// A server of the owner's whose host has joined.
    pub(crate) async fn join_server(&self, name: &str) -> ServerId {
        let now_us = self.app.clock.now_us();
        let act = self.owner_act().await;
        let token = Token::generate(JOIN_TOKEN_PREFIX).expect("randomness");
        let id = JoinTokenId::generate();
        let kept = NewJoinToken {
            id,
            hash: token.hash(),
            for_server: None,
            server_name: None,
            allowed_families: vec![Family::Observe],
            created_by: act.user_id().expect("a user"),
            expires_at_us: now_us + 60_000_000,
        };
        let record = Record::new(&act, Action::JoinTokenCreated, id, name);
        assert!(self.app.store.insert_join_token(&kept, &record).await.expect("kept"));
        match self.app.store.enroll(&enrolment(&token, name), |_, _| signed(), now_us).await.expect("answered") {
            Enrolled::Consumed(joined) => joined.server_id,
            other => panic!("not joined: {other:?}"),
        }
    }

    pub(crate) async fn make_server(&self, name: &str) -> Value {
        let body = json!({ "name": name, "ipv4_address": "203.0.113.10", "ssh_password": "correct horse" });
        let (status, server) = self.call("POST", "/api/v1/vms", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{server}");
        server
    }
}
