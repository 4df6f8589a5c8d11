//! The whole router: who gets in, what errors look like, and that the document tells the truth.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use utoipa::openapi::HttpMethod;

use super::{
    routes::{Admission, Route},
    *,
};
use crate::{
    access::{API_TOKEN_PREFIX, Token},
    api::{openapi, test_api::Api},
};

/// An id that nothing has.
const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const FINGERPRINT: &str = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";

pub(super) fn method(route: &Route) -> Method {
    match route.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Patch => Method::PATCH,
        _ => panic!("a method nobody uses"),
    }
}

/// `path` with a value for each of its parameters.
pub(super) fn filled(path: &str, value: impl Fn(&str) -> String) -> String {
    let mut parts = path.split(['{', '}']).enumerate();
    parts.by_ref().map(|(nth, part)| if nth % 2 == 0 { part.to_owned() } else { value(part) }).collect()
}

pub(super) fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}

#[test]
fn these_routes_and_no_others_are_public() {
    let public: BTreeSet<_> =
        routes().iter().filter(|route| route.admission == Admission::Public).map(|route| route.path.clone()).collect();
    let expected = [
        "/",
        "/agent/{arch}/muster-agent",
        "/api/v1/docs",
        "/api/v1/docs/page.js",
        "/api/v1/docs/style.css",
        "/api/v1/login-requests",
        "/api/v1/oidc",
        "/api/v1/oidc/callback",
        "/api/v1/oidc/login",
        "/api/v1/oidc/second-factor",
        "/api/v1/openapi.json",
        "/api/v1/session",
        "/assets/{file}",
        "/healthz",
        "/install.sh",
        "/readyz",
        "/servers/{id}",
        "/sign-in",
    ];
    assert_eq!(public, expected.map(str::to_owned).into());
}

