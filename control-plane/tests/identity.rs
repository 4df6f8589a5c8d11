//! Who gets an identity, who keeps it, and what becomes of those who lost it.

mod support;

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use muster::audit::{Action, Audit, Record};
use muster_shared::{
    id::ServerId,
    tls::{CaPin, JOIN_NAME, PeerCertificate, Trust, agents_name, client_config, crypto},
    wire,
};
use rcgen::SigningKey as _;
use rustls::client::ResolvesClientCert;
use support::{Agent, PATIENCE, Plane, TRUST_DOMAIN, channel_of, code, request};
use tokio::time::timeout;
use tonic::Code;

/// Notes whether a client certificate was asked for.
#[derive(Debug, Default)]
struct Asked(std::sync::atomic::AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

async fn is_asked_under(plane: &Plane, name: &str) -> (bool, Option<Vec<u8>>) {
    let asked = Arc::new(Asked::default());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(plane.ca()).expect("a root");
    let mut config = rustls::ClientConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_cert_resolver(asked.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = support::tls(plane.address, Arc::new(config), name).await.expect("a handshake");
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    (asked.0.load(std::sync::atomic::Ordering::SeqCst), alpn)
}

#[tokio::test]
async fn the_name_decides_who_is_asked_for_a_certificate() {
    let plane = Plane::start().await;
    for name in ["localhost", "127.0.0.1"] {
        assert_eq!(is_asked_under(&plane, name).await, (false, Some(b"h2".to_vec())), "{name}");
    }
    for name in [agents_name(TRUST_DOMAIN).as_str(), JOIN_NAME] {
        assert_eq!(is_asked_under(&plane, name).await, (true, Some(b"h2".to_vec())), "{name}");
    }
    plane.stopped().await;
}

#[tokio::test]
async fn a_joining_host_believes_the_pinned_authority_only() {
    let plane = Plane::start().await;
    let pin = std::fs::read_to_string(plane.folder.path().join("ca.sha256")).expect("the pin");
    let pinned = |pin: CaPin| Arc::new(client_config(Trust::Pin(pin), None).expect("a configuration"));
    let right = pinned(pin.parse().expect("a pin"));
    assert!(support::tls(plane.address, right, JOIN_NAME).await.is_ok());
    assert!(support::tls(plane.address, pinned(CaPin([7; 32])), JOIN_NAME).await.is_err());
    plane.stopped().await;
}

#[tokio::test]
async fn of_a_hundred_hosts_with_one_token_one_gets_in() {
    let plane = Plane::start().await;
    let token = plane.token().await;
    let outcomes = join_all((0..100).map(|_| {
        let (mut agent, token) = (Agent::new(&plane), token.clone());
        async move { agent.enroll(&token).await }
    }))
    .await;
    let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!((refused.code(), code(refused)), (Code::Unauthenticated, "token_used"), "{refused}");
    }
    let servers =
        plane.app.store.list_servers(plane.org, muster::servers::ServerFilter::default()).await.expect("read");
    assert_eq!(servers.len(), 1, "the losers left nothing behind");
    plane.stopped().await;
}

#[tokio::test]
async fn bad_tokens_and_bad_requests_are_told_apart() {
    let plane = Plane::start().await;
    let mut agent = Agent::new(&plane);
    for token in ["", "mjt_", "nonsense"] {
        let refused = agent.enroll(token).await.expect_err("refused");
        assert_eq!((refused.code(), code(&refused)), (Code::Unauthenticated, "token_unknown"));
    }
    let token = plane.token().await;
    let malformed = wire::EnrollRequest {
        join_token: token.clone(),
        csr_der: b"not a request".to_vec(),
        host: Some(agent.claims()),
        ..wire::EnrollRequest::default()
    };
    let refused = agent.enroll_with(malformed).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    agent.enroll(&token).await.expect("a bad request costs no token");
    plane.stopped().await;
}

#[tokio::test]
async fn a_machine_that_joins_again_stays_the_same_server_if_it_proves_it() {
    let plane = Plane::start().await;
    let first = plane.enrolled().await;
    let key = support::new_key();
    let csr_der = request(&key);
    let claim = |server_id: ServerId, signature: Vec<u8>, token: String| wire::EnrollRequest {
        join_token: token,
        csr_der: csr_der.clone(),
        host: Some(first.claims()),
        previous_server_id: server_id.to_string(),
        previous_key_signature: signature,
        previous_certificate_der: first.chain[0].to_vec(),
        ..wire::EnrollRequest::default()
    };
    let forged = support::new_key().sign(&csr_der).expect("signed");
    let mut thief = Agent::new(&plane);
    thief.enroll_with(claim(first.server(), forged, plane.token().await)).await.expect("a new server");
    assert_ne!(thief.server_id, first.server_id, "a stolen certificate without its key proves nothing");
    let mut again = first.clone();
    again.key = Arc::new(key);
    let signature = first.key.sign(&csr_der).expect("signed");
    again.enroll_with(claim(first.server(), signature, plane.token().await)).await.expect("enrolled again");
    assert_eq!(again.server_id, first.server_id);
    let mut old = first.clone();
    let refused = old.connect().await.err().expect("the old certificate is out");
    assert_eq!((refused.code(), code(&refused)), (Code::PermissionDenied, "revoked"));
    again.connect().await.expect("the new one is in");
    plane.stopped().await;
}

#[tokio::test]
async fn an_expired_certificate_renews_and_does_nothing_else() {
    let plane = Plane::start_with(|config| config.agent_certificate_ttl = Duration::from_secs(6)).await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("fresh");
    let ended = link.end().await;
    assert_eq!((ended.code(), code(&ended)), (Code::Unauthenticated, "certificate_expired"), "a stream ends with it");
    let refused = agent.connect().await.err().expect("expired");
    assert_eq!((refused.code(), code(&refused)), (Code::Unauthenticated, "certificate_expired"));
    let server = agent.server_id;
    agent.renew().await.expect("healed");
    assert_eq!(Some(PeerCertificate::parse(&agent.chain[0], TRUST_DOMAIN).expect("an identity").server_id), server);
    agent.connect().await.expect("back");
    plane.stopped().await;
}

#[tokio::test]
async fn revocation_cuts_the_stream_at_once_and_refuses_everything_after() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let now_us = plane.app.clock.now_us();
    plane.app.enrollment.revoke_agent(&plane.act(now_us), agent.server()).await.expect("revoked");
    let ended = timeout(PATIENCE, link.end()).await.expect("cut");
    assert_eq!((ended.code(), code(&ended)), (Code::PermissionDenied, "revoked"));
    let refused = agent.connect().await.err().expect("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(agent.renew().await.expect_err("refused").code(), Code::PermissionDenied);
    plane.stopped().await;
}

#[tokio::test]
async fn an_identity_withdrawn_by_another_process_is_cut_as_well() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let mut link = agent.connect().await.expect("connected");
    let other = muster::store::Store::open(&plane.app.config.database_url).await.expect("the same database");
    let now_us = plane.app.clock.now_us();
    Audit::open(&other, &plane.app.keyring, now_us).await.expect("the same key");
    let act = plane.act(now_us);
    let record = Record::new(&act, Action::AgentRevoked, agent.server(), "");
    assert!(other.revoke_agent(agent.server(), &record).await.expect("revoked"));
    let ended = timeout(PATIENCE, link.end()).await.expect("cut");
    assert_eq!(code(&ended), "revoked");
    other.close().await;
    plane.stopped().await;
}

