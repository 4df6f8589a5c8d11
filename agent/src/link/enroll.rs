//! Getting an identity, and keeping it: the key is made here and never leaves, only its CSR does.

use muster_shared::{
    id::{InvalidId, ServerId},
    receipt::ReceiptKey,
    tls::CaPin,
    wire::{self, enroll_service_client::EnrollServiceClient},
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use tonic::Code;
use zeroize::Zeroizing;

use super::dial::{DialError, Dialer};
use crate::state::Identity;

/// Why there is no (new) identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the control plane refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    #[error("a key could not be made or used")]
    Key(#[from] rcgen::Error),
    #[error("the saved key can't sign")]
    Signing,
    #[error("the control plane's answer lacks {0}")]
    Incomplete(&'static str),
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl EnrollError {
    /// The control plane's answer, if it was one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(status) => Some(status.code()),
            _ => None,
        }
    }
}

impl From<tonic::Status> for EnrollError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// What an enrolment gave.
#[derive(Debug)]
pub struct Enrolled {
    pub identity: Identity,
    pub command_key: wire::CommandKey,
    pub endpoints: wire::Endpoints,
}

/// Exchanges a join token for an identity. A `previous` one proves itself, so that the server keeps its id.
///
/// # Errors
/// [`EnrollError`]; the token is consumed only if the control plane answered with success.
pub async fn enroll(
    url: &str,
    pin: CaPin,
    join_token: &str,
    (host, receipt_key): (wire::HostClaims, Option<ReceiptKey>),
    previous: Option<&Identity>,
) -> Result<Enrolled, EnrollError> {
    let (key, csr_der) = new_key()?;
    let mut request = wire::EnrollRequest {
        join_token: join_token.to_owned(),
        csr_der,
        host: Some(host),
        receipt_key: receipt_key.map(Vec::from).unwrap_or_default(),
        ..Default::default()
    };
    if let Some(previous) = previous {
        request.previous_server_id = previous.server_id.to_string();
        request.previous_key_signature = sign(previous, &request.csr_der)?;
        request.previous_certificate_der = previous.chain.first().cloned().unwrap_or_default();
    }
    let dialer = Dialer::to_join(url, pin)?;
    let channel = dialer.dial(0).await?;
    let answer = client(channel).enroll(request).await?.into_inner();
    let server_id: ServerId = answer.server_id.parse()?;
    let signed = answer.identity.ok_or(EnrollError::Incomplete("the certificate"))?;
    Ok(Enrolled {
        identity: Identity::signed(server_id, answer.trust_domain, key, signed),
        command_key: answer.command_key.ok_or(EnrollError::Incomplete("the command key"))?,
        endpoints: dialer.complete(answer.endpoints.ok_or(EnrollError::Incomplete("the addresses"))?),
    })
}

/// Has a new certificate signed for the same identity; the old one may have expired less than 30 days ago.
///
/// # Errors
/// [`EnrollError`]; the old identity then still stands.
pub async fn renew(
    dialer: &Dialer,
    attempt: usize,
    identity: &Identity,
    receipt_key: Vec<u8>,
) -> Result<(Identity, Option<wire::Endpoints>), EnrollError> {
    let (key, csr_der) = new_key()?;
    let channel = dialer.dial(attempt).await?;
    let answer = client(channel).renew(wire::RenewRequest { csr_der, receipt_key }).await?.into_inner();
    let signed = answer.identity.ok_or(EnrollError::Incomplete("the certificate"))?;
    let renewed = Identity::signed(identity.server_id, identity.trust_domain.clone(), key, signed);
    Ok((renewed, answer.endpoints.map(|endpoints| dialer.complete(endpoints))))
}

fn client(channel: tonic::transport::Channel) -> EnrollServiceClient<tonic::transport::Channel> {
    EnrollServiceClient::new(channel).max_decoding_message_size(super::dial::MAX_MESSAGE_BYTES)
}

/// A new P-256 key, and a request that a certificate be made for it. What the certificate says is the CA's to decide.
fn new_key() -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), EnrollError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key)?;
    Ok((Zeroizing::new(key.serialize_der()), csr.der().to_vec()))
}

fn sign(identity: &Identity, message: &[u8]) -> Result<Vec<u8>, EnrollError> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &identity.key, &random)
        .map_err(|_| EnrollError::Signing)?;
    let signature = key.sign(&random, message).map_err(|_| EnrollError::Signing)?;
    Ok(signature.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_ASN1, KeyPair as _, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_new_key_signs_for_its_successor() {
        let (key, csr) = new_key().expect("made");
        let identity = Identity {
            server_id: ServerId::generate(),
            trust_domain: "muster.test".into(),
            key,
            chain: Vec::new(),
            not_before_us: 0,
            not_after_us: 1,
        };
        let signature = sign(&identity, &csr).expect("signed");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &identity.key, &SystemRandom::new());
        let public =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.expect("a key").public_key().as_ref().to_vec());
        assert!(public.verify(&csr, &signature).is_ok());
        assert!(public.verify(b"another", &signature).is_err());
    }
}
