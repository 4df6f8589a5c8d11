//! Opening a host's stream: who it is, whether it may, and which generation it gets.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use muster_shared::{
    id::OrgId,
    policy::Family,
    tls::PeerCertificate,
    wire::{self, agent_message},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use super::{
    endpoints,
    framing::{Inbound, Outbound},
    status::{refusal, status},
    stream::{Host, HostStream, MAX_FRAMES_IN_FLIGHT, OUTBOUND_MESSAGES},
};
use crate::{
    clock::Clock,
    commands::Commands,
    edge::{Peer, limits::MAX_AGENT_MESSAGE_BYTES},
    enrollment::{Enrollment, MAX_CLAIM_BYTES},
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    identity::Identity,
    ingest::Ingest,
    metrics::Heads,
    servers::Servers,
    sessions::{Cut, Ledger, SessionGuard, Sessions, generation::CloneSign},
    store::{SessionClaim, SessionOutcome, Store},
};

/// The version of the stream's rules spoken here.
const PROTOCOL: u32 = 1;
/// Streams at once; one more is refused (`too_many_streams`).
const MAX_STREAMS: usize = 16_384;
/// From the call to its Hello (`hello_timeout`).
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// What the agents' services need. Clones share it.
#[derive(Debug, Clone)]
pub struct LinkContext {
    pub store: Store,
    pub clock: Clock,
    pub identity: Identity,
    pub servers: Servers,
    pub commands: Commands,
    pub enrollment: Enrollment,
    pub sessions: Sessions,
    pub ledger: Ledger,
    pub heads: Heads,
    pub ingest: Ingest,
    pub events: Events,
    /// What agents shall dial, where it is configured.
    pub agent_url: Option<String>,
    /// The streams' tasks; waited for when stopping.
    pub streams: TaskTracker,
    pub shutdown: CancellationToken,
}

/// Whose call this is. Its certificate may have expired.
pub(super) fn peer_of(extensions: &http::Extensions) -> Result<Arc<PeerCertificate>, Status> {
    extensions.get::<Peer>().and_then(|peer| peer.certificate.clone()).ok_or_else(|| {
        refusal(ErrorKind::Unauthenticated, "certificate_required", "this call needs the host's certificate")
    })
}

pub(super) struct Links {
    context: LinkContext,
    places: Arc<Semaphore>,
}

impl Links {
    pub(super) fn new(context: LinkContext) -> Self {
        Self { context, places: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            refusal(ErrorKind::Exhausted, "too_many_streams", "the control plane serves no more streams at the moment")
        })
    }

    /// Gives the host its next generation and its place among the sessions.
    async fn open(&self, peer: &PeerCertificate, hello: &wire::Hello) -> Result<(OrgId, u64, SessionGuard), Status> {
        let context = &self.context;
        let claim = claim(peer, hello)?;
        let outcome = context.ledger.open(claim).await;
        let (org, generation) = match outcome.map_err(|error| status(&error))? {
            SessionOutcome::Opened { org_id, generation } => (org_id, generation),
            SessionOutcome::Clone { org_id, sign } => return Err(self.quarantined(org_id, peer, sign)),
            refused => return Err(withdrawn(refused)),
        };
        let now_us = context.clock.now_us();
        let guard = context.sessions.open(org, peer.server_id, generation, now_us).ok_or_else(|| {
            refusal(ErrorKind::Precondition, "superseded", "a newer stream of this host is open already")
        })?;
        // Whoever withdrew the identity between the two steps above found no session to cut.
        let standing = context.store.certificate(&peer.serial).await.map_err(|error| status(&error.into()))?;
        if !standing.is_some_and(|standing| standing.is_good()) {
            return Err(withdrawn(SessionOutcome::Revoked));
        }
        Ok((org, generation, guard))
    }

    fn quarantined(&self, org: OrgId, peer: &PeerCertificate, sign: CloneSign) -> Status {
        self.context.sessions.cut(peer.server_id, Cut::Quarantined);
        self.context.events.publish(org, peer.server_id, EventKind::ServerChanged);
        tracing::warn!(server = %peer.server_id, sign = sign.as_str(), "two machines use one identity: both quarantined");
        withdrawn(SessionOutcome::Quarantined)
    }
}

