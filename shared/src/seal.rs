//! Sealed secrets: AES-256-GCM with a key ring, bound by additional data to the one place they were written for.
//!
//! A sealed value is `version (1) | key id length (1) | key id | nonce (12) | ciphertext and tag`. The additional data
//! names organisation, table, row, column and key id, each with its length, so a ciphertext copied to another row,
//! column or organisation does not open there. Nonces are random: rotate a key before 2^32 seals.

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead, KeyInit, Payload},
};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// Where a secret lives. A ciphertext opens there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The organisation's id, or `-` for what belongs to the control plane itself.
    pub organization: &'a str,
    pub table: &'a str,
    pub row: &'a str,
    pub column: &'a str,
}

/// Why a value could not be sealed or opened. Deliberately poor in detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealed value is damaged")]
    Malformed,
    #[error("the key ring has no key {0:?}: restore the key ring this data was sealed with")]
    UnknownKey(String),
    #[error("the sealed value does not belong here, was altered, or the key is wrong")]
    Refused,
    #[error("the system has no randomness")]
    Randomness,
    #[error("a key needs an id of 1 to 255 bytes and 32 bytes of secret")]
    BadKey,
}

/// The keys that open what was sealed; the last one seals.
#[derive(Default)]
pub struct KeyRing {
    keys: Vec<(String, Zeroizing<[u8; 32]>)>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl KeyRing {
    /// A random 32-byte key.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn generate_key() -> Result<Zeroizing<[u8; 32]>, SealError> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(key.as_mut()).map_err(|_| SealError::Randomness)?;
        Ok(key)
    }

    /// Adds a key; from now on it seals, and the older ones still open.
    ///
    /// # Errors
    /// [`SealError::BadKey`] for an empty, overlong or repeated id.
    pub fn push(&mut self, id: &str, key: Zeroizing<[u8; 32]>) -> Result<(), SealError> {
        if id.is_empty() || id.len() > 255 || self.keys.iter().any(|(known, _)| known == id) {
            return Err(SealError::BadKey);
        }
        self.keys.push((id.to_owned(), key));
        Ok(())
    }

    /// The ids of its keys, oldest first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.ids().next_back()
    }

    /// Seals `secret` for `place` with the newest key.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] on an empty ring; [`SealError::Randomness`].
    pub fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, key) = self.keys.last().ok_or_else(|| SealError::UnknownKey(String::new()))?;
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let payload = Payload { msg: secret, aad: &additional_data(place, id) };
        let sealed = cipher(key).encrypt((&nonce).into(), payload).map_err(|_| SealError::Refused)?;
        let id_length = u8::try_from(id.len()).map_err(|_| SealError::BadKey)?;
        Ok([&[VERSION, id_length], id.as_bytes(), &nonce, &sealed].concat())
    }

    /// Opens what [`Self::seal`] made for the same `place`.
    ///
    /// # Errors
    /// [`SealError`]: damaged, key missing, or not sealed for this place.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, rest) = split_key_id(sealed)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
        let (_, key) =
            self.keys.iter().find(|(known, _)| known == id).ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let payload = Payload { msg: ciphertext, aad: &additional_data(place, id) };
        cipher(key).decrypt(nonce.into(), payload).map(Zeroizing::new).map_err(|_| SealError::Refused)
    }
}

/// What every value sealed with the key `id` begins with, and no other.
#[must_use]
pub fn sealed_prefix(id: &str) -> Vec<u8> {
    // A longer id is none that a ring accepts.
    let id_length = u8::try_from(id.len()).unwrap_or(0);
    [&[VERSION, id_length], id.as_bytes()].concat()
}

/// The id of the key that sealed a value.
///
/// # Errors
/// [`SealError::Malformed`].
pub fn sealed_with(sealed: &[u8]) -> Result<&str, SealError> {
    split_key_id(sealed).map(|(id, _)| id)
}

fn split_key_id(sealed: &[u8]) -> Result<(&str, &[u8]), SealError> {
    let [VERSION, id_length, rest @ ..] = sealed else { return Err(SealError::Malformed) };
    let (id, rest) = rest.split_at_checked(usize::from(*id_length)).ok_or(SealError::Malformed)?;
    Ok((std::str::from_utf8(id).map_err(|_| SealError::Malformed)?, rest))
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

fn additional_data(place: &Place<'_>, key_id: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for part in [place.organization, place.table, place.row, place.column, key_id] {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { organization: "o1", table: "servers", row: "r1", column: "ssh_password" };

    fn ring(ids: &[&str]) -> KeyRing {
        let mut ring = KeyRing::default();
        for id in ids {
            ring.push(id, Zeroizing::new([id.len() as u8; 32])).expect("a good key");
        }
        ring
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let ring = ring(&["k1"]);
        let sealed = ring.seal(&PLACE, b"hunter2").expect("sealed");
        assert_eq!(ring.open(&PLACE, &sealed).expect("opened").as_slice(), b"hunter2");
        let elsewhere = [
            Place { organization: "o2", ..PLACE },
            Place { table: "keys", ..PLACE },
            Place { row: "r2", ..PLACE },
            Place { column: "ssh_private_key", ..PLACE },
            Place { organization: "o1servers", table: "", ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(ring.open(&place, &sealed), Err(SealError::Refused), "{place:?}");
        }
    }

    #[test]
    fn older_keys_still_open() {
        let sealed = ring(&["k1"]).seal(&PLACE, b"s").expect("sealed");
        assert!(ring(&["k1", "k22"]).open(&PLACE, &sealed).is_ok());
        assert_eq!(ring(&["k22"]).open(&PLACE, &sealed), Err(SealError::UnknownKey("k1".into())));
    }

    #[test]
    fn a_value_says_which_key_sealed_it() {
        let ring = ring(&["k1", "k10"]);
        let sealed = ring.seal(&PLACE, b"s").expect("sealed");
        assert_eq!((ring.newest(), sealed_with(&sealed)), (Some("k10"), Ok("k10")));
        assert!(sealed.starts_with(&sealed_prefix("k10")) && !sealed.starts_with(&sealed_prefix("k1")));
    }

    #[test]
    fn damage_is_refused_wherever_it_is() {
        let ring = ring(&["k1"]);
        let sealed = ring.seal(&PLACE, b"secret").expect("sealed");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(ring.open(&PLACE, &damaged).is_err(), "byte {at}");
            assert!(ring.open(&PLACE, &sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
