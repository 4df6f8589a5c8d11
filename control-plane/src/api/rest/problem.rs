//! Errors as REST answers them: `{"detail", "code", "request_id"}`, always, whoever refused the request.
//!
//! A handler returns a [`Problem`]; [`render`] gives it its body, because only there the request's id is known, and
//! gives one to every other error response too: unknown route, wrong method, too large, timeout, panic.

use std::{error::Error as StdError, sync::Arc};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::chain,
    error::{Error, ErrorKind},
};

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken from a caller, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "detail": "no such server", "code": "not_found", "request_id": "01890a5d-ac96-774b-bcce-b302099a8062"
}))]
pub struct ProblemBody {
    /// What happened and what to do, in words.
    pub detail: String,
    /// A stable word for programs.
    pub code: String,
    /// Names the request in the control plane's log.
    pub request_id: String,
}

/// An error on its way out.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    cause: Option<Error>,
}

impl Problem {
    /// A problem that only HTTP knows.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), cause: None }
    }

    fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not_found", "no such route; /api/v1/openapi.json lists what there is"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "this route has no such method; the `allow` header lists those it has")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the request body is too large"),
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => {
                ("timeout", "the request took too long; it may still be carried out")
            }
            status if status.is_client_error() => ("invalid", "the request can't be understood"),
            _ => ("internal", "an internal error; the log has the details under this request id"),
        };
        Self::new(status, code, detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: error.status(), code: error.code, detail: error.detail.clone(), cause: Some(error) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.cause.as_ref().and_then(|cause| cause.retry_after_seconds) {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The id of the request under way.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Gives every request an id, every error response its body, and counts both.
pub async fn render(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.as_str().into()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    metrics::counter!(
        "muster_http_requests_total", "method" => method.to_string(), "route" => route.clone(), "status" => status.as_str().to_owned()
    )
    .increment(1);
    if status.is_client_error() || status.is_server_error() {
        let problem = response.extensions_mut().remove::<Arc<Problem>>();
        let problem = problem.unwrap_or_else(|| Arc::new(Problem::of_status(status)));
        log(&problem, &id, method.as_str(), &route);
        response = with_body(response, &problem, &id);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn with_body(response: Response, problem: &Problem, id: &str) -> Response {
    let body = ProblemBody { detail: problem.detail.clone(), code: problem.code.to_owned(), request_id: id.to_owned() };
    let mut rendered = (response.status(), axum::Json(body)).into_response();
    for name in [WWW_AUTHENTICATE, RETRY_AFTER, http::header::ALLOW] {
        if let Some(value) = response.headers().get(&name) {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

fn log(problem: &Problem, request_id: &str, method: &str, route: &str) {
    let (status, code) = (problem.status.as_u16(), problem.code);
    if problem.cause.as_ref().is_none_or(|cause| cause.kind != ErrorKind::Internal) && status != 500 {
        tracing::debug!(request_id, method, route, status, code, "request refused");
        return;
    }
    let cause = problem.cause.as_ref().and_then(StdError::source).map(chain);
    tracing::error!(request_id, method, route, status, code, cause, "request failed");
}
