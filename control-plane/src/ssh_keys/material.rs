//! The keys themselves: made from the system's randomness, or read as people paste them, and written in OpenSSH's form
//! without a passphrase, since the key ring seals them. All of it takes CPU and runs where blocking is allowed.

use russh::keys::{
    Algorithm, HashAlg, PrivateKey,
    key::safe_rng,
    ssh_key::{
        LineEnding,
        private::{KeypairData, RsaKeypair},
    },
};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{KeyType, Result};
use crate::{
    error::Error,
    ssh::{KeyProblem, read_private_key},
};

/// Bits of an RSA key that is made here.
pub const RSA_BITS: usize = 4096;
/// Fewest bits of an RSA key that is taken in.
pub const MIN_RSA_BITS: u32 = 3072;

/// Where a key comes from.
#[derive(Debug)]
pub enum KeySource {
    /// Ed25519 or RSA.
    Generate(KeyType),
    Import {
        private_key: SecretString,
        passphrase: Option<SecretString>,
    },
}

/// A key pair's two parts.
pub struct Material {
    pub key_type: KeyType,
    /// As a line of `authorized_keys`.
    pub public_key: String,
    pub fingerprint: String,
    /// OpenSSH PEM, not encrypted.
    pub private_key: Zeroizing<String>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Makes or reads the key; `comment` is what it calls itself.
pub(super) fn of(source: KeySource, comment: &str) -> Result<Material> {
    let key = match source {
        KeySource::Generate(KeyType::Ed25519) => PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519),
        KeySource::Generate(KeyType::Rsa) => generate_rsa(RSA_BITS),
        KeySource::Generate(KeyType::Ecdsa) => {
            return Err(Error::invalid("invalid_field", "key_type: made here are ed25519 and rsa"));
        }
        KeySource::Import { private_key, passphrase } => Ok(import(&private_key, passphrase.as_ref())?),
    };
    write(key.map_err(Error::internal)?, comment)
}

fn generate_rsa(bits: usize) -> russh::keys::ssh_key::Result<PrivateKey> {
    let pair = RsaKeypair::random(&mut safe_rng(), bits)?;
    PrivateKey::new(KeypairData::from(pair), "")
}

fn import(pem: &SecretString, passphrase: Option<&SecretString>) -> Result<PrivateKey> {
    let key = read_private_key(pem, passphrase).map_err(|problem| unreadable(&problem))?;
    match key.public_key().key_data().rsa() {
        Some(rsa) if rsa.key_size() < MIN_RSA_BITS => {
            let detail = format!(
                "private_key: an RSA key of {} bits is too weak; it takes {MIN_RSA_BITS} bits, or better an Ed25519 key",
                rsa.key_size()
            );
            Err(Error::invalid("ssh_key_weak", detail))
        }
        _ => Ok(key),
    }
}

/// What is wrong with a key that a caller gave, and what to do.
pub(crate) fn unreadable(problem: &KeyProblem) -> Error {
    Error::invalid("ssh_key_unreadable", format!("the private key cannot be read: {problem}. {}", problem.remedy()))
}

fn write(mut key: PrivateKey, comment: &str) -> Result<Material> {
    key.set_comment(comment);
    let key_type = match key.algorithm() {
        Algorithm::Ed25519 => KeyType::Ed25519,
        Algorithm::Rsa { .. } => KeyType::Rsa,
        Algorithm::Ecdsa { .. } => KeyType::Ecdsa,
        other => return Err(unreadable(&KeyProblem::UnsupportedAlgorithm(other.to_string()))),
    };
    Ok(Material {
        key_type,
        public_key: key.public_key().to_openssh().map_err(Error::internal)?,
        fingerprint: key.public_key().fingerprint(HashAlg::Sha256).to_string(),
        private_key: key.to_openssh(LineEnding::LF).map_err(Error::internal)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(pem: &str, passphrase: Option<&str>) -> Result<Material> {
        of(KeySource::Import { private_key: pem.into(), passphrase: passphrase.map(Into::into) }, "web")
    }

    #[test]
    fn a_key_that_is_made_reads_back() {
        let made = of(KeySource::Generate(KeyType::Ed25519), "production servers").expect("made");
        assert!(made.public_key.starts_with("ssh-ed25519 AAAAC3Nz"), "{}", made.public_key);
        assert!(made.public_key.ends_with(" production servers"), "{}", made.public_key);
        assert!(made.private_key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        let read = imported(&made.private_key, None).expect("read");
        assert_eq!((read.fingerprint, read.key_type), (made.fingerprint, KeyType::Ed25519));
        let other = of(KeySource::Generate(KeyType::Ed25519), "x").expect("made");
        assert_ne!(other.public_key, made.public_key);
    }

    #[test]
    fn an_rsa_key_has_the_size_asked_for() {
        let key = generate_rsa(1024).expect("made");
        assert_eq!(key.public_key().key_data().rsa().map(|rsa| rsa.key_size()), Some(1024));
        let weak = write(key, "weak").expect("written");
        assert_eq!(weak.key_type, KeyType::Rsa);
        let error = imported(&weak.private_key, None).expect_err("refused");
        assert_eq!(error.code, "ssh_key_weak");
        assert!(error.detail.contains("1024 bits"), "{}", error.detail);
    }

    #[test]
    fn an_encrypted_key_is_kept_without_its_passphrase() {
        let pem = include_str!("../ssh/fixtures/ed25519-openssh-encrypted.pem");
        let read = imported(pem, Some("open sesame")).expect("read");
        assert_eq!(read.fingerprint, "SHA256:CTk4wVFDRh5SsrPhoj1P2VafuYfAZKJvwFccsTtobqg");
        assert_eq!(imported(&read.private_key, None).expect("read").fingerprint, read.fingerprint);
        assert_eq!(imported(pem, None).expect_err("refused").code, "ssh_key_unreadable");
        let dsa = "-----BEGIN DSA PRIVATE KEY-----\nMIIBuw==\n-----END DSA PRIVATE KEY-----";
        assert!(imported(dsa, None).expect_err("refused").detail.contains("ssh-dss"));
    }
}
