//! People over REST: where they act, what they may do, how they sign in, and what another site can't make them do.

use axum::body::Body;
use http::{Request, StatusCode, header::SET_COOKIE};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{api::test_api::Api, clock::Clock, totp::code};

const NOW_US: i64 = 1_800_000_000_000_000;
const PASSWORD: &str = "correct horse battery";
const OTHER_PASSWORD: &str = "staple battery horse";

/// Somebody who calls: with a token, or with a browser's session.
#[derive(Clone, Default)]
struct Who {
    headers: Vec<(&'static str, String)>,
}

impl Who {
    fn token(token: &str) -> Self {
        Self { headers: vec![("authorization", format!("Bearer {token}"))] }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }
}

struct Answer {
    status: StatusCode,
    body: Value,
    cookie: Option<String>,
    retry_after: Option<String>,
}

async fn ask(api: &Api, who: &Who, method: &str, path: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("host", "fleet.example.com");
    let request = who.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let request = request.body(Body::from(body.to_string())).expect("a request");
    let response = api.router.clone().oneshot(request).await.expect("an answer");
    let text = |name| response.headers().get(name).map(|it: &http::HeaderValue| it.to_str().expect("ASCII").to_owned());
    let (status, cookie, retry_after) = (response.status(), text(SET_COOKIE.as_str()), text("retry-after"));
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), cookie, retry_after }
}

async fn expect(api: &Api, who: &Who, method: &str, path: &str, body: Value, status: StatusCode) -> Value {
    let answer = ask(api, who, method, path, &body).await;
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    answer.body
}

fn owner(api: &Api) -> Who {
    Who::token(&api.owner)
}

/// A user of the owner's organisation, signed in with a password of their own.
async fn signed_in(api: &Api, name: &str, role: &str) -> Who {
    let user = json!({ "name": name, "password": PASSWORD, "role": role });
    expect(api, &owner(api), "POST", "/api/v1/users", user, StatusCode::CREATED).await;
    let first = sign_in(api, name, PASSWORD).await;
    let change = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
    expect(api, &first, "PUT", "/api/v1/me/password", change, StatusCode::NO_CONTENT).await;
    first
}

async fn sign_in(api: &Api, name: &str, password: &str) -> Who {
    let shown = json!({ "name": name, "password": password });
    let answer = ask(api, &Who::default(), "POST", "/api/v1/session", &shown).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    browser(&answer)
}

fn browser(answer: &Answer) -> Who {
    let cookie = answer.cookie.as_deref().and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    let csrf = answer.body["csrf_token"].as_str().expect("a token");
    Who::default().with("cookie", cookie).with("x-csrf-token", csrf)
}

