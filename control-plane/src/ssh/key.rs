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
                Self::of_pem(first, text)
            }
            "-----BEGIN DSA PRIVATE KEY-----" => Err(KeyProblem::UnsupportedAlgorithm("ssh-dss".to_owned())),
            _ if is_public(first) => Err(KeyProblem::PublicKey),
            _ => Err(KeyProblem::UnknownFormat),
        }
    }

    /// PEM's own encryption comes in many forms; the one `ssh-keygen` made for years is read.
    fn of_pem(first: &str, text: &str) -> Result<Self, KeyProblem> {
        if !text.contains("Proc-Type: 4,ENCRYPTED") {
            Ok(Self::Plain)
        } else if first.contains("RSA") && text.contains("DEK-Info: AES-128-CBC,") {
            Ok(Self::Encrypted)
        } else {
            Err(KeyProblem::OutdatedEncryption)
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

#[cfg(test)]
mod tests {
    use russh::keys::HashAlg;

    use super::*;

    const PASSPHRASE: &str = "open sesame";

    macro_rules! fixtures {
        ($($name:literal $fingerprint:literal)*) => {
            &[$(($name, include_str!(concat!("fixtures/", $name, ".pem")), $fingerprint)),*]
        };
    }

    /// Made by `ssh-keygen` and `openssl`, with the fingerprint `ssh-keygen -l` prints for the public half.
    const KEYS: &[(&str, &str, &str)] = fixtures! {
        "ecdsa256-openssh" "SHA256:Hx0ZswJphYKF8xp8XSbbXyD3FVdGquNuWPML/+LWM8U"
        "ecdsa384-sec1" "SHA256:IJbgpK74ZgU8wY6q7IhiD1IT1chNYfsAmUQO9PGLS0w"
        "ecdsa521-pkcs8" "SHA256:ljzqCu6Gw2f2qhw3S4xO5DxrlTzdvpim569DCKurh/Y"
        "ed25519-openssh" "SHA256:7P6sXkgeOQyAQz9i52hlULZ8zOAMuyV7R86CuYT+3oI"
        "ed25519-openssh-encrypted" "SHA256:CTk4wVFDRh5SsrPhoj1P2VafuYfAZKJvwFccsTtobqg"
        "ed25519-pkcs8" "SHA256:OO21eo1ynPOaTA7RRPHMsKUkmGcmzB5kB/mm+ZM0+EA"
        "ed25519-pkcs8-encrypted" "SHA256:OO21eo1ynPOaTA7RRPHMsKUkmGcmzB5kB/mm+ZM0+EA"
        "rsa-openssh" "SHA256:d8DrbWpljTMaAxo+1jlKIa+KGwAAKyXoJayoX/wswdc"
        "rsa-pkcs1" "SHA256:jQNz3OHdYr2iZveineCJxK6/KPqlcVOzxIq4yHclYZ8"
        "rsa-pkcs1-encrypted" "SHA256:ORUNa2c64m0G2npxv2htu7xTPgQi7zL3okuNhhJfspU"
        "rsa-pkcs8" "SHA256:YxisqHNob/PKpesG1ZlER3Qw3DFppFkZ+ple6ctKFuA"
        "rsa-pkcs8-encrypted" "SHA256:g7QzuUekH6k4JlUWm1ww1zeNgm9zN7lDkaAIeoy0cJM"
    };

    fn read(pem: &str, passphrase: Option<&str>) -> Result<String, KeyProblem> {
        let passphrase = passphrase.map(SecretString::from);
        let key = read_private_key(&SecretString::from(pem), passphrase.as_ref())?;
        Ok(key.public_key().fingerprint(HashAlg::Sha256).to_string())
    }

    #[test]
    fn every_format_is_read() {
        for (name, pem, fingerprint) in KEYS {
            let passphrase = name.ends_with("encrypted").then_some(PASSPHRASE);
            assert_eq!(read(pem, passphrase), Ok((*fingerprint).to_owned()), "{name}");
        }
    }

    #[test]
    fn line_ends_blanks_and_a_needless_passphrase_do_no_harm() {
        for (name, pem, fingerprint) in KEYS {
            let pasted = format!("\r\n {}\r\n", pem.replace('\n', "  \r\n"));
            assert_eq!(read(&pasted, Some(PASSPHRASE)), Ok((*fingerprint).to_owned()), "{name}");
        }
    }

    #[test]
    fn a_missing_and_a_wrong_passphrase_are_told_apart() {
        for (name, pem, _) in KEYS.iter().filter(|(name, ..)| name.ends_with("encrypted")) {
            for none in [None, Some("")] {
                assert_eq!(read(pem, none), Err(KeyProblem::PassphraseMissing), "{name}");
            }
            assert_eq!(read(pem, Some("close sesame")), Err(KeyProblem::PassphraseWrong), "{name}");
        }
    }

    #[test]
    fn a_key_that_was_cut_is_damaged() {
        for (name, pem, _) in KEYS.iter().filter(|(name, ..)| !name.ends_with("encrypted")) {
            let lines: Vec<&str> = pem.lines().collect();
            let cut = [&lines[..1], &lines[2..]].concat().join("\n");
            assert_eq!(read(&cut, None), Err(KeyProblem::Damaged), "{name}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_named() {
        let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHfF/052wlH2ADHMrbax1lgw6Yb1Vqzs4k5fZBtqTzu root@host";
        assert_eq!(read(public, None), Err(KeyProblem::PublicKey));
        for text in ["", "hunter2", "/home/me/.ssh/id_ed25519", "PuTTY-User-Key-File-3: ssh-ed25519"] {
            assert_eq!(read(text, None), Err(KeyProblem::UnknownFormat), "{text}");
        }
        assert_eq!(read(&"-".repeat(MAX_KEY_BYTES + 1), None), Err(KeyProblem::UnknownFormat));
    }

    #[test]
    fn outdated_encryption_is_named() {
        for pem in [include_str!("fixtures/rsa-pkcs1-aes256.pem"), include_str!("fixtures/ecdsa256-sec1-encrypted.pem")]
        {
            assert_eq!(read(pem, Some(PASSPHRASE)), Err(KeyProblem::OutdatedEncryption));
        }
    }
}