impl Links {
    /// Answers `LinkService.Link`.
    pub(super) async fn serve(self: Arc<Self>, request: http::Request<Body>) -> Response {
        match self.link(request).await {
            Ok(outbound) => outbound.into_response(),
            Err(status) => status.into_http(),
        }
    }

    async fn link(&self, request: http::Request<Body>) -> Result<Outbound, Status> {
        let context = &self.context;
        let peer = peer_of(request.extensions())?;
        if peer.not_after_us <= context.clock.now_us() {
            let detail = "the host's certificate has expired: renew it first";
            return Err(refusal(ErrorKind::Unauthenticated, "certificate_expired", detail));
        }
        let place = self.place()?;
        let mut inbound = Inbound::new(request.into_body(), MAX_AGENT_MESSAGE_BYTES);
        let hello = hello(&mut inbound).await?;
        let (org, generation, guard) = self.open(&peer, &hello).await?;
        let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES);
        let live = guard.orders.borrow().live;
        let welcome = wire::control_message::Kind::Welcome(wire::Welcome {
            generation,
            now_us: context.clock.now_us(),
            live,
            endpoints: Some(endpoints(context)),
            max_frames_in_flight: MAX_FRAMES_IN_FLIGHT,
        });
        // The queue was made a line ago and has room.
        let _ = outbound.try_send(Ok(wire::ControlMessage { kind: Some(welcome) }));
        context.events.publish(org, peer.server_id, EventKind::AgentOnline);
        context.events.publish(org, peer.server_id, EventKind::ServerChanged);
        let host = Host { org, server: peer.server_id, generation, not_after_us: peer.not_after_us, told_live: live };
        let stream = HostStream::new(context.clone(), (host, peer), inbound, outbound, guard);
        context.streams.spawn(async move {
            let _place = place;
            stream.run().await;
        });
        Ok(Outbound::new(messages))
    }
}

async fn hello(inbound: &mut Inbound) -> Result<wire::Hello, Status> {
    let first = timeout(HELLO_TIMEOUT, inbound.message())
        .await
        .map_err(|_| refusal(ErrorKind::Precondition, "hello_timeout", "the host did not say hello in time"))??;
    let Some(wire::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }) = first else {
        return Err(refusal(ErrorKind::Invalid, "hello_expected", "the first message of a stream is Hello"));
    };
    if hello.protocol != PROTOCOL {
        let detail = "this control plane speaks version 1 of the stream's rules";
        return Err(refusal(ErrorKind::Precondition, "protocol_not_supported", detail));
    }
    Ok(hello)
}

fn claim(peer: &PeerCertificate, hello: &wire::Hello) -> Result<SessionClaim, Status> {
    let texts = [&hello.agent_version, &hello.boot_id, &hello.machine_id_sha256];
    if texts.iter().any(|text| text.len() > MAX_CLAIM_BYTES || text.chars().any(char::is_control)) {
        return Err(status(&Error::invalid(
            "claims_malformed",
            "the host's version, boot id or machine id is not one",
        )));
    }
    Ok(SessionClaim {
        serial: peer.serial.clone(),
        server_id: peer.server_id,
        generation: hello.generation,
        machine_id_sha256: hello.machine_id_sha256.clone(),
        boot_id: hello.boot_id.clone(),
        agent_version: hello.agent_version.clone(),
        // A family of a newer agent is not one we could send commands of.
        allowed_families: hello.allowed_families.iter().filter_map(|word| word.parse::<Family>().ok()).collect(),
    })
}

fn withdrawn(outcome: SessionOutcome) -> Status {
    let (code, detail) = match outcome {
        SessionOutcome::Quarantined | SessionOutcome::Clone { .. } => (
            "quarantined",
            "two machines showed this identity: release the quarantine and join the right one with a new token",
        ),
        SessionOutcome::Retired => ("retired", "this server was deleted"),
        SessionOutcome::Revoked => ("revoked", "this identity was revoked: join the server again with a new token"),
        SessionOutcome::Unknown | SessionOutcome::Opened { .. } => {
            ("unknown_certificate", "this certificate is not on record: join the server again with a new token")
        }
    };
    refusal(ErrorKind::PermissionDenied, code, detail)
}