async fn organization(api: &Api, who: &Who, name: &str) -> String {
    let made = expect(api, who, "POST", "/api/v1/organizations", json!({ "name": name }), StatusCode::CREATED).await;
    made["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_session_acts_where_the_request_says() {
    let api = Api::open().await;
    let ada = signed_in(&api, "ada", "owner").await;
    let first = expect(&api, &ada, "GET", "/api/v1/me", json!({}), StatusCode::OK).await["organization_id"].clone();
    let first = first.as_str().expect("an id");
    let second = organization(&api, &ada, "Second").await;
    let server = |name: &str| json!({ "name": name, "ipv4_address": "203.0.113.10", "ssh_password": "x" });
    expect(&api, &ada, "POST", "/api/v1/vms", server("one"), StatusCode::CREATED).await;
    let there = ada.clone().with("x-organization-id", &second);
    expect(&api, &there, "POST", "/api/v1/vms", server("two"), StatusCode::CREATED).await;
    let mut in_body = server("three");
    in_body["organization_id"] = json!(second);
    let made = expect(&api, &ada, "POST", "/api/v1/vms", in_body.clone(), StatusCode::CREATED).await;
    assert_eq!(made["organization_id"], json!(second));

    let names = async |who: &Who, path: &str| {
        let list = expect(&api, who, "GET", path, json!({}), StatusCode::OK).await;
        let list = list.as_array().expect("a list").clone();
        list.iter().map(|it| it["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&ada, "/api/v1/vms").await, ["one"]);
    assert_eq!(names(&there, "/api/v1/vms").await, ["two", "three"]);
    assert_eq!(names(&ada, &format!("/api/v1/vms?organization_id={second}")).await, ["two", "three"]);
    assert_eq!(names(&there, &format!("/api/v1/vms?organization_id={first}")).await, [""; 0], "the header wins");
    let members = names(&ada, &format!("/api/v1/organizations/{second}/members")).await;
    assert_eq!(members, ["ada"]);
    let choice = json!({ "organization_id": second });
    expect(&api, &ada, "PATCH", "/api/v1/session", choice, StatusCode::OK).await;
    assert_eq!(names(&ada, "/api/v1/vms").await, ["two", "three"], "the session's own choice");

    let bob = signed_in(&api, "bob", "admin").await;
    let foreign = bob.clone().with("x-organization-id", &second);
    for (method, path) in [("GET", "/api/v1/vms"), ("GET", "/api/v1/me"), ("GET", "/api/v1/users")] {
        expect(&api, &foreign, method, path, json!({}), StatusCode::NOT_FOUND).await;
    }
    for path in ["", "/members"] {
        let path = format!("/api/v1/organizations/{second}{path}");
        expect(&api, &bob, "GET", &path, json!({}), StatusCode::NOT_FOUND).await;
    }
    expect(&api, &bob, "POST", "/api/v1/vms", in_body, StatusCode::NOT_FOUND).await;
    expect(&api, &bob, "PATCH", "/api/v1/session", json!({ "organization_id": second }), StatusCode::NOT_FOUND).await;
    assert_eq!(names(&bob, &format!("/api/v1/vms?organization_id={second}")).await, [""; 0]);
    let token_elsewhere = owner(&api).with("x-organization-id", &second);
    expect(&api, &token_elsewhere, "GET", "/api/v1/vms", json!({}), StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn the_body_s_organization_asks_for_the_permission_there() {
    let api = Api::open().await;
    let ada = signed_in(&api, "ada", "owner").await;
    let second = organization(&api, &ada, "Second").await;
    signed_in(&api, "bob", "admin").await;
    let add = json!({ "name": "bob", "role": "member" });
    expect(&api, &ada, "POST", &format!("/api/v1/organizations/{second}/members"), add, StatusCode::CREATED).await;
    let bob = sign_in(&api, "bob", OTHER_PASSWORD).await;
    let server = json!({
        "name": "x", "ipv4_address": "203.0.113.10", "ssh_password": "x", "organization_id": second
    });
    expect(&api, &bob, "POST", "/api/v1/vms", server, StatusCode::FORBIDDEN).await;
}

#[tokio::test]
async fn another_site_can_change_nothing() {
    let api = Api::open().await;
    let ada = signed_in(&api, "ada", "admin").await;
    let csrf = ada.headers.iter().find(|(name, _)| *name == "x-csrf-token").expect("a token").1.clone();
    let other = sign_in(&api, "ada", OTHER_PASSWORD).await;
    let other_csrf = other.headers.iter().find(|(name, _)| *name == "x-csrf-token").expect("a token").1.clone();
    let cookie_only = ada.clone().without("x-csrf-token");
    let cases = [
        (cookie_only.clone(), false),
        (cookie_only.clone().with("x-csrf-token", ""), false),
        (cookie_only.clone().with("x-csrf-token", &other_csrf), false),
        (ada.clone().with("origin", "https://evil.example"), false),
        (ada.clone().with("origin", "null"), false),
        (ada.clone().with("sec-fetch-site", "cross-site"), false),
        (ada.clone().with("sec-fetch-site", "same-site"), false),
        (ada.clone().with("origin", "https://fleet.example.com").with("sec-fetch-site", "same-origin"), true),
        (cookie_only.clone().with("x-csrf-token", &csrf), true),
        (owner(&api).with("origin", "https://evil.example"), true),
    ];
    for (nth, (who, passes)) in cases.iter().enumerate() {
        for (method, path, body) in [
            ("POST", "/api/v1/users".to_owned(), json!({ "name": format!("u{nth}") })),
            ("PATCH", "/api/v1/users/ada".to_owned(), json!({})),
            ("DELETE", format!("/api/v1/users/u{nth}"), json!({})),
        ] {
            let answer = ask(&api, who, method, &path, &body).await;
            assert_eq!(answer.status != StatusCode::FORBIDDEN, *passes, "{nth} {method} {path}: {}", answer.body);
            let word = answer.body["code"].as_str().unwrap_or_default();
            assert!(*passes || matches!(word, "csrf" | "cross_site"), "{word}");
        }
        let read = ask(&api, who, "GET", "/api/v1/vms", &json!({})).await;
        assert_eq!(read.status, StatusCode::OK, "{nth}: reading needs no token");
    }
    let session = json!({ "name": "ada", "password": OTHER_PASSWORD });
    let evil = Who::default().with("origin", "https://evil.example");
    expect(&api, &evil, "POST", "/api/v1/session", session, StatusCode::FORBIDDEN).await;
    // A bearer token wins over the cookie, and a wrong one is not made good by it.
    let both = cookie_only.with("authorization", "Bearer mst_00");
    expect(&api, &both, "GET", "/api/v1/vms", json!({}), StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_given_password_is_good_for_nothing_but_replacing_it() {
    let api = Api::open().await;
    for bad in ["short", "dora.the.explorer"] {
        let user = json!({ "name": "dora.the.explorer", "password": bad });
        expect(&api, &owner(&api), "POST", "/api/v1/users", user, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let user = json!({ "name": "dora", "password": PASSWORD, "role": "admin", "email": "Dora@Example.com" });
    let made = expect(&api, &owner(&api), "POST", "/api/v1/users", user.clone(), StatusCode::CREATED).await;
    assert_eq!((&made["email"], &made["must_change_password"]), (&json!("dora@example.com"), &json!(true)));
    assert!(!made.to_string().contains("argon2"));
    expect(&api, &owner(&api), "POST", "/api/v1/users", user, StatusCode::CONFLICT).await;
    let dora = sign_in(&api, "Dora ", PASSWORD).await;
    let refused = expect(&api, &dora, "GET", "/api/v1/vms", json!({}), StatusCode::FORBIDDEN).await;
    assert_eq!(refused["code"], "password_change_required");
    expect(&api, &dora, "GET", "/api/v1/me", json!({}), StatusCode::OK).await;
    let elsewhere = sign_in(&api, "dora", PASSWORD).await;
    let wrong = json!({ "current_password": "no", "new_password": OTHER_PASSWORD });
    expect(&api, &dora, "PUT", "/api/v1/me/password", wrong, StatusCode::FORBIDDEN).await;
    let right = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
    expect(&api, &dora, "PUT", "/api/v1/me/password", right, StatusCode::NO_CONTENT).await;
    expect(&api, &dora, "GET", "/api/v1/vms", json!({}), StatusCode::OK).await;
    expect(&api, &elsewhere, "GET", "/api/v1/me", json!({}), StatusCode::UNAUTHORIZED).await;
    // The first start's token sets the owner's first password; after that it has to be told.
    let first = json!({ "new_password": PASSWORD });
    expect(&api, &owner(&api), "PUT", "/api/v1/me/password", first.clone(), StatusCode::NO_CONTENT).await;
    expect(&api, &owner(&api), "PUT", "/api/v1/me/password", first, StatusCode::FORBIDDEN).await;
    sign_in(&api, "owner", PASSWORD).await;
}

#[tokio::test]
async fn sessions_end_when_they_are_told_to() {
    let api = Api::open().await;
    let ada = signed_in(&api, "ada", "member").await;
    let other = sign_in(&api, "ada", OTHER_PASSWORD).await;
    let list = expect(&api, &ada, "GET", "/api/v1/sessions", json!({}), StatusCode::OK).await;
    let list = list.as_array().expect("a list");
    assert_eq!(list.iter().map(|it| it["current"].clone()).collect::<Vec<_>>(), [json!(false), json!(true)]);
    let path = format!("/api/v1/sessions/{}", list[0]["id"].as_str().expect("an id"));
    let bob = signed_in(&api, "bob", "owner").await;
    expect(&api, &bob, "DELETE", &path, json!({}), StatusCode::NOT_FOUND).await;
    expect(&api, &ada, "DELETE", &path, json!({}), StatusCode::NO_CONTENT).await;
    expect(&api, &other, "GET", "/api/v1/me", json!({}), StatusCode::UNAUTHORIZED).await;
    let shown = expect(&api, &ada, "GET", "/api/v1/session", json!({}), StatusCode::OK).await;
    assert_eq!(
        Some(shown["csrf_token"].as_str().expect("a token")),
        ada.headers.last().map(|(_, value)| value.as_str())
    );
    let out = ask(&api, &ada, "DELETE", "/api/v1/session", &json!({})).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.cookie.expect("a cookie").starts_with("muster=; Max-Age=0"));
    expect(&api, &ada, "GET", "/api/v1/me", json!({}), StatusCode::UNAUTHORIZED).await;
    expect(&api, &owner(&api), "DELETE", "/api/v1/session", json!({}), StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn a_token_never_does_more_than_its_scopes_and_its_user() {
    let api = Api::open().await;
    let ada = signed_in(&api, "ada", "admin").await;
    let create = async |who: &Who, body: Value, status| expect(&api, who, "POST", "/api/v1/tokens", body, status).await;
    let made = create(&ada, json!({ "name": "t", "scopes": ["org.servers.list"] }), StatusCode::CREATED).await;
    let scoped = Who::token(made["token"].as_str().expect("a token"));
    expect(&api, &scoped, "GET", "/api/v1/vms", json!({}), StatusCode::OK).await;
    for (method, path) in [("GET", "/api/v1/users"), ("POST", "/api/v1/join-tokens"), ("GET", "/api/v1/audit")] {
        expect(&api, &scoped, method, path, json!({}), StatusCode::FORBIDDEN).await;
    }
    let me = expect(&api, &scoped, "GET", "/api/v1/me", json!({}), StatusCode::OK).await;
    assert_eq!(me["permissions"], json!(["org.servers.list"]));
    // It can't become more by way of its user's account, or of others'.
    let scopes = ["org.users.create", "org.users.update", "org.members.update", "org.members.add"];
    let made = create(&ada, json!({ "name": "people", "scopes": scopes }), StatusCode::CREATED).await;
    let people = Who::token(made["token"].as_str().expect("a token"));
    let user = json!({ "name": "mallory", "role": "admin", "password": PASSWORD });
    expect(&api, &people, "POST", "/api/v1/users", user, StatusCode::FORBIDDEN).await;
    signed_in(&api, "bob", "admin").await;
    for name in ["bob", "ada"] {
        let answer =
            ask(&api, &people, "PATCH", &format!("/api/v1/users/{name}"), &json!({ "password": PASSWORD })).await;
        assert!(matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::CONFLICT), "{}", answer.body);
    }
    create(&scoped, json!({ "name": "wider" }), StatusCode::FORBIDDEN).await;
    let password = json!({ "current_password": OTHER_PASSWORD, "new_password": PASSWORD });
    expect(&api, &scoped, "PUT", "/api/v1/me/password", password, StatusCode::FORBIDDEN).await;
    expect(&api, &scoped, "POST", "/api/v1/me/totp", json!({ "password": OTHER_PASSWORD }), StatusCode::FORBIDDEN)
        .await;

    create(&ada, json!({ "name": "t", "scopes": ["org.servers.delete"] }), StatusCode::FORBIDDEN).await;
    create(&ada, json!({ "name": "t", "scopes": ["org.nothing"] }), StatusCode::UNPROCESSABLE_ENTITY).await;
    create(&ada, json!({ "name": "t", "ttl_seconds": 59 }), StatusCode::UNPROCESSABLE_ENTITY).await;
    create(&ada, json!({ "name": "t", "ttl_seconds": 91 * 86_400 }), StatusCode::UNPROCESSABLE_ENTITY).await;
    let short = create(&ada, json!({ "name": "short", "ttl_seconds": 3_600 }), StatusCode::CREATED).await;
    let short = Who::token(short["token"].as_str().expect("a token"));
    let child = create(&short, json!({ "name": "child" }), StatusCode::CREATED).await;
    let list = expect(&api, &ada, "GET", "/api/v1/tokens", json!({}), StatusCode::OK).await;
    let ends = |name: &str| {
        let list = list.as_array().expect("a list");
        list.iter().find(|token| token["name"] == name).expect("listed")["expires_at"].clone()
    };
    assert_eq!(ends("child"), ends("short"), "a token's child does not outlive it");
    assert!(!list.to_string().contains("mst_"));
    let path = format!("/api/v1/tokens/{}", child["id"].as_str().expect("an id"));
    expect(&api, &owner(&api), "DELETE", &path, json!({}), StatusCode::NOT_FOUND).await;
    expect(&api, &ada, "DELETE", &path, json!({}), StatusCode::NO_CONTENT).await;
    let child = Who::token(child["token"].as_str().expect("a token"));
    expect(&api, &child, "GET", "/api/v1/me", json!({}), StatusCode::UNAUTHORIZED).await;

    // What a role loses its tokens lose at once; and whoever goes takes theirs along.
    let org = me["organization_id"].as_str().expect("an id");
    let member = format!("/api/v1/organizations/{org}/members/ada");
    expect(&api, &short, "GET", "/api/v1/users", json!({}), StatusCode::OK).await;
    expect(&api, &owner(&api), "PATCH", &member, json!({ "role": "project_member" }), StatusCode::OK).await;
    expect(&api, &short, "GET", "/api/v1/users", json!({}), StatusCode::FORBIDDEN).await;
    expect(&api, &ada, "GET", "/api/v1/users", json!({}), StatusCode::FORBIDDEN).await;
    expect(&api, &owner(&api), "DELETE", &member, json!({}), StatusCode::NO_CONTENT).await;
    for who in [&short, &scoped, &ada] {
        expect(&api, who, "GET", "/api/v1/me", json!({}), StatusCode::UNAUTHORIZED).await;
    }
}

#[tokio::test]
async fn only_owners_decide_about_owners_and_one_always_stays() {
    let api = Api::open().await;
    let ada = signed_in(&api, "ada", "admin").await;
    let me = expect(&api, &owner(&api), "GET", "/api/v1/me", json!({}), StatusCode::OK).await;
    let members = format!("/api/v1/organizations/{}/members", me["organization_id"].as_str().expect("an id"));
    let forbidden = StatusCode::FORBIDDEN;
    expect(&api, &ada, "PATCH", &format!("{members}/ada"), json!({ "role": "owner" }), forbidden).await;
    expect(&api, &ada, "PATCH", &format!("{members}/owner"), json!({ "role": "member" }), forbidden).await;
    expect(&api, &ada, "DELETE", &format!("{members}/owner"), json!({}), forbidden).await;
    expect(&api, &ada, "DELETE", "/api/v1/users/owner", json!({}), forbidden).await;
    expect(&api, &ada, "PATCH", "/api/v1/users/owner", json!({ "password": PASSWORD }), forbidden).await;
    expect(&api, &ada, "POST", "/api/v1/users", json!({ "name": "eve", "role": "owner" }), forbidden).await;
    for (method, body) in [("PATCH", json!({ "role": "admin" })), ("DELETE", json!({}))] {
        let refused = expect(&api, &owner(&api), method, &format!("{members}/owner"), body, StatusCode::CONFLICT).await;
        assert_eq!(refused["code"], "last_owner");
    }
    let bad = json!({ "role": "king" });
    expect(&api, &ada, "PATCH", &format!("{members}/ada"), bad, StatusCode::UNPROCESSABLE_ENTITY).await;
    expect(&api, &ada, "POST", &members, json!({ "name": "ada", "role": "member" }), StatusCode::CONFLICT).await;
    expect(&api, &ada, "POST", &members, json!({ "name": "nobody", "role": "member" }), StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn nobody_gets_into_another_organization_by_changing_a_shared_user() {
    let api = Api::open().await;
    let ada = signed_in(&api, "ada", "owner").await;
    let second = organization(&api, &ada, "Second").await;
    let ben = signed_in(&api, "ben", "admin").await;
    let patch = json!({ "password": "mine from now on" });
    let refused = expect(&api, &owner(&api), "PATCH", "/api/v1/users/ada", patch.clone(), StatusCode::CONFLICT).await;
    assert_eq!(refused["code"], "member_elsewhere");
    expect(&api, &owner(&api), "PATCH", "/api/v1/users/ben", patch, StatusCode::OK).await;
    expect(&api, &ben, "GET", "/api/v1/me", json!({}), StatusCode::UNAUTHORIZED).await;
    let stranger = Who::token(&api.stranger().await);
    for path in ["/api/v1/users/ada", "/api/v1/users/ben"] {
        expect(&api, &stranger, "GET", path, json!({}), StatusCode::NOT_FOUND).await;
        expect(&api, &stranger, "PATCH", path, json!({ "email": "x@example.com" }), StatusCode::NOT_FOUND).await;
        expect(&api, &stranger, "DELETE", path, json!({}), StatusCode::NOT_FOUND).await;
    }
    expect(&api, &owner(&api), "DELETE", "/api/v1/users/ada", json!({}), StatusCode::NO_CONTENT).await;
    let me = expect(&api, &ada, "GET", "/api/v1/me", json!({}), StatusCode::OK).await;
    assert_eq!(me["organization_id"], json!(second), "still a member elsewhere");
}

#[tokio::test]
async fn failures_look_alike_slow_down_and_are_on_record() {
    let api = Api::open_at(Clock::standing_at(NOW_US)).await;
    signed_in(&api, "ada", "member").await;
    let canary = "canary canary canary";
    let mut answers = Vec::new();
    for name in ["ada", "nobody"] {
        for _ in 0..6 {
            let shown = json!({ "name": name, "password": canary });
            let answer = ask(&api, &Who::default(), "POST", "/api/v1/session", &shown).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.body);
            answers.push((answer.body["code"].clone(), answer.body["detail"].clone()));
        }
        let right = json!({ "name": name, "password": OTHER_PASSWORD });
        let answer = ask(&api, &Who::default(), "POST", "/api/v1/session", &right).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.body);
        assert_eq!(answer.retry_after.as_deref(), Some("1"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    api.app.user_sessions.settled().await;
    let org = api.app.access.authenticate(&api.owner, api.app.clock.now_us()).await.expect("the owner").org_id;
    let filter = crate::store::AuditFilter { limit: 100, ..crate::store::AuditFilter::default() };
    let entries = api.app.store.list_audit(org, &filter).await.expect("read");
    let count = |action: &str| entries.iter().filter(|entry| entry.action == action).count();
    assert_eq!((count("SESSION_DENIED"), count("SESSION_CREATED")), (6, 1));
    let text = format!("{entries:?}");
    for secret in [canary, PASSWORD, OTHER_PASSWORD, "argon2id", "mse_", "mst_"] {
        assert!(!text.contains(secret), "{secret} is on record");
    }
}

#[tokio::test]
async fn the_second_factor_is_asked_for_and_each_code_is_good_once() {
    let api = Api::open_at(Clock::standing_at(NOW_US)).await;
    let ada = signed_in(&api, "ada", "member").await;
    expect(&api, &ada, "POST", "/api/v1/me/totp", json!({ "password": "no" }), StatusCode::FORBIDDEN).await;
    let enroll = json!({ "password": OTHER_PASSWORD });
    let made = expect(&api, &ada, "POST", "/api/v1/me/totp", enroll.clone(), StatusCode::CREATED).await;
    let secret = unbase32(made["secret"].as_str().expect("a secret"));
    assert!(made["otpauth_uri"].as_str().expect("a URI").starts_with("otpauth://totp/Muster:ada?secret="));
    // Until it is confirmed it is not asked for.
    sign_in(&api, "ada", OTHER_PASSWORD).await;
    let now = || code::step_at(api.app.clock.now_us());
    let wrong = json!({ "code": code::code(&secret, now() - 100) });
    expect(&api, &ada, "POST", "/api/v1/me/totp/confirm", wrong, StatusCode::UNPROCESSABLE_ENTITY).await;
    let first = code::code(&secret, now());
    let on = expect(&api, &ada, "POST", "/api/v1/me/totp/confirm", json!({ "code": first }), StatusCode::OK).await;
    let recovery: Vec<_> = on["recovery_codes"].as_array().expect("codes").clone();
    assert_eq!(recovery.len(), 10);
    expect(&api, &ada, "POST", "/api/v1/me/totp", enroll, StatusCode::CONFLICT).await;

    let shown = |code: Option<&str>| json!({ "name": "ada", "password": OTHER_PASSWORD, "totp_code": code });
    let sign_in = async |code: Option<&str>, status| {
        expect(&api, &Who::default(), "POST", "/api/v1/session", shown(code), status).await["code"].clone()
    };
    assert_eq!(sign_in(None, StatusCode::UNAUTHORIZED).await, "totp_required");
    assert_eq!(sign_in(Some(first.as_str()), StatusCode::UNAUTHORIZED).await, "invalid_credentials", "used already");
    let next = code::code(&secret, now() + 1);
    sign_in(Some(next.as_str()), StatusCode::CREATED).await;
    assert_eq!(sign_in(Some(next.as_str()), StatusCode::UNAUTHORIZED).await, "invalid_credentials", "replayed");
    let one = recovery[0].as_str().expect("a code");
    sign_in(Some(one), StatusCode::CREATED).await;
    assert_eq!(sign_in(Some(one), StatusCode::UNAUTHORIZED).await, "invalid_credentials", "used already");
    let disable = |code: &str| json!({ "password": OTHER_PASSWORD, "code": code });
    expect(&api, &ada, "POST", "/api/v1/me/totp/disable", disable(one), StatusCode::FORBIDDEN).await;
    let another = recovery[1].as_str().expect("a code");
    expect(&api, &ada, "POST", "/api/v1/me/totp/disable", disable(another), StatusCode::NO_CONTENT).await;
    sign_in(None, StatusCode::CREATED).await;
}

#[tokio::test]
async fn an_admin_resets_the_second_factor_of_a_member_who_lost_it() {
    let api = Api::open_at(Clock::standing_at(NOW_US)).await;
    let turn_on = async |who: &Who| {
        let enroll = json!({ "password": OTHER_PASSWORD });
        let made = expect(&api, who, "POST", "/api/v1/me/totp", enroll, StatusCode::CREATED).await;
        let secret = unbase32(made["secret"].as_str().expect("a secret"));
        let first = json!({ "code": code::code(&secret, code::step_at(api.app.clock.now_us())) });
        expect(&api, who, "POST", "/api/v1/me/totp/confirm", first, StatusCode::OK).await;
    };
    let ada = signed_in(&api, "ada", "member").await;
    let (eve, boss) = (signed_in(&api, "eve", "admin").await, signed_in(&api, "boss", "owner").await);
    let reset = async |who: &Who, name: &str, status| {
        expect(&api, who, "DELETE", &format!("/api/v1/users/{name}/totp"), Value::Null, status).await
    };
    assert_eq!(reset(&eve, "ada", StatusCode::CONFLICT).await["code"], "totp_off");
    turn_on(&ada).await;
    turn_on(&boss).await;
    assert_eq!(reset(&eve, "eve", StatusCode::CONFLICT).await["code"], "own_factor");
    assert_eq!(reset(&eve, "boss", StatusCode::FORBIDDEN).await["code"], "owners_only");
    assert_eq!(reset(&ada, "boss", StatusCode::FORBIDDEN).await["code"], "permission_denied");
    let stranger = Who::token(&api.stranger().await);
    reset(&stranger, "ada", StatusCode::NOT_FOUND).await;
    assert_eq!(reset(&eve, "ada", StatusCode::OK).await["totp_enabled"], false);
    expect(&api, &ada, "GET", "/api/v1/me", Value::Null, StatusCode::UNAUTHORIZED).await;
    let ada = sign_in(&api, "ada", OTHER_PASSWORD).await;
    turn_on(&ada).await;
    let other = expect(&api, &stranger, "GET", "/api/v1/me", Value::Null, StatusCode::OK).await;
    let members = format!("/api/v1/organizations/{}/members", other["organization_id"].as_str().expect("an id"));
    let join = json!({ "name": "ada", "role": "member" });
    expect(&api, &stranger, "POST", &members, join, StatusCode::CREATED).await;
    assert_eq!(reset(&eve, "ada", StatusCode::CONFLICT).await["code"], "member_elsewhere");
    let told = expect(&api, &boss, "GET", "/api/v1/audit?action=USER_TOTP_RESET", Value::Null, StatusCode::OK).await;
    assert_eq!(told.as_array().expect("a list").len(), 1, "{told}");
}

fn unbase32(text: &str) -> Vec<u8> {
    let digit = |it: u8| if it.is_ascii_uppercase() { it - b'A' } else { it - b'2' + 26 };
    let bits: Vec<u8> = text.bytes().flat_map(|it| (0..5).rev().map(move |at| digit(it) >> at & 1)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}
