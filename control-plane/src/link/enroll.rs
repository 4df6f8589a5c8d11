//! Enrolling and renewing over the wire.

use std::{sync::Arc, time::Duration};

use muster_shared::{
    receipt::ReceiptKey,
    wire::{self, enroll_service_server::EnrollService},
};
use rustls_pki_types::CertificateDer;
use tokio::{sync::Semaphore, time::timeout};
use tonic::{Request, Response, Status};

use super::{
    endpoints,
    service::{LinkContext, peer_of},
    status::{refusal, status},
};
use crate::{
    access::Origin,
    edge::Peer,
    enrollment::{HostClaims, NewIdentity, PreviousIdentity},
    error::ErrorKind,
};

/// Enrolments at once; each takes the database's write lock, and anybody who reaches the port may ask.
const MAX_CONCURRENT: usize = 8;
/// How long one may wait for its turn; then it is refused (`too_many_enrollments`) and the host tries again.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Enroller {
    context: LinkContext,
    turns: Arc<Semaphore>,
}

impl Enroller {
    pub(super) fn new(context: LinkContext) -> Self {
        Self { context, turns: Arc::new(Semaphore::new(MAX_CONCURRENT)) }
    }
}

#[tonic::async_trait]
impl EnrollService for Enroller {
    async fn enroll(&self, request: Request<wire::EnrollRequest>) -> Result<Response<wire::EnrollResponse>, Status> {
        let Ok(Ok(_turn)) = timeout(TURN_TIMEOUT, self.turns.acquire()).await else {
            let detail = "many hosts are enrolling at the moment: try again shortly";
            return Err(refusal(ErrorKind::Exhausted, "too_many_enrollments", detail));
        };
        let context = &self.context;
        let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip().to_canonical());
        let origin = Origin { address, request_id: None };
        let request = request.into_inner();
        let previous = previous_identity(&request);
        let receipt_key = receipt_key(&request.receipt_key);
        let claims = HostClaims { receipt_key, ..request.host.map(claims).unwrap_or_default() };
        let identity = context
            .enrollment
            .enroll(&request.join_token, &request.csr_der, &claims, previous.as_ref(), origin, context.clock.now_us())
            .await
            .map_err(|error| status(&error))?;
        Ok(Response::new(wire::EnrollResponse {
            server_id: identity.server_id.to_string(),
            trust_domain: context.identity.authority.trust_domain().to_owned(),
            identity: Some(on_the_wire(identity)),
            command_key: Some(context.identity.signer.public_key()),
            endpoints: Some(endpoints(context)),
        }))
    }

    async fn renew(&self, request: Request<wire::RenewRequest>) -> Result<Response<wire::RenewResponse>, Status> {
        let context = &self.context;
        let peer = peer_of(request.extensions())?;
        let request = request.into_inner();
        let identity = context
            .enrollment
            .renew(&peer, &request.csr_der, receipt_key(&request.receipt_key), context.clock.now_us())
            .await
            .map_err(|error| status(&error))?;
        Ok(Response::new(wire::RenewResponse {
            identity: Some(on_the_wire(identity)),
            command_key: Some(context.identity.signer.public_key()),
            endpoints: Some(endpoints(context)),
        }))
    }
}

fn claims(host: wire::HostClaims) -> HostClaims {
    HostClaims {
        hostname: host.hostname,
        machine_id_sha256: host.machine_id_sha256,
        agent_version: host.agent_version,
        receipt_key: None,
    }
}

/// Anything that is no key is none: such a host's commands go without receipts.
fn receipt_key(bytes: &[u8]) -> Option<ReceiptKey> {
    bytes.try_into().ok()
}

/// Anything incomplete is no previous identity.
fn previous_identity(request: &wire::EnrollRequest) -> Option<PreviousIdentity> {
    Some(PreviousIdentity {
        server_id: request.previous_server_id.parse().ok()?,
        certificate: CertificateDer::from(request.previous_certificate_der.clone()),
        signature: request.previous_key_signature.clone(),
    })
}

fn on_the_wire(identity: NewIdentity) -> wire::Identity {
    wire::Identity {
        certificate_chain_der: identity.certificate.chain.iter().map(|certificate| certificate.to_vec()).collect(),
        not_before_us: identity.certificate.not_before_us,
        not_after_us: identity.certificate.not_after_us,
    }
}
