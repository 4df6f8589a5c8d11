//! What the control plane offers admins and their programs: REST, gRPC and SSE over the same nouns.

pub mod authorization;
#[cfg(test)]
mod canaries;
pub mod cookie;
pub mod csrf;
pub mod door;
pub mod events;
pub mod following;
pub mod grpc;
pub mod model;
pub mod openapi;
pub mod operation;
pub mod readmission;
pub mod rest;
pub mod sse;
#[cfg(test)]
mod test_api;
#[cfg(test)]
mod test_streams;
#[cfg(test)]
mod test_world;
pub mod watch;
pub mod watch_series;

use axum::Router;

use crate::app::App;

/// Everything the public name serves.
///
/// # Errors
/// [`grpc::BadDescriptors`].
pub async fn router(app: &App) -> Result<Router, grpc::BadDescriptors> {
    Ok(rest::router(app).merge(grpc::router(app).await?))
}
