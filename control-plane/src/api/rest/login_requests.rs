//! `/api/v1/login-requests`: terminals that ask to be signed in.

use axum::extract::{Path, State};
use http::StatusCode;

use super::{
    extract::{Body, OptionalBody},
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::model::{
        api_token::ApiToken,
        login_request::{LoginRequestApproval, LoginRequestCreate, LoginRequestCreated, LoginRequestShown},
    },
    app::App,
};

/// Ask to be signed in.
///
/// The asker makes an API token itself and tells its hash; the token is good once somebody has approved the request.
/// Until then, and if nobody does, it is not. A request is good for ten minutes.
#[utoipa::path(post, path = "/api/v1/login-requests", tag = "account", request_body = LoginRequestCreate, responses(
    (status = 201, description = "Show the address and the code to whoever shall approve", body = LoginRequestCreated),
    (status = 400, description = "The body is not JSON"),
    (status = 422, description = "A field is not acceptable")))]
pub async fn begin_login(
    State(app): State<App>,
    Body(create): Body<LoginRequestCreate>,
) -> Result<(StatusCode, axum::Json<LoginRequestCreated>), Problem> {
    let (name, hash) = create.into_parts()?;
    let (request, carried) = app.login_requests.begin(name, hash, app.clock.now_us())?;
    Ok((StatusCode::CREATED, axum::Json(LoginRequestCreated::of(&request, carried))))
}

/// Show what somebody is asked to approve.
#[utoipa::path(get, path = "/api/v1/login-requests/{request}", tag = "account",
    params(("request" = String, Path, description = "A request as its asker carries it")), responses(
        (status = 200, description = "The request", body = LoginRequestShown),
        (status = 404, description = "It is none, or too old")))]
pub async fn get_login_request(
    State(app): State<App>,
    Path(request): Path<String>,
) -> Result<axum::Json<LoginRequestShown>, Problem> {
    Ok(axum::Json(LoginRequestShown::of(&app.login_requests.open(&request, app.clock.now_us())?)))
}

/// Approve a request: the asker's token becomes one of the caller's, for the organisation the caller acts in.
#[utoipa::path(post, path = "/api/v1/login-requests/{request}/approve", tag = "account",
    params(("request" = String, Path, description = "A request as its asker carries it")),
    request_body = Option<LoginRequestApproval>, responses(
        (status = 200, description = "The token that is good from now on", body = ApiToken),
        (status = 400, description = "The body is not JSON"),
        (status = 403, description = "The caller came with a token that may not do everything its user may"),
        (status = 404, description = "It is none, or too old"),
        (status = 409, description = "It was approved before"),
        (status = 422, description = "A field is not acceptable"),
        (status = 429, description = "The caller has too many tokens")))]
pub async fn approve_login(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(request): Path<String>,
    OptionalBody(approval): OptionalBody<LoginRequestApproval>,
) -> Result<axum::Json<ApiToken>, Problem> {
    let token = app.login_requests.approve(&caller, &act, &request, approval.ttl_seconds).await?;
    Ok(axum::Json(ApiToken::of(&token)))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        access::{API_TOKEN_PREFIX, Token},
        api::test_api::Api,
    };

    async fn me(api: &Api, token: &str) -> StatusCode {
        let request = Request::builder().uri("/api/v1/me").header("authorization", format!("Bearer {token}"));
        api.send(request, Body::empty()).await.0
    }

    #[tokio::test]
    async fn a_terminals_own_token_is_good_once_somebody_approved_it() {
        let api = Api::open().await;
        let token = Token::generate(API_TOKEN_PREFIX).expect("randomness");
        let create = json!({ "name": "muster on laptop", "token_sha256": hex::encode(token.hash().as_bytes()) });
        let request =
            Request::builder().method("POST").uri("/api/v1/login-requests").header("content-type", "application/json");
        let (status, text) = api.send(request, Body::from(create.to_string())).await;
        assert_eq!(status, StatusCode::CREATED, "{text}");
        assert!(!text.contains(token.reveal()));
        let begun: Value = serde_json::from_str(&text).expect("JSON");
        let path = format!("/api/v1/login-requests/{}", begun["request"].as_str().expect("a request"));
        assert_eq!(me(&api, token.reveal()).await, StatusCode::UNAUTHORIZED, "nobody approved");

        let (status, shown) = api.call("GET", &path, &Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        assert_eq!((&shown["name"], &shown["code"]), (&json!("muster on laptop"), &begun["code"]));
        let (status, made) = api.call("POST", &format!("{path}/approve"), &json!({ "ttl_seconds": 3600 })).await;
        assert_eq!(status, StatusCode::OK, "{made}");
        assert_eq!(me(&api, token.reveal()).await, StatusCode::OK);
        let (_, listed) = api.call("GET", "/api/v1/tokens", &Value::Null).await;
        assert!(listed.as_array().expect("a list").iter().any(|one| one["id"] == made["id"]), "{listed}");
        let (_, audited) = api.call("GET", "/api/v1/audit?action=API_TOKEN_CREATED", &Value::Null).await;
        assert_eq!(audited[0]["resource_id"], made["id"], "{audited}");

        let (status, again) = api.call("POST", &format!("{path}/approve"), &Value::Null).await;
        assert_eq!((status, &again["code"]), (StatusCode::CONFLICT, &json!("already_approved")));
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused_with_what_to_do() {
        let api = Api::open().await;
        let (status, body) = api.call("GET", "/api/v1/login-requests/made-up", &Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("muster login")), "{body}");
        let create = json!({ "name": "x", "token_sha256": "abc" });
        let (status, _) = api.call("POST", "/api/v1/login-requests", &create).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}
