//! gRPC: the fleet service, reflection and the standard health service.
//!
//! Every call to the fleet service is admitted here by the one authorisation table; a method that is not in it is
//! refused before anything looks at its body.

mod agent;
mod audit;
mod call;
mod commands;
mod environments;
mod events;
mod fleet;
mod fleet_runs;
mod hardening;
mod join_tokens;
mod keyring;
mod login_requests;
#[cfg(test)]
mod matrix_tests;
mod members;
mod metrics_retention;
mod monitoring;
mod organizations;
mod power;
mod projects;
mod runs;
mod servers;
mod ssh_keys;
pub mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod users;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use muster_shared::wire::{self, fleet_service_server::FleetServiceServer};
use tonic::{Status, server::NamedService};

use self::{call::Fleet, status::to_status};
use super::{
    authorization::{Admission, Asked, admit, origin},
    door::Door,
    operation::admission_of_grpc_method,
};
use crate::app::App;

/// Largest request accepted, in bytes.
const MAX_REQUEST_BYTES: usize = 256 * 1024;
/// Largest answer made, in bytes: a page of servers, or one server's facts.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Why the services can't be offered.
#[derive(Debug, thiserror::Error)]
#[error("the service descriptions can't be read")]
pub struct BadDescriptors(#[from] tonic_reflection::server::Error);

/// The router of all gRPC services.
///
/// # Errors
/// [`BadDescriptors`] when what was built into the program can't be read.
pub async fn router(app: &App) -> Result<Router, BadDescriptors> {
    let fleet = FleetServiceServer::new(Fleet::new(app.clone()))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_ANSWER_BYTES);
    let fleet = at(Router::new(), fleet).layer(middleware::from_fn_with_state(app.clone(), guard));
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<FleetServiceServer<Fleet>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(FleetServiceServer::<Fleet>::NAME)
            .with_service_name("grpc.health.v1.Health")
    };
    let router = at(fleet, health);
    let router = at(router, reflection().build_v1()?);
    Ok(at(router, reflection().build_v1alpha()?))
}

/// Adds `service` to `router` under its own name.
fn at<S>(router: Router, service: S) -> Router
where
    S: NamedService
        + tower::Service<Request, Response = http::Response<tonic::body::Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*method}}", S::NAME), service)
}

async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    let Some(admission) = admission_of_grpc_method(method) else {
        return Status::unimplemented("no such method").into_http();
    };
    let (mut parts, body) = request.into_parts();
    let asked = Asked::grpc(&parts);
    if admission == Admission::Public {
        return next.run(Request::from_parts(parts, body)).await;
    }
    match admit(&app.access, &asked, admission, app.clock.now_us()).await {
        Ok(principal) => {
            parts.extensions.insert(asked);
            let door = Door::of(&parts);
            let origin = origin(&parts.headers, parts.extensions.get(), None);
            parts.extensions.insert(door);
            parts.extensions.insert(origin);
            parts.extensions.insert(principal);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => to_status(&error).into_http(),
    }
}
