//! Who may do what, for every route there is: each role, in the organisation that owns the things asked for and in
//! another one. A route without a row in [`row`] fails.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{
    routes::{Admission, Route},
    tests::{filled, method},
    *,
};
use crate::{
    access::Role,
    api::test_world::{FINGERPRINT, NOBODY, PASSWORD, World},
};

impl World {
    /// The path of `route` with this organisation's ids in it.
    fn path(&self, route: &Route) -> String {
        filled(&route.path, |name| {
            let path = route.path.as_str();
            let id = match name {
                "project_id" => &self.project,
                "env_id" => &self.environment,
                "org_id" => &self.organization,
                "user" | "user_id" => &self.user,
                "request" => return "made-up".to_owned(),
                "key_id" => return "k1".to_owned(),
                "id" if path.contains("join-tokens") => &self.join_token,
                "id" if path.contains("/ssh-keys/") => &self.key_pair,
                "id" if path.contains("/organizations/") => &self.organization,
                "id" if path.contains("/users/") => &self.user,
                "id" if path.contains("/tokens/") => &self.api_token,
                "id" if ["/commands/", "/sessions/", "/runs/"].iter().any(|part| path.contains(part)) => {
                    return NOBODY.to_owned();
                }
                "id" => &self.server,
                other => panic!("no id for {{{other}}} of {path}"),
            };
            id.clone()
        })
    }

