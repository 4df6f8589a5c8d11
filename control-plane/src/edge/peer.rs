//! Who is at the other end, by its certificate and nothing else.

use std::{net::SocketAddr, sync::Arc};

use muster_shared::tls::{PeerCertificate, crypto};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::identity::open::EXPIRED_GRACE;

/// A connection's other end, as every request on it sees it.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whether it came through the TLS door.
    pub over_tls: bool,
    /// On the agents' name only; verified, but perhaps expired: see [`EXPIRED_GRACE`].
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// Verifies client certificates against the internal CA, and lets those through that expired less than
/// [`EXPIRED_GRACE`] ago: a host that was off for a while must get as far as renewing. What an expired certificate may
/// do is decided per call; whether it was revoked, too.
#[derive(Debug)]
pub(super) struct AgentVerifier {
    strict: Arc<dyn ClientCertVerifier>,
}

impl AgentVerifier {
    pub(super) fn new(authority: &CertificateDer<'static>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto())
            .allow_unauthenticated()
            .build()
            .map_err(|error: VerifierBuilderError| Error::General(error.to_string()))?;
        Ok(Self { strict })
    }
}

impl ClientCertVerifier for AgentVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.strict.verify_client_cert(end_entity, intermediates, now);
        let Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) = verdict else {
            return verdict;
        };
        if now.as_secs().saturating_sub(not_after.as_secs()) >= EXPIRED_GRACE.as_secs() {
            return verdict;
        }
        // Everything but the date is judged as strictly, at the last moment the certificate was valid.
        self.strict.verify_client_cert(end_entity, intermediates, not_after)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}