#[test]
fn these_routes_and_no_others_are_for_everybody_who_is_signed_in() {
    let signed_in: BTreeSet<_> = routes()
        .iter()
        .filter(|route| route.admission == Admission::SignedIn)
        .map(|route| format!("{} {}", method(route), route.path))
        .collect();
    let expected = [
        "DELETE /api/v1/session",
        "DELETE /api/v1/sessions/{id}",
        "DELETE /api/v1/tokens/{id}",
        "GET /api/v1/login-requests/{request}",
        "GET /api/v1/me",
        "GET /api/v1/organizations",
        "GET /api/v1/session",
        "GET /api/v1/sessions",
        "GET /api/v1/tokens",
        "PATCH /api/v1/session",
        "POST /api/v1/login-requests/{request}/approve",
        "POST /api/v1/me/totp",
        "POST /api/v1/me/totp/confirm",
        "POST /api/v1/me/totp/disable",
        "POST /api/v1/tokens",
        "PUT /api/v1/me/password",
    ];
    assert_eq!(signed_in, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn nobody_gets_in_without_a_valid_token() {
    let api = Api::open().await;
    let stranger = Token::generate(API_TOKEN_PREFIX).expect("randomness");
    let mut walked = 0;
    for route in routes().iter().filter(|route| route.admission != Admission::Public) {
        let path = filled(&route.path, |_| NOBODY.to_owned());
        let request = || Request::builder().method(method(route)).uri(&path).header("content-type", "application/json");
        let (status, body) = api.send(request(), "{}").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}: {body}");
        let unknown = request().header("authorization", format!("Bearer {}", stranger.reveal()));
        assert_eq!(api.send(unknown, "{}").await.0, StatusCode::UNAUTHORIZED, "{path}");
        walked += 1;
    }
    assert!(walked > 20);
}

#[tokio::test]
async fn another_organization_s_things_are_not_there() {
    let api = Api::open().await;
    let server = api.make_server("web-1").await;
    let (_, token) = api.call("POST", "/api/v1/join-tokens", &json!({})).await;
    let ours =
        [server["id"].as_str().expect("an id"), token["id"].as_str().unwrap_or("01890a5d-ac96-774b-bcce-b302099a8057")];
    let (_, project) = api.call("POST", "/api/v1/projects", &json!({ "name": "Shop" })).await;
    let environment = json!({ "name": "production", "cpu_cores": 1, "ram_mb": 1024, "disk_gb": 10 });
    let (status, made) = api.call("POST", "/api/v1/projects/shop/environments", &environment).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let id = |value: &Value| value["id"].as_str().unwrap_or(NOBODY).to_owned();
    let (project, made) = (id(&project), id(&made));
    let stranger = api.stranger().await;
    // The stream of events has no end; what it tells to whom is tested where it is.
    let ends = |route: &&Route| route.admission != Admission::Public && route.path != "/api/v1/events";
    for route in routes().iter().filter(ends) {
        let id = if route.path.contains("join-tokens") { ours[1] } else { ours[0] };
        let path = filled(&route.path, |name| match name {
            "project_id" => project.clone(),
            "env_id" => made.clone(),
            _ => id.to_owned(),
        });
        let query = if path.contains("/series") { "?metric=host_load_1m" } else { "" };
        let body = match path.rsplit('/').next() {
            Some("host-key") => json!({ "fingerprint": FINGERPRINT }),
            Some("environments") => environment.clone(),
            Some("migrate") => json!({ "target_vm_id": id, "environment_ids": [made] }),
            Some("ssh-password") => json!({ "ssh_password": "x" }),
            Some("ssh-keys") => json!({ "name": "x" }),
            Some("hardening") => json!({ "mode": "plan" }),
            _ => json!({}),
        };
        let request = Request::builder()
            .method(method(route))
            .uri(format!("{path}{query}"))
            .header("authorization", format!("Bearer {stranger}"))
            .header("content-type", "application/json");
        let (status, text) = api.send(request, body.to_string()).await;
        if route.path.contains("/keyring/") {
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {text}");
        } else if route.path.contains('{') {
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {text}");
        }
        let all_ours = ours.iter().copied().chain([project.as_str(), made.as_str()]);
        assert!(all_ours.into_iter().all(|id| !text.contains(id)), "{path} shows what is not the caller's: {text}");
        let by_name = path.replace(id, "web-1");
        if path != by_name
            && !route.path.contains("join-tokens")
            && !route.path.contains("/commands/{id}")
            && route.path.contains("/vms/{id}")
        {
            let request = Request::builder()
                .method(method(route))
                .uri(format!("{by_name}{query}"))
                .header("authorization", format!("Bearer {stranger}"))
                .header("content-type", "application/json");
            assert_eq!(api.send(request, body.to_string()).await.0, StatusCode::NOT_FOUND, "{by_name}");
        }
    }
}

#[tokio::test]
async fn a_server_is_made_once_shown_changed_and_never_tells_its_secrets() {
    let api = Api::open().await;
    let body = json!({
        "name": "production-server-1", "provider": "custom", "region": "Frankfurt", "ipv4_address": "203.0.113.10",
        "connection_host_type": "auto", "ssh_port": 22, "ssh_username": "root", "ssh_auth_method": "password",
        "ssh_password": "correct horse", "ssh_sudo_mode": "auto", "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160,
        "max_projects": 8
    });
    let create = || {
        Request::builder()
            .method("POST")
            .uri("/api/v1/vms")
            .header("authorization", format!("Bearer {}", api.owner))
            .header("content-type", "application/json")
            .header("idempotency-key", "one")
    };
    let (status, first) = api.send(create(), body.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    assert!(!first.contains("horse"));
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(first["status"], "running");
    assert_eq!(first["health_status"], "unknown");
    assert_eq!(first["health_since"], first["created_at"]);
    assert_eq!(first["last_health_check"], Value::Null);
    assert!(first["next_health_check"].is_string() && first["health_evidence"][0]["signal"] == "agent", "{first}");
    assert_eq!(first["connection_host"], "203.0.113.10");
    assert_eq!(first["cpu_cores"], 4);
    let (_, again) = api.send(create(), body.to_string()).await;
    assert_eq!(serde_json::from_str::<Value>(&again).expect("JSON")["id"], first["id"]);
    let (status, taken) = api.call("POST", "/api/v1/vms", &body).await;
    assert_eq!(status, StatusCode::CONFLICT, "{taken}");

    let id = first["id"].as_str().expect("an id");
    let patch = json!({ "name": "production-server-1-updated", "cpu_cores": 8, "memory_gb": 16, "max_projects": 12 });
    let (status, changed) = api.call("PATCH", &format!("/api/v1/vms/{id}"), &patch).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!((&changed["cpu_cores"], &changed["max_projects"]), (&json!(8), &json!(12)));
    let (_, by_name) = api.call("GET", "/api/v1/vms/production-server-1-updated", &Value::Null).await;
    assert_eq!(by_name["id"], first["id"]);
    let (_, list) = api.call("GET", "/api/v1/vms?status=running&skip=0&limit=1", &Value::Null).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    let (_, list) = api.call("GET", "/api/v1/vms?status=stopped", &Value::Null).await;
    assert_eq!(list, json!([]));
}

#[tokio::test]
async fn stats_have_the_published_fields_and_a_forecast() {
    let api = Api::open().await;
    let body = json!({
        "name": "web-1", "ipv4_address": "203.0.113.10", "ssh_password": "x", "cpu_cores": 4, "memory_gb": 8,
        "disk_gb": 160, "max_projects": 8
    });
    let (_, made) = api.call("POST", "/api/v1/vms", &body).await;
    let id = made["id"].as_str().expect("an id");
    let stats = async || api.call("GET", "/api/v1/vms/web-1/stats", &Value::Null).await;
    let (status, first) = stats().await;
    assert_eq!(status, StatusCode::OK, "{first}");
    let published = json!({
        "vm_id": id, "status": "running", "size": "medium", "environment_count": 0, "max_environments": 8,
        "utilization_percent": 0.0, "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "health_status": "unknown",
        "docker_status": "unknown", "cpu_usage_percent": null, "memory_usage_percent": null,
        "disk_usage_percent": null
    });
    for (field, value) in published.as_object().expect("an object") {
        assert_eq!(&first[field], value, "{field}");
    }
    assert_eq!(
        first["capacity"][0],
        json!({
            "resource": "environments", "percent": 0.0, "level": "ok", "detail": "0 of 8 environments"
        })
    );
    assert_eq!(first["forecast"]["status"], "history_too_short");
    let hour = api.app.clock.now_us() / 3_600_000_000;
    let points: Vec<_> = (0..=168).map(|ago| (hour - 168 + ago, 68.0 + 2.0 * ago as f64 / 24.0)).collect();
    api.app.store.insert_disk_use(id.parse().expect("an id"), &points).await;
    let (_, filling) = stats().await;
    assert_eq!(filling["forecast"]["detail"], "disk full in 9 days", "{filling}");
    let owner = api.app.access.authenticate(&api.owner, 1).await.expect("the owner");
    api.app.store.set_roles(owner.org_id, crate::access::Role::ProjectMember).await;
    let (status, without_figures) = stats().await;
    assert_eq!((status, &without_figures["forecast"]), (StatusCode::OK, &Value::Null), "figures are not theirs");
    assert_eq!(without_figures["size"], "medium");
}

#[tokio::test]
async fn errors_say_what_is_wrong_and_where() {
    let api = Api::open().await;
    let with_token = |path: &str| {
        Request::builder()
            .method("POST")
            .uri(path.to_owned())
            .header("authorization", format!("Bearer {}", api.owner))
            .header("content-type", "application/json")
    };
    let (status, text) = api.send(with_token("/api/v1/vms"), "{\n \"name\": }").await;
    assert_eq!((status, text.contains("line 2, column 10")), (StatusCode::BAD_REQUEST, true), "{text}");
    let (status, body) = api.call("POST", "/api/v1/vms", &json!({ "nmae": "x" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("did you mean `name`?")), "{body}");
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(edge::limits::MAX_REQUEST_BODY_BYTES));
    let (status, _) = api.send(with_token("/api/v1/vms"), large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, body) = api.call("GET", "/api/v1/nothing", &Value::Null).await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "not_found"));
    let (status, body) = api.call("DELETE", "/healthz", &Value::Null).await;
    assert_eq!((status, code(&body)), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    for query in ["limit=0", "limit=1001", "limit=x", "skip=-1", "colour=red", "status=red"] {
        let (status, body) = api.call("GET", &format!("/api/v1/vms?{query}"), &Value::Null).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
    }
    let (status, body) = api.call("POST", "/api/v1/vms", &json!({ "name": "x", "fqdn": "a.example" })).await;
    assert_eq!((status, code(&body)), (StatusCode::UNPROCESSABLE_ENTITY, "no_ssh_credentials"));
}

#[tokio::test]
async fn a_filter_lists_what_it_holds_for_and_points_at_what_is_wrong() {
    let api = Api::open().await;
    api.make_server("web-1").await;
    api.make_server("db-1").await;
    let stranger = api.stranger().await;
    let list = |filter: &str| {
        let query: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("/api/v1/vms?filter={query}")
    };
    let (status, found) = api.call("GET", &list("name.startsWith(\"web-\")"), &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    let names: Vec<_> = found.as_array().expect("a list").iter().map(|server| &server["name"]).collect();
    assert_eq!(names, ["web-1"]);
    let (status, none) = api.call("GET", &list("docker.version < version(\"24.0\")"), &Value::Null).await;
    assert_eq!((status, none), (StatusCode::OK, json!([])), "what is not known does not match");
    let (status, body) = api.call("GET", &list("status == 'running' && dokcer.version == 1"), &Value::Null).await;
    assert_eq!((status, code(&body)), (StatusCode::UNPROCESSABLE_ENTITY, "invalid_filter"));
    let detail = body["detail"].as_str().expect("words");
    assert!(detail.contains("column 24") && detail.contains("docker.version"), "{detail}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(3), "{body}");
    let theirs = Request::builder().uri(list("true")).header("authorization", format!("Bearer {stranger}"));
    assert_eq!(api.send(theirs, "").await, (StatusCode::OK, "[]".to_owned()));
}

#[tokio::test]
async fn a_request_keeps_the_id_it_brought() {
    let api = Api::open().await;
    let request = Request::builder().uri("/healthz").header("x-request-id", "mine-1").body(Body::empty());
    let response = api.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    let hostile = Request::builder().uri("/healthz").header("x-request-id", "<script>").body(Body::empty());
    let response = api.router.clone().oneshot(hostile.expect("a request")).await.expect("an answer");
    assert_ne!(response.headers()["x-request-id"], "<script>");
}

#[tokio::test]
async fn a_join_line_carries_the_hash_of_what_is_served() {
    let api = Api::open().await;
    let with_host = |method: &str, path: &str| {
        Request::builder()
            .method(method)
            .uri(path.to_owned())
            .header("host", "fleet.example.com:8080")
            .header("authorization", format!("Bearer {}", api.owner))
            .header("content-type", "application/json")
    };
    let body = json!({ "ttl_seconds": 600, "server_name": "web-1", "allow": ["observe", "fix"] }).to_string();
    let (status, text) = api.send(with_host("POST", "/api/v1/join-tokens"), body).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let made: Value = serde_json::from_str(&text).expect("JSON");
    let (status, script) = api.send(with_host("GET", "/install.sh"), Body::empty()).await;
    assert_eq!(status, StatusCode::OK);
    let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, script.as_bytes()));
    assert_eq!(made["install_sha256"], sha256);
    for line in [&made["command"], &made["command_wget"]] {
        let line = line.as_str().expect("a line");
        let token = made["token"].as_str().expect("a token");
        assert!(line.contains(&sha256) && line.contains("https://fleet.example.com:8443/install.sh"), "{line}");
        assert!(line.contains(&format!("MUSTER_JOIN_TOKEN='{token}'")), "{line}");
    }
    let hostile = with_host("GET", "/install.sh").header("host", "x");
    let mut request = hostile.body(Body::empty()).expect("a request");
    request.headers_mut().insert("host", "a';id;'".parse().expect("a header"));
    let response = api.router.clone().oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn power_says_what_is_missing() {
    let api = Api::open().await;
    let server = api.make_server("web-1").await;
    for (action, expected) in [("reboot", "agent_offline"), ("stop", "agent_offline"), ("start", "no_hardware_address")]
    {
        let path = format!("/api/v1/vms/{}/{action}", server["id"].as_str().expect("an id"));
        let (status, body) = api.call("POST", &path, &Value::Null).await;
        assert_eq!((status, code(&body)), (StatusCode::CONFLICT, expected), "{action}: {body}");
    }
}

#[test]
fn the_document_covers_every_route_and_refers_to_nothing_missing() {
    let routes = routes();
    let document = openapi::document(&routes);
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for route in routes.iter() {
        let operation = &document["paths"][&route.path][method(route).as_str().to_lowercase()];
        let id = operation["operationId"].as_str().expect("an id").to_owned();
        assert!(ids.insert(id.clone()), "{id} stands twice");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{id} has no tag");
        assert!(operation["summary"].is_string(), "{id} says nothing of itself");
        assert!(operation["responses"]["500"].is_object(), "{id} has no errors");
        let guarded = route.admission != Admission::Public;
        assert_eq!(operation["security"].is_array(), guarded, "{id}");
        // Signing in is public, and refused like nothing else that is.
        let signs_in = ["sign_in", "finish_oidc_login", "complete_oidc_login"].contains(&id.as_str());
        assert_eq!(operation["responses"]["401"].is_object(), guarded || signs_in, "{id}");
        let named: Vec<_> = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        for name in named {
            let parameters = operation["parameters"].as_array().expect("parameters");
            assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{id} does not describe {name}");
        }
        let takes = &operation["requestBody"]["content"];
        assert!(takes.is_null() || !takes["application/json"]["example"].is_null(), "{id} has no request's example");
        for error in ["400", "413", "415", "422"].iter().filter(|_| !takes.is_null()) {
            assert!(operation["responses"][error].is_object(), "{id} does not say when it answers {error}");
        }
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let is_error = status.starts_with(['4', '5']);
            assert!(response["headers"]["x-request-id"]["required"].is_boolean(), "{id} {status} has no request's id");
            for (kind, content) in response["content"].as_object().into_iter().flatten() {
                assert!(!content["example"].is_null(), "{id} {status} {kind} has no example");
            }
            let schema = &response["content"]["application/json"]["schema"];
            assert!(!is_error || schema["$ref"] == "#/components/schemas/ProblemBody", "{id} {status}");
        }
    }
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 40);
    for reference in references {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}

#[test]
fn the_document_s_examples_are_accepted() {
    let document = openapi::document(&routes());
    let example = |name: &str| document["components"]["schemas"][name]["example"].clone();
    use crate::api::model::{
        api_token::ApiTokenCreate,
        connection::{HostKeyAccept, SshKeyUpdate, SshPasswordUpdate, VmCreate, VmPatch},
        join_token::JoinTokenCreate,
        me::PasswordChange,
        member::{MemberAdd, MemberPatch},
        session::SignIn,
        ssh_key::{SshKeyPairCreate, SshKeyPairPatch},
        user::{UserCreate, UserPatch},
    };
    serde_json::from_value::<SshPasswordUpdate>(example("SshPasswordUpdate")).expect("SshPasswordUpdate");
    serde_json::from_value::<SshKeyUpdate>(example("SshKeyUpdate")).expect("SshKeyUpdate");
    serde_json::from_value::<SshKeyPairCreate>(example("SshKeyPairCreate")).expect("SshKeyPairCreate");
    serde_json::from_value::<SshKeyPairPatch>(example("SshKeyPairPatch")).expect("SshKeyPairPatch");
    serde_json::from_value::<VmCreate>(example("VmCreate")).expect("VmCreate");
    serde_json::from_value::<VmPatch>(example("VmPatch")).expect("VmPatch");
    serde_json::from_value::<HostKeyAccept>(example("HostKeyAccept")).expect("HostKeyAccept");
    serde_json::from_value::<JoinTokenCreate>(example("JoinTokenCreate")).expect("JoinTokenCreate");
    let user: UserCreate = serde_json::from_value(example("UserCreate")).expect("UserCreate");
    user.into_create().expect("UserCreate");
    let user: UserPatch = serde_json::from_value(example("UserPatch")).expect("UserPatch");
    user.into_update().expect("UserPatch");
    let token: ApiTokenCreate = serde_json::from_value(example("ApiTokenCreate")).expect("ApiTokenCreate");
    token.into_new().expect("ApiTokenCreate");
    serde_json::from_value::<MemberAdd>(example("MemberAdd")).expect("MemberAdd");
    serde_json::from_value::<MemberPatch>(example("MemberPatch")).expect("MemberPatch");
    serde_json::from_value::<SignIn>(example("SignIn")).expect("SignIn");
    serde_json::from_value::<PasswordChange>(example("PasswordChange")).expect("PasswordChange");
    let secret = &document["components"]["schemas"]["WriteOnly"];
    assert_eq!(secret["writeOnly"], true, "{secret}");
}
