//! The things of one organisation, and people of every role in it and in another one: what the matrices of REST and gRPC ask
//! with.

use axum::body::Body;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::test_api::Api;
use crate::access::Role;

/// In every name of the organisation whose things are asked for.
pub(super) const CANARY: &str = "canary";
pub(super) const PASSWORD: &str = "correct horse battery";
const OTHER_PASSWORD: &str = "staple battery horse";
/// An id that nothing has.
pub(super) const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
pub(super) const FINGERPRINT: &str = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";
pub(super) const TOKEN_SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The things of one organisation, one of each kind.
pub(super) struct World {
    pub(super) api: Api,
    pub(super) organization: String,
    pub(super) server: String,
    pub(super) project: String,
    pub(super) environment: String,
    pub(super) join_token: String,
    pub(super) key_pair: String,
    pub(super) user: String,
    pub(super) api_token: String,
}

impl World {
    pub(super) async fn new() -> Self {
        let api = Api::open().await;
        let make = async |path: &str, body: Value| {
            let request = Request::builder()
                .method("POST")
                .uri(path)
                .header("host", "fleet.example.com:8443")
                .header("authorization", format!("Bearer {}", api.owner))
                .header(CONTENT_TYPE, "application/json");
            let (status, made) = api.send(request, body.to_string()).await;
            assert!(status.is_success(), "{path}: {made}");
            let made: Value = serde_json::from_str(&made).expect("JSON");
            made["id"].as_str().expect("an id").to_owned()
        };
        let (_, me) = api.call("GET", "/api/v1/me", &Value::Null).await;
        let organization = me["organization_id"].as_str().expect("an id").to_owned();
        let login = json!({ "name": "canary-server", "ipv4_address": "203.0.113.10", "ssh_password": "canary-secret" });
        let environment = json!({ "name": "canary-env", "cpu_cores": 1, "ram_mb": 1024, "disk_gb": 10 });
        let user = json!({ "name": "canary-user", "password": PASSWORD, "role": "member" });
        let server = make("/api/v1/vms", login).await;
        let project = make("/api/v1/projects", json!({ "name": "canary-project" })).await;
        let environment = make(&format!("/api/v1/projects/{project}/environments"), environment).await;
        let join_token = make("/api/v1/join-tokens", json!({ "server_name": "canary-joined" })).await;
        let keys = format!("/api/v1/organizations/{organization}/ssh-keys");
        let key_pair = make(&keys, json!({ "name": "canary-keys", "key_type": "ed25519" })).await;
        let user = make("/api/v1/users", user).await;
        let api_token = make("/api/v1/tokens", json!({ "name": "canary-token" })).await;
        Self { organization, server, project, environment, join_token, key_pair, user, api_token, api }
    }

    /// Everything that nobody of another organisation may be told.
    pub(super) fn secrets(&self) -> [&str; 9] {
        let Self { organization, server, project, environment, join_token, key_pair, user, api_token, .. } = self;
        [CANARY, organization, server, project, environment, join_token, key_pair, user, api_token]
    }

    /// The token of a new user with `role` in the organisation of the owner with `owner_token`.
    pub(super) async fn token(&self, owner_token: &str, name: &str, role: Role) -> String {
        let user = json!({ "name": name, "password": PASSWORD, "role": role.as_str() });
        let (status, made) = self.api.call_as(owner_token, "POST", "/api/v1/users", &user).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let sign_in = |path: &str| Request::builder().uri(path.to_owned()).header(CONTENT_TYPE, "application/json");
        let shown = json!({ "name": name, "password": PASSWORD }).to_string();
        let request = sign_in("/api/v1/session").method("POST").body(Body::from(shown)).expect("a request");
        let response = self.api.router.clone().oneshot(request).await.expect("an answer");
        let cookie = response.headers()["set-cookie"].to_str().expect("ASCII").to_owned();
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let csrf =
            serde_json::from_slice::<Value>(&body).expect("JSON")["csrf_token"].as_str().expect("a token").to_owned();
        let change = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
        let mut token = String::new();
        for (method, path, body) in
            [("PUT", "/api/v1/me/password", change), ("POST", "/api/v1/tokens", json!({ "name": "own" }))]
        {
            let request = sign_in(path).method(method).header("cookie", &cookie).header("x-csrf-token", &csrf);
            let (status, text) = self.api.send(request, body.to_string()).await;
            assert!(status.is_success(), "{path}: {text}");
            if let Ok(made) = serde_json::from_str::<Value>(&text) {
                made["token"].as_str().unwrap_or_default().clone_into(&mut token);
            }
        }
        token
    }

    /// What is on record and did not come from signing in.
    pub(super) async fn changes(&self) -> Vec<String> {
        let (_, entries) = self.api.call("GET", "/api/v1/audit?limit=1000", &Value::Null).await;
        let action = |entry: &Value| entry["action"].as_str().expect("an action").to_owned();
        entries
            .as_array()
            .expect("a list")
            .iter()
            .map(action)
            .filter(|action| !action.starts_with("SESSION_"))
            .collect()
    }
}
