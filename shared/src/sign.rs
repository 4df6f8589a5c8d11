//! Signed commands: Ed25519 over a domain-separated envelope.
//!
//! The control plane signs; the executor verifies. What is verified is the very bytes that are then parsed, so no
//! second encoding can differ from the one signed.

use prost::Message as _;
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use zeroize::Zeroizing;

use crate::{
    command::{Envelope, InvalidEnvelope, MAX_CLOCK_SKEW_US},
    id::ServerId,
    wire,
};

const DOMAIN: &[u8] = b"muster-command-v1\0";
/// Largest envelope accepted, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 256 * 1024;

/// The control plane's key for signing commands.
pub struct CommandSigner {
    key_id: String,
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for CommandSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandSigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The system's randomness failed, or a stored key is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command key can't be used")]
pub struct BadKey;

impl CommandSigner {
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
    pub fn from_pkcs8(key_id: impl Into<String>, pkcs8: &[u8]) -> Result<Self, BadKey> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| BadKey)?;
        Ok(Self { key_id: key_id.into(), pair })
    }

    /// What hosts verify with.
    #[must_use]
    pub fn public_key(&self) -> wire::CommandKey {
        wire::CommandKey { key_id: self.key_id.clone(), public_key: self.pair.public_key().as_ref().to_vec() }
    }

    /// Signs `envelope` for its host.
    #[must_use]
    pub fn sign(&self, envelope: &Envelope) -> wire::SignedCommand {
        let envelope = wire::CommandEnvelope::from(envelope).encode_to_vec();
        let signature = self.pair.sign(&with_domain(&envelope)).as_ref().to_vec();
        wire::SignedCommand { envelope, signature, key_id: self.key_id.clone() }
    }
}

/// Why a command was not accepted. Each refusal has one word in [`Refusal::code`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the command is signed with key {0:?}, which this host does not know")]
    UnknownKey(String),
    #[error("the command's signature does not match")]
    SignatureInvalid,
    #[error("the command is larger than {MAX_ENVELOPE_BYTES} bytes")]
    TooLarge,
    #[error("the command can't be read")]
    Malformed(#[source] InvalidEnvelope),
    #[error("the command can't be decoded")]
    Undecodable,
    #[error("the command is for another server")]
    WrongHost,
    #[error("the command expired before it reached this host")]
    Expired,
    #[error("the command is dated in the future: the clocks differ by more than a minute")]
    NotYetValid,
}

impl Refusal {
    /// The refusal's word on the wire.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey(_) => "unknown_key",
            Self::SignatureInvalid => "signature_invalid",
            Self::TooLarge => "too_large",
            Self::Malformed(_) | Self::Undecodable => "malformed",
            Self::WrongHost => "wrong_host",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }
}

/// Accepts a command only if a known key signed it, it is for `server_id` and it is fresh at `now_us`.
/// Whether it was seen before and whether policy allows it is the journal's and the policy's to say.
///
/// # Errors
/// The first refusal that applies; the signature is judged before anything in the envelope is believed.
pub fn verify(
    command: &wire::SignedCommand,
    keys: &[wire::CommandKey],
    server_id: ServerId,
    now_us: i64,
) -> Result<Envelope, Refusal> {
    if command.envelope.len() > MAX_ENVELOPE_BYTES {
        return Err(Refusal::TooLarge);
    }
    let key = keys
        .iter()
        .find(|key| key.key_id == command.key_id)
        .ok_or_else(|| Refusal::UnknownKey(command.key_id.chars().take(64).collect()))?;
    UnparsedPublicKey::new(&ED25519, &key.public_key)
        .verify(&with_domain(&command.envelope), &command.signature)
        .map_err(|_| Refusal::SignatureInvalid)?;
    let envelope = wire::CommandEnvelope::decode(command.envelope.as_slice()).map_err(|_| Refusal::Undecodable)?;
    let envelope = Envelope::try_from(envelope).map_err(Refusal::Malformed)?;
    if envelope.server_id != server_id {
        return Err(Refusal::WrongHost);
    }
    if envelope.expires_at_us <= now_us {
        return Err(Refusal::Expired);
    }
    if envelope.issued_at_us > now_us.saturating_add(MAX_CLOCK_SKEW_US) {
        return Err(Refusal::NotYetValid);
    }
    Ok(envelope)
}

fn with_domain(envelope: &[u8]) -> Vec<u8> {
    [DOMAIN, envelope].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::CommandBody, id::CommandId};

    const NOW_US: i64 = 1_000_000_000_000;

    fn signer() -> CommandSigner {
        let key = CommandSigner::generate_pkcs8().expect("randomness");
        CommandSigner::from_pkcs8("k1", &key).expect("a fresh key")
    }

    fn envelope(server_id: ServerId) -> Envelope {
        Envelope {
            command_id: CommandId::generate(),
            server_id,
            issued_at_us: NOW_US,
            expires_at_us: NOW_US + 60_000_000,
            body: CommandBody::RefreshFacts,
        }
    }

    #[test]
    fn a_true_command_is_accepted() {
        let (signer, server) = (signer(), ServerId::generate());
        let envelope = envelope(server);
        let command = signer.sign(&envelope);
        assert_eq!(verify(&command, &[signer.public_key()], server, NOW_US + 1), Ok(envelope));
    }

    #[test]
    fn every_flaw_is_named() {
        let (signer, server) = (signer(), ServerId::generate());
        let keys = [signer.public_key()];
        let good = signer.sign(&envelope(server));
        let code = |command: &wire::SignedCommand, server, now| {
            verify(command, &keys, server, now).expect_err("refused").code()
        };
        let mut unsigned = good.clone();
        unsigned.signature.clear();
        assert_eq!(code(&unsigned, server, NOW_US), "signature_invalid");
        let mut altered = good.clone();
        altered.envelope[3] ^= 1;
        assert_eq!(code(&altered, server, NOW_US), "signature_invalid");
        let mut stranger = good.clone();
        stranger.key_id = "k2".into();
        assert_eq!(code(&stranger, server, NOW_US), "unknown_key");
        assert_eq!(code(&good, ServerId::generate(), NOW_US), "wrong_host");
        assert_eq!(code(&good, server, NOW_US + 60_000_000), "expired");
        assert_eq!(code(&good, server, NOW_US - MAX_CLOCK_SKEW_US - 1), "not_yet_valid");
        let other = self::signer().sign(&envelope(server));
        assert_eq!(code(&other, server, NOW_US), "signature_invalid");
    }
}