    /// Asks and answers the status and the text; of a stream, only that it began.
    async fn ask(
        &self,
        token: &str,
        method: &Method,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "fleet.example.com:8443")
            .header("authorization", format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Body::from(body.to_string())).expect("a request");
        let response = self.api.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        if response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
            return (status, String::new());
        }
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// What to send to a route, so that only the caller's rights decide.
fn row(world: &World, method: &Method, path: &str) -> Option<Value> {
    Some(match (method.as_str(), path) {
        ("POST", "/api/v1/vms" | "/api/v1/vms/test-connection") => {
            json!({ "name": "other-1", "ipv4_address": "203.0.113.11", "ssh_password": "x" })
        }
        ("PUT" | "POST", "/api/v1/vms/{id}/host-key") => json!({ "fingerprint": FINGERPRINT }),
        ("PUT", "/api/v1/vms/{id}/ssh-password") => json!({ "ssh_password": "x", "test_connection": false }),
        ("PUT", "/api/v1/vms/{id}/ssh-key") => json!({ "ssh_private_key": "x", "test_connection": false }),
        ("POST", "/api/v1/vms/{id}/migrate") => {
            json!({ "target_vm_id": world.server, "environment_ids": [world.environment] })
        }
        ("POST", "/api/v1/fleet/runs") => {
            json!({ "task": { "kind": "preflight" }, "servers": [world.server], "dry_run": true })
        }
        ("POST", "/api/v1/projects") => json!({ "name": "another" }),
        ("POST", "/api/v1/projects/{project_id}/environments") => {
            json!({ "name": "another", "cpu_cores": 1, "ram_mb": 1024, "disk_gb": 10 })
        }
        ("POST", "/api/v1/organizations") => json!({ "name": "Another" }),
        ("POST", "/api/v1/organizations/{id}/members") => json!({ "user": "nobody", "role": "member" }),
        ("PATCH", "/api/v1/organizations/{id}/members/{user}") => json!({ "role": "member" }),
        ("POST", "/api/v1/organizations/{org_id}/ssh-keys") => json!({ "name": "another", "key_type": "ed25519" }),
        ("POST", "/api/v1/users") => json!({ "name": "another", "password": PASSWORD, "role": "member" }),
        ("POST", "/api/v1/tokens") => json!({ "name": "another" }),
        ("POST", "/api/v1/vms/{id}/hardening") => json!({ "mode": "plan" }),
        ("PUT", "/api/v1/me/password") => json!({ "current_password": "wrong", "new_password": PASSWORD }),
        ("POST", "/api/v1/me/totp" | "/api/v1/me/totp/disable") => json!({ "password": "wrong" }),
        ("POST", "/api/v1/me/totp/confirm") => json!({ "code": "000000" }),
        ("PATCH", "/api/v1/session") => json!({ "organization_id": NOBODY }),
        (
            "PATCH",
            "/api/v1/vms/{id}"
            | "/api/v1/projects/{project_id}"
            | "/api/v1/organizations/{id}"
            | "/api/v1/organizations/{org_id}/ssh-keys/{id}"
            | "/api/v1/users/{id}",
        )
        | (
            "PUT",
            "/api/v1/projects/{project_id}/environments/{env_id}"
            | "/api/v1/projects/{project_id}/members/{user_id}"
            | "/api/v1/organizations/{org_id}/quota"
            | "/api/v1/organizations/{id}/quota"
            | "/api/v1/organizations/{id}/metrics-retention",
        )
        | (
            "POST",
            "/api/v1/vms/{id}/test-connection"
            | "/api/v1/vms/{id}/bootstrap"
            | "/api/v1/vms/{id}/preflight"
            | "/api/v1/vms/{id}/preflight/fix"
            | "/api/v1/vms/{id}/facts/refresh"
            | "/api/v1/vms/{id}/reboot"
            | "/api/v1/vms/{id}/stop"
            | "/api/v1/vms/{id}/start"
            | "/api/v1/vms/{id}/secure"
            | "/api/v1/vms/{id}/agent/revoke"
            | "/api/v1/vms/{id}/agent/release-quarantine"
            | "/api/v1/commands/{id}/cancel"
            | "/api/v1/login-requests/{request}/approve"
            | "/api/v1/fleet/runs/{id}/cancel"
            | "/api/v1/join-tokens"
            | "/api/v1/keyring/rotate"
            | "/api/v1/organizations/{org_id}/ssh-keys/{id}/rotate",
        )
        | (
            "GET",
            "/metrics"
            | "/api/v1/vms"
            | "/api/v1/vms/{id}"
            | "/api/v1/vms/{id}/environments"
            | "/api/v1/vms/{id}/facts"
            | "/api/v1/vms/{id}/commands"
            | "/api/v1/vms/{id}/hardening"
            | "/api/v1/vms/{id}/stats"
            | "/api/v1/commands"
            | "/api/v1/commands/{id}"
            | "/api/v1/login-requests/{request}"
            | "/api/v1/fleet/runs"
            | "/api/v1/fleet/runs/{id}"
            | "/api/v1/events"
            | "/api/v1/monitoring/servers/{id}/summary"
            | "/api/v1/monitoring/servers/{id}/live"
            | "/api/v1/monitoring/servers/{id}/metrics"
            | "/api/v1/monitoring/servers/{id}/url"
            | "/api/v1/monitoring/servers/{id}/series"
            | "/api/v1/monitoring/servers/{id}/series/live"
            | "/api/v1/monitoring/containers/{id}/metrics"
            | "/api/v1/monitoring/metrics"
            | "/api/v1/monitoring/series"
            | "/api/v1/metrics/export"
            | "/api/v1/join-tokens"
            | "/api/v1/audit"
            | "/api/v1/audit/verify"
            | "/api/v1/audit/export"
            | "/api/v1/keyring"
            | "/api/v1/me"
            | "/api/v1/session"
            | "/api/v1/sessions"
            | "/api/v1/tokens"
            | "/api/v1/organizations"
            | "/api/v1/organizations/{id}"
            | "/api/v1/organizations/{id}/members"
            | "/api/v1/organizations/{org_id}/quota"
            | "/api/v1/organizations/{id}/quota"
            | "/api/v1/organizations/{id}/metrics-retention"
            | "/api/v1/organizations/{org_id}/ssh-keys"
            | "/api/v1/organizations/{org_id}/ssh-keys/{id}"
            | "/api/v1/organizations/{org_id}/ssh-keys/{id}/rotation"
            | "/api/v1/users"
            | "/api/v1/users/{id}"
            | "/api/v1/projects"
            | "/api/v1/projects/{project_id}"
            | "/api/v1/projects/{project_id}/members"
            | "/api/v1/projects/{project_id}/environments"
            | "/api/v1/projects/{project_id}/environments/{env_id}",
        )
        | (
            "DELETE",
            "/api/v1/vms/{id}"
            | "/api/v1/join-tokens/{id}"
            | "/api/v1/keyring/keys/{key_id}"
            | "/api/v1/organizations/{id}/members/{user}"
            | "/api/v1/organizations/{org_id}/ssh-keys/{id}"
            | "/api/v1/users/{id}"
            | "/api/v1/users/{id}/totp"
            | "/api/v1/projects/{project_id}"
            | "/api/v1/projects/{project_id}/members/{user_id}"
            | "/api/v1/projects/{project_id}/environments/{env_id}"
            | "/api/v1/session"
            | "/api/v1/sessions/{id}"
            | "/api/v1/tokens/{id}",
        ) => json!({}),
        _ => return None,
    })
}

