//! A key pair as the fleet knows it, without its private part.

use muster_shared::id::SshKeyPairId;
use serde_json::{Value, json};

use super::KeySource;
use crate::servers::{Description, KeyPairName};

/// After how many days a key is due to be replaced.
pub const ROTATION_DUE_DAYS: u32 = 90;
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    Ed25519,
    Rsa,
    /// Taken in, never made.
    Ecdsa,
}

impl KeyType {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
            Self::Ecdsa => "ecdsa",
        }
    }

    /// The kind named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Ed25519, Self::Rsa, Self::Ecdsa].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKeyPair {
    pub id: SshKeyPairId,
    pub name: KeyPairName,
    pub description: Description,
    pub key_type: KeyType,
    /// As a line of `authorized_keys`.
    pub public_key: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// How many servers are entered with it.
    pub used_by: u64,
    /// Whether a rotation from or to it is on record.
    pub has_rotation: bool,
    pub created_at_us: i64,
    pub updated_at_us: i64,
}

impl SshKeyPair {
    /// Whole days since it came here.
    #[must_use]
    pub fn age_days(&self, now_us: i64) -> u32 {
        u32::try_from(now_us.saturating_sub(self.created_at_us).max(0) / DAY_US).unwrap_or(u32::MAX)
    }

    /// Whether it is time for a new one.
    #[must_use]
    pub fn rotation_due(&self, now_us: i64) -> bool {
        self.age_days(now_us) >= ROTATION_DUE_DAYS
    }

    /// The pair as the audit record shows it.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "name": self.name.as_str(),
            "description": self.description.as_str(),
            "key_type": self.key_type.as_str(),
            "fingerprint": self.fingerprint,
        })
    }
}

/// A key pair to be made or taken in.
#[derive(Debug)]
pub struct NewKeyPair {
    pub name: KeyPairName,
    pub description: Description,
    pub source: KeySource,
}

/// Changes to a key pair; `None` leaves a field as it is.
#[derive(Debug, Default)]
pub struct KeyPairPatch {
    pub name: Option<KeyPairName>,
    pub description: Option<Description>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_after_ninety_days() {
        let pair = SshKeyPair {
            id: SshKeyPairId::generate(),
            name: "production".parse().expect("a name"),
            description: Description::default(),
            key_type: KeyType::Ed25519,
            public_key: String::new(),
            fingerprint: String::new(),
            used_by: 0,
            has_rotation: false,
            created_at_us: 1_000,
            updated_at_us: 1_000,
        };
        let due = 1_000 + 90 * DAY_US;
        assert_eq!((pair.age_days(due - 1), pair.rotation_due(due - 1)), (89, false));
        assert_eq!((pair.age_days(due), pair.rotation_due(due)), (90, true));
        assert_eq!(pair.age_days(0), 0);
    }
}
