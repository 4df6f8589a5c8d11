//! Reads private keys as people paste them.

use russh::keys::{Algorithm, Error as KeysError, PrivateKey, decode_secret_key, ssh_key};
use secrecy::{ExposeSecret, SecretString};

use super::error::KeyProblem;

/// Longest key text looked at, in bytes: an RSA key of 16,384 bits needs about 13,000.
pub const MAX_KEY_BYTES: usize = 32 * 1024;

/// Reads a private key in OpenSSH, PKCS#1, SEC 1 or PKCS#8 form. Deriving the key of an encrypted one takes tens to
/// hundreds of milliseconds of CPU by design, so this runs where blocking is allowed.
///
/// # Errors
/// The [`KeyProblem`] in the caller's terms; never any part of the key.
pub fn read_private_key(pem: &SecretString, passphrase: Option<&SecretString>) -> Result<PrivateKey, KeyProblem> {
    let pem = pem.expose_secret();
    if pem.len() > MAX_KEY_BYTES {
        return Err(KeyProblem::UnknownFormat);
    }
    let text = SecretString::from(pem.lines().map(str::trim).collect::<Vec<_>>().join("\n"));
    let text = text.expose_secret().trim();
    let armour = Armour::of(text)?;
    let passphrase =
        passphrase.map(|passphrase| passphrase.expose_secret()).filter(|passphrase| !passphrase.is_empty());
    if armour == Armour::Encrypted && passphrase.is_none() {
        return Err(KeyProblem::PassphraseMissing);
    }
    // A passphrase given for a key that has none would make the PKCS#8 reader look for an envelope that isn't there.
    let passphrase = passphrase.filter(|_| armour != Armour::Plain);
    let key = decode_secret_key(text, passphrase).map_err(|error| problem(&error, passphrase.is_some()))?;
    supported(key)
}

/// What the lines around the base64 say of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armour {
    Plain,
    Encrypted,
    /// OpenSSH's own format says inside whether it is encrypted.
    OpenSsh,
}

impl Armour {
    fn of(text: &str) -> Result<Self, KeyProblem> {
        let first = text.lines().next().unwrap_or_default();
        match first {
            "-----BEGIN OPENSSH PRIVATE KEY-----" => Ok(Self::OpenSsh),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----" => Ok(Self::Encrypted),
            "-----BEGIN PRIVATE KEY-----" | "-----BEGIN RSA PRIVATE KEY-----" | "-----BEGIN EC PRIVATE KEY-----" => {
                Ok(if text.contains("Proc-Type: 4,ENCRYPTED") { Self::Encrypted } else { Self::Plain })
            }
            "-----BEGIN DSA PRIVATE KEY-----" => Err(KeyProblem::UnsupportedAlgorithm("ssh-dss".to_owned())),
            _ if is_public(first) => Err(KeyProblem::PublicKey),
            _ => Err(KeyProblem::UnknownFormat),
        }
    }
}

fn is_public(first_line: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "-----BEGIN PUBLIC KEY", "-----BEGIN RSA PUBLIC KEY", "---- BEGIN SSH2 PUBLIC"]
        .iter()
        .any(|start| first_line.starts_with(start))
}

fn supported(key: PrivateKey) -> Result<PrivateKey, KeyProblem> {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(key),
        other => Err(KeyProblem::UnsupportedAlgorithm(other.to_string())),
    }
}

/// A wrong passphrase shows itself as whatever breaks first once the bytes were decrypted to noise.
fn problem(error: &KeysError, tried_passphrase: bool) -> KeyProblem {
    match error {
        KeysError::KeyIsEncrypted => KeyProblem::PassphraseMissing,
        KeysError::SshKey(ssh_key::Error::Crypto) => KeyProblem::PassphraseWrong,
        KeysError::UnsupportedKeyType { key_type_string, .. } => {
            KeyProblem::UnsupportedAlgorithm(key_type_string.clone())
        }
        KeysError::UnknownAlgorithm(oid) => KeyProblem::UnsupportedAlgorithm(oid.to_string()),
        KeysError::Decode(_) => KeyProblem::Damaged,
        _ if tried_passphrase => KeyProblem::PassphraseWrong,
        _ => KeyProblem::Damaged,
    }
}
