//! Whom to connect to, and as whom.

use std::{fmt, str::FromStr};

use secrecy::SecretString;

/// A host that is reached over SSH: address, login and what is known of its host key.
#[derive(Debug, Clone)]
pub struct Target {
    /// A literal IP address or a name to resolve.
    pub address: String,
    pub port: u16,
    pub username: String,
    pub auth: Auth,
    pub sudo_mode: SudoMode,
    /// What sudo asks for; `None` where sudo asks for nothing or nothing is known.
    pub sudo_password: Option<SecretString>,
    /// The key the host must present. `None` is a first contact: whatever it presents is shown and recorded.
    pub expected_host_key: Option<Fingerprint>,
}

/// What proves who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    Password(SecretString),
    PrivateKey {
        /// OpenSSH, PKCS#1, SEC 1 or PKCS#8, in PEM armour.
        pem: SecretString,
        /// `None` where the key is not encrypted.
        passphrase: Option<SecretString>,
    },
}

impl Auth {
    /// The word the API uses for the method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::PrivateKey { .. } => "ssh_key",
        }
    }
}

/// Whether root is reached through sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SudoMode {
    /// Through sudo, unless the login is root already.
    #[default]
    Auto,
    /// Never.
    None,
    /// Always.
    Sudo,
}

impl SudoMode {
    /// The word the API uses for the mode.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Sudo => "sudo",
        }
    }
}

/// A text that is no host key fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host key fingerprint: expected SHA256: and 43 base64 digits, as `ssh-keygen -lf` prints them")]
pub struct InvalidFingerprint;

/// SHA-256 of a host's public key, written as OpenSSH writes it: `SHA256:` and unpadded base64.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of(key: &russh::keys::PublicKey) -> Self {
        Self(key.fingerprint(russh::keys::HashAlg::Sha256).to_string())
    }

    /// The fingerprint as OpenSSH writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

        let text = text.trim();
        let digest = text.strip_prefix("SHA256:").ok_or(InvalidFingerprint)?.trim_end_matches('=');
        match BASE64_STANDARD_NO_PAD.decode(digest) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(format!("SHA256:{digest}"))),
            _ => Err(InvalidFingerprint),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_openssh_prints_them() {
        let text = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
        assert_eq!(text.parse::<Fingerprint>().map(|fingerprint| fingerprint.to_string()), Ok(text.to_owned()));
        assert_eq!(format!(" {text}=\n").parse::<Fingerprint>(), text.parse());
    }

    #[test]
    fn other_texts_are_no_fingerprints() {
        for text in ["", "SHA256:", "MD5:aa:bb", "SHA256:abc", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"] {
            assert_eq!(text.parse::<Fingerprint>(), Err(InvalidFingerprint), "{text}");
        }
    }
}
