//! TLS set-up both sides share: whom to believe, and what a server's identity looks like in a certificate.

use std::sync::Arc;

use ring::digest;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring as provider},
    server::VerifierBuilderError,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::{extensions::GeneralName, oid_registry::Oid, prelude::FromDer};

use crate::{
    id::ServerId,
    receipt::{RECEIPT_KEY_OID, ReceiptKey},
};

/// The one protocol agents speak.
pub const ALPN_H2: &[u8] = b"h2";

/// SHA-256 of a CA certificate's DER: what a join line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaPin(pub [u8; 32]);

impl CaPin {
    /// The pin of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(pin)
    }
}

impl std::fmt::Display for CaPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A text that is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a CA pin is 64 hexadecimal digits, the SHA-256 of the CA certificate")]
pub struct InvalidPin;

impl std::str::FromStr for CaPin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text.trim(), &mut pin).map_err(|_| InvalidPin)?;
        Ok(Self(pin))
    }
}

/// Whom a client believes.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The CA with this hash, wherever in the presented chain it stands.
    Pin(CaPin),
    /// These CAs, and the others never.
    Roots(Vec<CertificateDer<'static>>),
}

/// The name a host dials to enroll, before it knows the trust domain. The control plane routes it as it routes
/// [`agents_name`], and its agents' certificate carries both names.
pub const JOIN_NAME: &str = "agents.join.muster.internal";

/// Which name agents dial, whatever the address: `agents.<trust-domain>`.
#[must_use]
pub fn agents_name(trust_domain: &str) -> String {
    format!("agents.{trust_domain}")
}

/// The SPIFFE ID of a server: `spiffe://<trust-domain>/server/<id>`.
#[must_use]
pub fn spiffe_id(trust_domain: &str, server: ServerId) -> String {
    format!("spiffe://{trust_domain}/server/{server}")
}

/// What a peer's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    pub server_id: ServerId,
    /// Serial number, lower-case hex.
    pub serial: String,
    pub not_before_us: i64,
    pub not_after_us: i64,
    /// Whose signatures under receipts are this server's; `None` where the certificate names no key.
    pub receipt_key: Option<ReceiptKey>,
    /// All of it.
    pub der: CertificateDer<'static>,
}

/// A certificate that identifies no server of this trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate names no server of this trust domain")]
pub struct NoIdentity;

impl PeerCertificate {
    /// Reads the one SPIFFE ID in a certificate that the TLS layer has verified already.
    ///
    /// # Errors
    /// [`NoIdentity`] unless there is exactly one URI name and it is a server of `trust_domain`.
    pub fn parse(der: &CertificateDer<'_>, trust_domain: &str) -> Result<Self, NoIdentity> {
        Self::parse_any(der).and_then(|(found, peer)| if found == trust_domain { Ok(peer) } else { Err(NoIdentity) })
    }

    /// Reads the one SPIFFE ID in a certificate, and in which trust domain it is.
    ///
    /// # Errors
    /// [`NoIdentity`] unless there is exactly one URI name and it is a server's.
    pub fn parse_any(der: &CertificateDer<'_>) -> Result<(String, Self), NoIdentity> {
        let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).map_err(|_| NoIdentity)?;
        let names = certificate.subject_alternative_name().map_err(|_| NoIdentity)?.ok_or(NoIdentity)?;
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(NoIdentity) };
        let (domain, id) =
            uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once("/server/")).ok_or(NoIdentity)?;
        let peer = Self {
            server_id: id.parse().map_err(|_| NoIdentity)?,
            serial: hex::encode(certificate.raw_serial()),
            not_before_us: certificate.validity().not_before.timestamp().saturating_mul(1_000_000),
            not_after_us: certificate.validity().not_after.timestamp().saturating_mul(1_000_000),
            receipt_key: receipt_key(&certificate),
            der: der.clone().into_owned(),
        };
        Ok((domain.to_owned(), peer))
    }
}

/// The key in the extension [`RECEIPT_KEY_OID`], a DER octet string.
fn receipt_key(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<ReceiptKey> {
    let oid = Oid::from(RECEIPT_KEY_OID).ok()?;
    let extension = certificate.get_extension_unique(&oid).ok()??;
    extension.value.strip_prefix(&OCTETS_OF_KEY)?.try_into().ok()
}

/// How a DER octet string of a receipt key's length begins.
const OCTETS_OF_KEY: [u8; 2] = [0x04, 32];

/// A receipt key as the content of the extension [`RECEIPT_KEY_OID`].
#[must_use]
pub fn receipt_key_extension(key: &ReceiptKey) -> Vec<u8> {
    [&OCTETS_OF_KEY[..], key].concat()
}

/// The cryptography everything here uses.
#[must_use]
pub fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

/// A client that believes `trust` only, presents `identity` if it has one, and speaks HTTP/2.
///
/// # Errors
/// When the identity's key does not fit, or no root is usable.
pub fn client_config(
    trust: Trust,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, Error> {
    let crypto = crypto();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto)).with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Roots(certificates) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                roots.add(certificate)?;
            }
            builder.with_root_certificates(roots)
        }
        Trust::Pin(pin) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(PinnedVerifier { pin, crypto }))
        }
    };
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Ok(config)
}

/// Finds the pinned CA in what the server presented, then verifies the chain against it in full: name, dates, usage.
#[derive(Debug)]
struct PinnedVerifier {
    pin: CaPin,
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates
            .iter()
            .find(|certificate| CaPin::of(certificate) == self.pin)
            .ok_or_else(|| Error::General("the server's certificate is not signed by the pinned CA".into()))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.crypto))
            .build()
            .map_err(|error: VerifierBuilderError| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
