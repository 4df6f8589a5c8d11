//! Bounds on single requests of the public router.

use axum::Router;
use http::StatusCode;
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

use super::limits::{MAX_REQUEST_BODY_BYTES, REQUEST_TIMEOUT};

/// `router` with a limit on bodies and on the time until an answer begins; streams may last. A handler that panics
/// costs its own request only.
pub fn protect_public(router: Router) -> Router {
    router
        .layer(RequestBodyLimitLayer::new(MAX_REQUEST_BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::new())
}
