//! The agents' side of the edge: enrolling, renewing, and the one stream per host.
//!
//! Who is speaking is what the TLS layer proved ([`Peer`](crate::edge::Peer)); no id in a message is believed. What an
//! expired certificate may still do, and whether an identity was withdrawn since the handshake, is judged anew for
//! every call: a resumed TLS session proves no more than a full one.

mod acks;
mod budget;
mod end;
mod enroll;
mod framing;
mod pulse;
mod receive;
mod service;
mod status;
mod stream;

pub use service::LinkContext;

use std::sync::Arc;

use axum::{Router, routing::post};
use muster_shared::wire::{self, enroll_service_server::EnrollServiceServer, link_service_server};
use tonic::service::Routes;

/// Largest message of a call that enrolls or renews, in bytes.
const MAX_ENROLL_MESSAGE_BYTES: usize = 64 * 1024;

/// The services on the agents' name.
pub fn router(context: LinkContext) -> Router {
    let enroll = EnrollServiceServer::new(enroll::Enroller::new(context.clone()))
        .max_decoding_message_size(MAX_ENROLL_MESSAGE_BYTES);
    let links = Arc::new(service::Links::new(context));
    let link = post(move |request| Arc::clone(&links).serve(request));
    let path = format!("/{}/Link", link_service_server::SERVICE_NAME);
    Routes::new(enroll).prepare().into_axum_router().route(&path, link)
}

/// Where agents dial and whom they believe. No URL means: the one that worked.
fn endpoints(context: &LinkContext) -> wire::Endpoints {
    let authority = &context.identity.authority;
    wire::Endpoints {
        urls: context.agent_url.iter().cloned().collect(),
        ca_certificates_der: vec![authority.certificate().to_vec()],
    }
}
