//! Receipts: what an executor signs of a command's end, so that the record of it needs nobody's word but the host's.
//!
//! The key is the executor's own, root's alone, and never the link's: a compromised link can't sign. Its public half is
//! named by the host's certificate, so whoever believes the control plane's authority can check a receipt by itself.

use prost::Message as _;
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use zeroize::Zeroizing;

use crate::{
    command::CommandState,
    id::{CommandId, ServerId},
    sign::BadKey,
    wire,
};

const DOMAIN: &[u8] = b"muster-receipt-v1\0";
/// Largest receipt accepted, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 1024;
/// Length of a receipt key's public half, in bytes.
pub const RECEIPT_KEY_BYTES: usize = 32;
/// The certificate extension that names the receipt key: an octet string of [`RECEIPT_KEY_BYTES`]. Not critical.
pub const RECEIPT_KEY_OID: &[u64] = &[2, 25, 0x4d55_5354_4552_0001];

/// The public half of a receipt key: raw Ed25519.
pub type ReceiptKey = [u8; RECEIPT_KEY_BYTES];
/// A SHA-256.
pub type Sha256 = [u8; 32];

/// What a host says of how one command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub command_id: CommandId,
    pub server_id: ServerId,
    /// Of the envelope: what was asked.
    pub command_sha256: Sha256,
    pub state: CommandState,
    pub code: String,
    /// Of the result as it was sent.
    pub result_sha256: Option<Sha256>,
    /// By the host's clock, in microseconds; `None` for a command that never started.
    pub started_at_us: Option<i64>,
    /// By the host's clock, in microseconds.
    pub ended_at_us: i64,
    pub agent_version: String,
}

/// The executor's key for signing receipts.
pub struct ReceiptSigner(Ed25519KeyPair);

impl std::fmt::Debug for ReceiptSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiptSigner").field("public_key", &hex::encode(self.public_key())).finish()
    }
}

impl ReceiptSigner {
    /// A new private key, as PKCS#8.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate_pkcs8() -> Result<Zeroizing<Vec<u8>>, BadKey> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| BadKey)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads a private key made by [`Self::generate_pkcs8`].
    ///
    /// # Errors
    /// When the bytes are no such key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadKey> {
        Ok(Self(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| BadKey)?))
    }

    /// What receipts are verified with.
    #[must_use]
    pub fn public_key(&self) -> ReceiptKey {
        let mut key = [0; RECEIPT_KEY_BYTES];
        key.copy_from_slice(self.0.public_key().as_ref());
        key
    }

    /// Signs how a command ended. The same end is signed to the same bytes.
    #[must_use]
    pub fn sign(&self, receipt: &wire::Receipt) -> wire::SignedReceipt {
        let receipt = receipt.encode_to_vec();
        let signature = self.0.sign(&[DOMAIN, &receipt].concat()).as_ref().to_vec();
        wire::SignedReceipt { receipt, signature }
    }
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    #[error("the receipt's signature is not by the key of the host's certificate")]
    SignatureInvalid,
    #[error("the receipt can't be read")]
    Malformed,
}

/// What a host signed with the key whose public half is `key`.
///
/// # Errors
/// [`BadReceipt`]; the signature is judged before anything in the receipt is believed.
pub fn verify(signed: &wire::SignedReceipt, key: &ReceiptKey) -> Result<Receipt, BadReceipt> {
    if signed.receipt.len() > MAX_RECEIPT_BYTES {
        return Err(BadReceipt::Malformed);
    }
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&[DOMAIN, &signed.receipt].concat(), &signed.signature)
        .map_err(|_| BadReceipt::SignatureInvalid)?;
    let receipt = wire::Receipt::decode(signed.receipt.as_slice()).map_err(|_| BadReceipt::Malformed)?;
    let hash = |bytes: &[u8]| Sha256::try_from(bytes).map_err(|_| BadReceipt::Malformed);
    Ok(Receipt {
        command_id: receipt.command_id.parse().map_err(|_| BadReceipt::Malformed)?,
        server_id: receipt.server_id.parse().map_err(|_| BadReceipt::Malformed)?,
        command_sha256: hash(&receipt.command_sha256)?,
        state: CommandState::from(receipt.outcome()),
        result_sha256: (!receipt.result_sha256.is_empty()).then(|| hash(&receipt.result_sha256)).transpose()?,
        started_at_us: (receipt.started_at_us != 0).then_some(receipt.started_at_us),
        ended_at_us: receipt.ended_at_us,
        code: receipt.code,
        agent_version: receipt.agent_version,
    })
}

/// The SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The SHA-256 of a result's JSON as it travels; `None` without a result.
#[must_use]
pub fn result_sha256(result: Option<&wire::finished::Result>) -> Option<Sha256> {
    use wire::finished::Result as Wire;
    result.map(|result| match result {
        Wire::FactsJson(json) | Wire::PreflightJson(json) | Wire::RebootJson(json) | Wire::ChangeJson(json) => {
            sha256(json.as_bytes())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> wire::Receipt {
        wire::Receipt {
            command_id: CommandId::generate().to_string(),
            server_id: ServerId::generate().to_string(),
            command_sha256: sha256(b"envelope").to_vec(),
            outcome: wire::CommandOutcome::Succeeded.into(),
            code: "done".into(),
            result_sha256: Vec::new(),
            started_at_us: 1,
            ended_at_us: 2,
            agent_version: "1".into(),
        }
    }

    fn signer() -> ReceiptSigner {
        ReceiptSigner::from_pkcs8(&ReceiptSigner::generate_pkcs8().expect("randomness")).expect("a fresh key")
    }

    #[test]
    fn a_receipt_says_what_was_signed_and_nothing_else() {
        let (signer, receipt) = (signer(), receipt());
        let signed = signer.sign(&receipt);
        let read = verify(&signed, &signer.public_key()).expect("its own");
        assert_eq!(read.command_id.to_string(), receipt.command_id);
        assert_eq!((read.state, read.started_at_us, read.result_sha256), (CommandState::Succeeded, Some(1), None));
        assert_eq!(signer.sign(&receipt), signed, "the same end is signed to the same bytes");

        assert_eq!(verify(&signed, &self::signer().public_key()), Err(BadReceipt::SignatureInvalid));
        for at in [0, signed.receipt.len() / 2, signed.receipt.len() - 1] {
            let mut altered = signed.clone();
            altered.receipt[at] ^= 1;
            assert_eq!(verify(&altered, &signer.public_key()), Err(BadReceipt::SignatureInvalid));
        }
    }

    #[test]
    fn signed_nonsense_is_named() {
        let signer = signer();
        let nonsense = [
            wire::Receipt { command_id: "x".into(), ..receipt() },
            wire::Receipt { command_sha256: vec![1], ..receipt() },
            wire::Receipt { result_sha256: vec![1], ..receipt() },
            wire::Receipt { code: "x".repeat(MAX_RECEIPT_BYTES), ..receipt() },
        ];
        for receipt in nonsense {
            assert_eq!(verify(&signer.sign(&receipt), &signer.public_key()), Err(BadReceipt::Malformed));
        }
    }
}
