//! How hosts get an identity, keep it, and lose it.
//!
//! A join token makes one host one server; consuming it, making the server and recording the certificate are one
//! transaction. A renewal needs a certificate that is on record, not revoked, and expired less than
//! [`EXPIRED_GRACE`](crate::identity::open::EXPIRED_GRACE) ago, which the TLS layer has judged. Withdrawing an identity
//! is committed first, then the stream is cut.

mod tokens;

pub use tokens::{DEFAULT_TTL_SECONDS, JOIN_TOKEN_PREFIX, MAX_TTL_SECONDS, MIN_TTL_SECONDS, NewJoinToken};

use std::{sync::Arc, time::Duration};

use muster_shared::{
    id::{OrgId, ServerId},
    receipt::ReceiptKey,
    tls::PeerCertificate,
};
use ring::digest;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    access::{Act, Origin, Token},
    audit::{Action, Record},
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    identity::{CertificateAuthority, IdentityError, InvalidRequest, IssuedCertificate, PublicKey, verify_possession},
    servers::{HostName, Servers},
    sessions::{Cut, Sessions},
    store::{self, Enrolled, Enrolment, Store},
};

/// Longest text accepted for an agent's version and a machine id's hash, in bytes.
pub const MAX_CLAIM_BYTES: usize = 128;

type Result<T> = std::result::Result<T, Error>;

/// What a host says of itself and shows when it enrolls. Claims, until something here proves them.
#[derive(Debug, Clone, Default)]
pub struct HostClaims {
    pub hostname: String,
    pub machine_id_sha256: String,
    pub agent_version: String,
    /// What the host will sign receipts with.
    pub receipt_key: Option<ReceiptKey>,
}

/// The identity a machine says it has already: a certificate of ours, and its key's signature over the new request.
#[derive(Debug, Clone)]
pub struct PreviousIdentity {
    pub server_id: ServerId,
    pub certificate: CertificateDer<'static>,
    pub signature: Vec<u8>,
}

/// A host's new identity.
#[derive(Debug, Clone)]
pub struct NewIdentity {
    pub org_id: OrgId,
    pub server_id: ServerId,
    pub certificate: IssuedCertificate,
}

/// Enrolling, renewing, withdrawing. Clones share everything.
#[derive(Debug, Clone)]
pub struct Enrollment {
    store: Store,
    servers: Servers,
    authority: Arc<CertificateAuthority>,
    sessions: Sessions,
    events: Events,
    certificate_ttl: Duration,
}

impl Enrollment {
    /// Identities signed by `authority`, each for `certificate_ttl`.
    #[must_use]
    pub fn new(
        store: Store,
        servers: Servers,
        authority: Arc<CertificateAuthority>,
        (sessions, events): (Sessions, Events),
        certificate_ttl: Duration,
    ) -> Self {
        Self { store, servers, authority, sessions, events, certificate_ttl }
    }

    /// Consumes a join token and signs the host's key for the server it becomes.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a token that is unknown, used, expired or revoked, with the reason in
    /// `code`; [`ErrorKind::Invalid`] for a bad request; [`ErrorKind::Precondition`] for a quarantined or deleted server.
    pub async fn enroll(
        &self,
        join_token: &str,
        csr_der: &[u8],
        claims: &HostClaims,
        previous: Option<&PreviousIdentity>,
        origin: Origin,
        now_us: i64,
    ) -> Result<NewIdentity> {
        let key = PublicKey::from_request(csr_der).map_err(bad_request)?;
        check_claims(claims)?;
        let token = Token::parse(join_token, JOIN_TOKEN_PREFIX)
            .ok_or_else(|| token_refused("token_unknown", "the join token is not complete: copy the whole line"))?;
        let enrolment = Enrolment {
            token: token.hash(),
            // A name that no record may hold is only a claim less.
            hostname: claims.hostname.parse::<HostName>().ok(),
            machine_id_sha256: claims.machine_id_sha256.clone(),
            agent_version: claims.agent_version.clone(),
            previous_server: self.proven(previous, csr_der).await?,
            origin,
        };
        let sign = |_: OrgId, server: ServerId| {
            let issued = self.issue(&key, server, claims.receipt_key.as_ref(), now_us)?;
            Ok::<_, IdentityError>((on_record(&issued, &key), issued))
        };
        let joined = match self.store.enroll(&enrolment, sign, now_us).await? {
            Enrolled::Consumed(joined) => joined,
            Enrolled::NotSigned(error) => return Err(Error::internal(error)),
            refusal => return Err(refused(&refusal)),
        };
        // The machine that held the identity before, if it is another one, is out from this commit on.
        self.sessions.cut(joined.server_id, Cut::Revoked);
        let kind = if joined.is_new_server { EventKind::ServerCreated } else { EventKind::ServerChanged };
        self.events.publish(joined.org_id, joined.server_id, kind);
        metrics::counter!("muster_enrollments_total").increment(1);
        tracing::info!(server = %joined.server_id, token = %joined.token_id, new = joined.is_new_server, "host enrolled");
        Ok(NewIdentity { org_id: joined.org_id, server_id: joined.server_id, certificate: joined.made })
    }