fn query(path: &str) -> &'static str {
    if path.ends_with("/series") || path.ends_with("/series/live") { "?metric=host_load_1m" } else { "" }
}

fn is_denied(status: StatusCode, text: &str) -> bool {
    status == StatusCode::FORBIDDEN && text.contains("\"permission_denied\"")
}

#[tokio::test]
async fn in_its_own_organization_a_role_may_do_what_its_permissions_say() {
    for role in Role::ALL {
        let world = World::new().await;
        let token = world.token(&world.api.owner, "caller", role).await;
        let mut walked = 0;
        for route in routes().iter() {
            let Admission::Guarded(operation) = route.admission else { continue };
            let (method, path) = (method(route), format!("{}{}", world.path(route), query(&route.path)));
            let body =
                row(&world, &method, &route.path).unwrap_or_else(|| panic!("no row for {method} {}", route.path));
            let (status, text) = world.ask(&token, &method, &path, &body, &[]).await;
            let may = role.allows(operation.permission());
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {path} as {role:?}: {text}");
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path} is described and not served");
            assert_eq!(!is_denied(status, &text), may, "{method} {path} as {role:?}: {status} {text}");
            assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {text}");
            walked += 1;
        }
        assert!(walked > 60, "{walked}");
    }
}

#[tokio::test]
async fn in_another_organization_no_role_sees_or_changes_anything() {
    let world = World::new().await;
    let stranger = world.api.stranger().await;
    let mut callers = vec![(Role::Owner, stranger.clone())];
    for role in Role::ALL {
        callers.push((role, world.token(&stranger, &format!("stranger-{}", role.as_str()), role).await));
    }
    let before = world.changes().await;
    let mut asked = BTreeSet::new();
    for (role, token) in &callers {
        for route in routes().iter().filter(|route| route.admission != Admission::Public) {
            let (method, path) = (method(route), format!("{}{}", world.path(route), query(&route.path)));
            let body =
                row(&world, &method, &route.path).unwrap_or_else(|| panic!("no row for {method} {}", route.path));
            let own = ["/api/v1/me", "/api/v1/session", "/api/v1/organizations", "/api/v1/tokens"];
            // Changes of the caller's own account would end the walk.
            if own.contains(&route.path.as_str()) && method != Method::GET || route.path.starts_with("/api/v1/me/") {
                continue;
            }
            let headers: [&[(&str, &str)]; 2] = [&[], &[("x-organization-id", &world.organization)]];
            for headers in headers {
                let (status, text) = world.ask(token, &method, &path, &body, headers).await;
                let place = format!("{method} {path} as {role:?} with {headers:?}: {status} {text}");
                for secret in world.secrets() {
                    assert!(!text.contains(secret), "{secret} leaks from {place}");
                }
                let names_a_thing = route.path.contains('{');
                if names_a_thing || !headers.is_empty() {
                    assert!(matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN), "{place}");
                }
                asked.insert(format!("{method} {}", route.path));
            }
        }
    }
    assert!(asked.len() > 60, "{}", asked.len());
    assert_eq!(world.changes().await, before, "something was changed from outside");
    println!("{} routes x {} callers of another organization: 0 leaks", asked.len(), callers.len());
}
