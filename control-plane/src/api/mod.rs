//! What the control plane offers admins and their programs: REST, gRPC and SSE over the same nouns.

pub mod authorization;
pub mod model;
pub mod openapi;
pub mod operation;
pub mod rest;
pub mod sse;
pub mod watch;

use axum::Router;

use crate::app::App;

/// Everything the public name serves.
#[must_use]
pub fn router(app: &App) -> Router {
    rest::router(app)
}