#[tokio::test]
async fn a_resumed_tls_session_is_judged_anew() {
    let plane = Plane::start().await;
    let mut agent = plane.enrolled().await;
    let identity = (agent.chain.clone(), agent.private_key());
    let config = Arc::new(client_config(Trust::Roots(vec![plane.ca()]), Some(identity)).expect("a configuration"));
    let first = channel_of(plane.address, Arc::clone(&config)).await.expect("a full handshake");
    drop(agent.connect_over(first).await.expect("connected"));
    let probe =
        support::tls(plane.address, Arc::clone(&config), &agents_name(TRUST_DOMAIN)).await.expect("a handshake");
    assert_eq!(probe.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "or this shows nothing");
    drop(probe);
    let link = agent.connect_over(channel_of(plane.address, Arc::clone(&config)).await.expect("resumed")).await;
    drop(link.expect("a resumed session knows who it is"));
    let now_us = plane.app.clock.now_us();
    plane.app.enrollment.revoke_agent(&plane.act(now_us), agent.server()).await.expect("revoked");
    let resumed = channel_of(plane.address, config).await.expect("TLS still resumes");
    let refused = agent.connect_over(resumed).await.err().expect("refused");
    assert_eq!((refused.code(), code(&refused)), (Code::PermissionDenied, "revoked"));
    plane.stopped().await;
}