    /// Signs a new key for the identity in the peer's certificate. The receipt key goes on as it is in there; `receipt_key`
    /// counts only where there is none yet, since who renews is the link and who signs receipts is not.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for an identity that is revoked, retired or quarantined;
    /// [`ErrorKind::Invalid`] for a bad request.
    pub async fn renew(
        &self,
        peer: &PeerCertificate,
        csr_der: &[u8],
        receipt_key: Option<ReceiptKey>,
        now_us: i64,
    ) -> Result<NewIdentity> {
        let key = PublicKey::from_request(csr_der).map_err(bad_request)?;
        let withdrawn = || Error::new(ErrorKind::PermissionDenied, "identity_withdrawn", IDENTITY_WITHDRAWN);
        let standing = self.store.certificate(&peer.serial).await?.ok_or_else(withdrawn)?;
        if standing.server_id != peer.server_id {
            return Err(withdrawn());
        }
        let receipt_key = peer.receipt_key.or(receipt_key);
        let issued = self.issue(&key, peer.server_id, receipt_key.as_ref(), now_us).map_err(Error::internal)?;
        let renewed = on_record(&issued, &key);
        if !self.store.renew_certificate(standing.org_id, peer.server_id, &peer.serial, &renewed, now_us).await? {
            return Err(withdrawn());
        }
        metrics::counter!("muster_renewals_total").increment(1);
        Ok(NewIdentity { org_id: standing.org_id, server_id: peer.server_id, certificate: issued })
    }

    fn issue(
        &self,
        key: &PublicKey,
        server: ServerId,
        receipt_key: Option<&ReceiptKey>,
        now_us: i64,
    ) -> std::result::Result<IssuedCertificate, IdentityError> {
        self.authority.issue_agent(key, server, receipt_key, self.certificate_ttl, now_us)
    }

    /// Withdraws the agent's identity and cuts its stream.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn revoke_agent(&self, act: &Act, server: ServerId) -> Result<()> {
        let org = act.org_id;
        let before = self.servers.get(org, server).await?;
        let record = Record::new(act, Action::AgentRevoked, server, before.name);
        if !self.store.revoke_agent(server, &record).await? {
            return Err(Error::not_found("server"));
        }
        self.sessions.cut(server, Cut::Revoked);
        self.events.publish(org, server, EventKind::ServerChanged);
        tracing::info!(%server, "agent revoked");
        Ok(())
    }

    /// Lets one machine of a cloned pair enroll again; every identity given out before stays refused.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] for a server that is not quarantined.
    pub async fn release_quarantine(&self, act: &Act, server: ServerId) -> Result<()> {
        let org = act.org_id;
        let before = self.servers.get(org, server).await?;
        let record = Record::new(act, Action::AgentQuarantineReleased, server, before.name);
        if !self.store.release_quarantine(server, &record).await? {
            let detail = "the server is not quarantined";
            return Err(Error::new(ErrorKind::Precondition, "not_quarantined", detail));
        }
        self.events.publish(org, server, EventKind::ServerChanged);
        tracing::info!(%server, "quarantine released");
        Ok(())
    }

    /// The server a machine proved to be; `None` where it claims nothing or proves nothing. A proof that fails costs
    /// nothing: the host becomes a new server.
    async fn proven(&self, previous: Option<&PreviousIdentity>, csr_der: &[u8]) -> Result<Option<ServerId>> {
        let Some(previous) = previous else { return Ok(None) };
        let Ok(certificate) = PeerCertificate::parse(&previous.certificate, self.authority.trust_domain()) else {
            return Ok(None);
        };
        let is_ours = self.authority.has_signed(&previous.certificate, at(certificate.not_before_us));
        let is_theirs = verify_possession(&previous.certificate, csr_der, &previous.signature).is_ok();
        if !is_ours || !is_theirs || certificate.server_id != previous.server_id {
            metrics::counter!("muster_enrollment_unproven_total").increment(1);
            return Ok(None);
        }
        let standing = self.store.certificate(&certificate.serial).await?;
        let is_good =
            standing.is_some_and(|standing| standing.server_id == certificate.server_id && standing.is_good());
        Ok(is_good.then_some(certificate.server_id))
    }
}

const IDENTITY_WITHDRAWN: &str = "this identity was withdrawn: join the server again with a new token";

fn at(us: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(us).unwrap_or(0)))
}

fn on_record(issued: &IssuedCertificate, key: &PublicKey) -> store::IssuedCertificate {
    use rcgen::PublicKeyData as _;
    let mut public_key_sha256 = [0; 32];
    public_key_sha256.copy_from_slice(digest::digest(&digest::SHA256, &key.subject_public_key_info()).as_ref());
    store::IssuedCertificate {
        serial: issued.serial.clone(),
        public_key_sha256,
        not_before_us: issued.not_before_us,
        not_after_us: issued.not_after_us,
    }
}

fn check_claims(claims: &HostClaims) -> Result<()> {
    let fits = |text: &str| text.len() <= MAX_CLAIM_BYTES && !text.chars().any(char::is_control);
    if fits(&claims.machine_id_sha256) && fits(&claims.agent_version) {
        return Ok(());
    }
    Err(Error::invalid("claims_malformed", "the host's version or machine id is not one"))
}

fn bad_request(error: InvalidRequest) -> Error {
    Error::invalid("csr_invalid", error.to_string())
}

fn token_refused(code: &'static str, detail: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, code, detail)
}

fn refused<T, E>(refusal: &Enrolled<T, E>) -> Error {
    let precondition = |code, detail| Error::new(ErrorKind::Precondition, code, detail);
    match refusal {
        Enrolled::AlreadyUsed => token_refused("token_used", "the join token was used already: make a new one"),
        Enrolled::Expired => token_refused("token_expired", "the join token has expired: make a new one"),
        Enrolled::Revoked => token_refused("token_revoked", "the join token was revoked: make a new one"),
        Enrolled::Quarantined => {
            precondition("quarantined", "the server is quarantined: release it first, then join with a new token")
        }
        Enrolled::ServerGone => precondition("server_gone", "the server this token is for was deleted"),
        Enrolled::Unknown | Enrolled::Consumed(_) | Enrolled::NotSigned(_) => {
            token_refused("token_unknown", "the join token is not known here: is this the right control plane?")
        }
    }
}
