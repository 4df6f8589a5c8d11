//! The key ring as callers see it: never a secret of it.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::keyring::RingStanding;

/// The keys that seal stored secrets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "sealing_key_id": "k2", "remaining": 12, "keys": [
        { "id": "k1", "made_at": "2025-01-15T10:30:00Z", "seals": false, "sealed_values": 12 },
        { "id": "k2", "made_at": "2025-04-15T10:30:00Z", "seals": true, "sealed_values": 390 }
    ]
}))]
pub struct Keyring {
    /// The key that seals.
    pub sealing_key_id: String,
    /// How many values older keys sealed; they are being sealed anew while it is not 0.
    pub remaining: u64,
    /// Oldest first.
    pub keys: Vec<KeyringKey>,
}

/// A key of the ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyringKey {
    pub id: String,
    /// `null` where it is not known.
    pub made_at: Option<Time>,
    /// Whether new secrets are sealed with it.
    pub seals: bool,
    /// How many stored values need it. A key that none needs can be retired.
    pub sealed_values: u64,
}

impl Keyring {
    /// `standing` as callers see it.
    #[must_use]
    pub fn of(standing: &RingStanding) -> Self {
        let sealing = standing.keys.last().map(|key| key.key.id.clone()).unwrap_or_default();
        let key = |standing: &crate::keyring::KeyStanding| KeyringKey {
            id: standing.key.id.clone(),
            made_at: Some(standing.key.made_at_us).filter(|at_us| *at_us > 0).map(Time),
            seals: standing.key.id == sealing,
            sealed_values: standing.sealed_values,
        };
        Self { keys: standing.keys.iter().map(key).collect(), remaining: standing.remaining(), sealing_key_id: sealing }
    }
}

impl From<Keyring> for wire::Keyring {
    fn from(keyring: Keyring) -> Self {
        let key = |key: KeyringKey| wire::KeyringKey {
            id: key.id,
            made_at: key.made_at.map(Into::into),
            seals: key.seals,
            sealed_values: key.sealed_values,
        };
        Self {
            sealing_key_id: keyring.sealing_key_id,
            remaining: keyring.remaining,
            keys: keyring.keys.into_iter().map(key).collect(),
        }
    }
}

impl From<wire::Keyring> for Keyring {
    fn from(keyring: wire::Keyring) -> Self {
        let key = |key: wire::KeyringKey| KeyringKey {
            id: key.id,
            made_at: key.made_at.map(Into::into),
            seals: key.seals,
            sealed_values: key.sealed_values,
        };
        Self {
            sealing_key_id: keyring.sealing_key_id,
            remaining: keyring.remaining,
            keys: keyring.keys.into_iter().map(key).collect(),
        }
    }
}