#[tokio::test]
async fn a_copied_disk_is_found_out_and_both_are_quarantined() {
    let plane = Plane::start().await;
    let mut original = plane.enrolled().await;
    drop(original.connect().await.expect("connected"));
    let mut copy = original.clone();
    let mut live = copy.connect().await.expect("the first of the two to come back");
    let found = original.connect().await.err().expect("found out");
    assert_eq!((found.code(), code(&found)), (Code::PermissionDenied, "quarantined"));
    let ended = live.end().await;
    assert_eq!((ended.code(), code(&ended)), (Code::PermissionDenied, "quarantined"));
    for agent in [&mut original, &mut copy] {
        assert_eq!(code(&agent.connect().await.err().expect("refused")), "quarantined");
        assert_eq!(agent.renew().await.expect_err("refused").code(), Code::PermissionDenied);
    }
    let now_us = plane.app.clock.now_us();
    plane.app.enrollment.release_quarantine(&plane.act(now_us), original.server()).await.expect("released");
    assert!(original.connect().await.is_err(), "identities given out before stay refused");
    let for_server = Some(original.server());
    let token = plane.token_like(muster::enrollment::NewJoinToken { for_server, ..Default::default() }).await;
    let mut rightful = Agent::new(&plane);
    rightful.enroll(&token).await.expect("joined again");
    assert_eq!(rightful.server_id, for_server);
    rightful.connect().await.expect("back");
    plane.stopped().await;
}

#[tokio::test]
async fn calls_without_a_certificate_get_as_far_as_enrolling() {
    use muster_shared::wire::enroll_service_client::EnrollServiceClient;
    let plane = Plane::start().await;
    let anonymous = support::channel(plane.address, &plane.ca(), None).await.expect("a handshake");
    let csr_der = request(&support::new_key());
    let refused = EnrollServiceClient::new(anonymous.clone())
        .renew(wire::RenewRequest { csr_der, ..wire::RenewRequest::default() })
        .await;
    assert_eq!(code(&refused.expect_err("refused")), "certificate_required");
    let hello = Agent::new(&plane).hello();
    let refused = support::Link::open(anonymous, hello).await.err().expect("refused");
    assert_eq!((refused.code(), code(&refused)), (Code::Unauthenticated, "certificate_required"));
    plane.stopped().await;
}

#[tokio::test]
async fn a_stranger_s_certificate_is_no_identity() {
    let (plane, elsewhere) = (Plane::start().await, Plane::start().await);
    let stranger = elsewhere.enrolled().await;
    let mut here = Agent { address: plane.address, ca: plane.ca(), ..stranger };
    assert!(here.connect().await.is_err(), "another authority's certificate");
    assert!(here.renew().await.is_err());
    plane.stopped().await;
    elsewhere.stopped().await;
}

#[tokio::test]
async fn every_identity_is_its_own() {
    let plane = Plane::start().await;
    let agents = join_all((0..8).map(|_| plane.enrolled())).await;
    let ids: HashSet<_> = agents.iter().map(Agent::server).collect();
    assert_eq!(ids.len(), agents.len());
    let chains: HashSet<_> = agents.iter().map(|agent| agent.chain[0].to_vec()).collect();
    assert_eq!(chains.len(), agents.len());
    timeout(PATIENCE, plane.stopped()).await.expect("stopped");
}
