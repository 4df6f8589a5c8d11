//! The signature under the end of each chain: who can write the database still can't make a chain of their own.

use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use zeroize::Zeroizing;

use super::Head;

const DOMAIN: &[u8] = b"muster-audit-head-v1\0";

/// The key that signs chains' ends.
pub struct AuditSigner {
    pair: Ed25519KeyPair,
}

/// What signatures of chains' ends are checked with: an Ed25519 public key of 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadVerifier {
    public_key: Vec<u8>,
}

/// The system's randomness failed, or a stored key is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit key can't be used")]
pub struct BadAuditKey;

impl std::fmt::Debug for AuditSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditSigner").finish_non_exhaustive()
    }
}

impl AuditSigner {
    /// A new private key, as PKCS#8.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate_pkcs8() -> Result<Zeroizing<Vec<u8>>, BadAuditKey> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| BadAuditKey)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads a private key made by [`Self::generate_pkcs8`].
    ///
    /// # Errors
    /// When the bytes are no such key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadAuditKey> {
        Ok(Self { pair: Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| BadAuditKey)? })
    }

    /// Signs the end of a chain.
    #[must_use]
    pub fn sign(&self, head: &Head) -> Vec<u8> {
        self.pair.sign(&signed_bytes(head)).as_ref().to_vec()
    }

    /// What its signatures are checked with.
    #[must_use]
    pub fn verifier(&self) -> HeadVerifier {
        HeadVerifier { public_key: self.pair.public_key().as_ref().to_vec() }
    }
}

impl HeadVerifier {
    /// A verifier with the public key given.
    #[must_use]
    pub fn new(public_key: Vec<u8>) -> Self {
        Self { public_key }
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Whether `signature` was made for `head`.
    #[must_use]
    pub fn accepts(&self, head: &Head, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public_key).verify(&signed_bytes(head), signature).is_ok()
    }
}

fn signed_bytes(head: &Head) -> Vec<u8> {
    [DOMAIN, head.org_id.to_string().as_bytes(), &head.seq.to_be_bytes(), &head.hash].concat()
}
