//! REST: one resource a file, every route in one table.

pub mod document;
pub mod extract;
pub mod health;
pub mod problem;
pub mod routes;

use axum::{Extension, Router, middleware};
use document::Document;
use routes::Routes;

use super::operation::Operation;
use crate::{app::App, edge};

/// Every route there is.
#[must_use]
pub fn routes() -> Routes {
    Routes::default()
        .public::<health::__path_healthz, _, _>(health::healthz)
        .public::<health::__path_readyz, _, _>(health::readyz)
        .guarded::<health::__path_own_metrics, _, _>(Operation::ReadOwnMetrics, health::own_metrics)
        .public::<document::__path_openapi, _, _>(document::openapi)
}

/// The router that serves them: errors always have a body, requests always have an id.
#[must_use]
pub fn router(app: &App) -> Router {
    let routes = routes();
    let document = Document::of(&routes);
    let router = routes.into_router(app).layer(Extension(document)).with_state(app.clone());
    edge::protect_public(router).layer(middleware::from_fn(problem::render))
}
