//! What a host sends to be signed: its public key, and proof that it has the private one.

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::CertificateDer;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

/// Largest certificate request accepted, in bytes; one of ours has a few hundred.
pub(super) const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// A request that isn't signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error("the certificate request can't be read")]
    Malformed,
    #[error("the certificate request's key is neither ECDSA P-256 nor Ed25519")]
    Key,
    #[error("the certificate request is not signed by its own key")]
    Signature,
}

/// A public key whose owner has shown the private one.
#[derive(Debug, Clone)]
pub struct PublicKey(SubjectPublicKeyInfo);

impl PublicKey {
    /// Reads a PKCS#10 request and takes nothing from it but its key.
    ///
    /// # Errors
    /// [`InvalidRequest`].
    pub fn from_request(der: &[u8]) -> Result<Self, InvalidRequest> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(InvalidRequest::Malformed);
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| InvalidRequest::Malformed)?;
        if !rest.is_empty() {
            return Err(InvalidRequest::Malformed);
        }
        let info = &request.certification_request_info;
        let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| InvalidRequest::Key)?;
        verify(&key, info.raw, &request.signature_value.data)?;
        Ok(Self(key))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Whether the key in `certificate` signed `message`: a host's proof that it still has the identity it had.
///
/// # Errors
/// [`InvalidRequest`].
pub fn verify_possession(
    certificate: &CertificateDer<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), InvalidRequest> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| InvalidRequest::Malformed)?;
    let key = SubjectPublicKeyInfo::from_der(parsed.public_key().raw).map_err(|_| InvalidRequest::Key)?;
    verify(&key, message, signature)
}

fn verify(key: &SubjectPublicKeyInfo, message: &[u8], signature: &[u8]) -> Result<(), InvalidRequest> {
    let algorithm: &'static dyn VerificationAlgorithm = if key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 {
        &ECDSA_P256_SHA256_ASN1
    } else if key.algorithm() == &rcgen::PKCS_ED25519 {
        &ED25519
    } else {
        return Err(InvalidRequest::Key);
    };
    UnparsedPublicKey::new(algorithm, key.der_bytes()).verify(message, signature).map_err(|_| InvalidRequest::Signature)
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};

    use super::*;

    pub(in crate::identity) fn agent_key() -> KeyPair {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("randomness")
    }

    pub(in crate::identity) fn csr(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        change(&mut params);
        params.serialize_request(key).expect("a request").der().to_vec()
    }

    /// A host's request.
    pub(crate) fn test_request() -> Vec<u8> {
        csr(&agent_key(), |_| {})
    }

    #[test]
    fn no_altered_request_gets_another_key_signed() {
        let good = csr(&agent_key(), |_| {});
        let key = PublicKey::from_request(&good).expect("a good request");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            // The outer algorithm's name is not part of what is signed, and not believed either.
            let accepted = PublicKey::from_request(&bad);
            assert!(accepted.is_err() || accepted.is_ok_and(|same| same.der_bytes() == key.der_bytes()), "byte {at}");
        }
        let other = csr(&agent_key(), |_| {});
        let spliced = [&good[..good.len() - 60], &other[other.len() - 60..]].concat();
        assert!(PublicKey::from_request(&spliced).is_err());
        assert_eq!(PublicKey::from_request(&vec![0; MAX_REQUEST_BYTES + 1]).err(), Some(InvalidRequest::Malformed));
    }

    #[test]
    fn possession_is_proven_by_the_certificates_key_only() {
        let (key, other) = (agent_key(), agent_key());
        let certificate = CertificateParams::default().self_signed(&key).expect("signed");
        let by = |key: &KeyPair| key.sign(b"the request").expect("signed");
        assert!(verify_possession(certificate.der(), b"the request", &by(&key)).is_ok());
        assert!(verify_possession(certificate.der(), b"another request", &by(&key)).is_err());
        assert!(verify_possession(certificate.der(), b"the request", &by(&other)).is_err());
    }
}
