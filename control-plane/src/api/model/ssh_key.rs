//! SSH key pairs as callers see them. The private part is answered once, when it is made.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{filled, request::field, secret::WriteOnly, time::Time};
use crate::{
    error::Error,
    ssh_keys::{self, KeyPairPatch, KeySource, KeyType, NewKeyPair},
};

/// A key pair to make, or to take in.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "production-servers", "description": "Key for all production servers", "key_type": "ed25519"
}))]
pub struct SshKeyPairCreate {
    /// Unique in the organisation.
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: String,
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// `ed25519` (unless given) or `rsa`, which has 4096 bits.
    #[schema(pattern = "^(ed25519|rsa)$")]
    pub key_type: Option<String>,
    /// A key of one's own to keep instead of a new one: OpenSSH, PKCS#1 or PKCS#8 PEM; RSA has at least 3072 bits.
    pub private_key: Option<WriteOnly>,
    /// What `private_key` is encrypted with. It is not kept.
    pub passphrase: Option<WriteOnly>,
}

/// A key pair, once with its private part.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8062", "name": "production-servers",
    "description": "Key for all production servers", "key_type": "ed25519", "public_key": "ssh-ed25519 AAAAC3Nz...",
    "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n...", "fingerprint": "SHA256:abc123...",
    "created_at": "2025-01-15T10:00:00Z"
}))]
pub struct SshKeyPairCreated {
    pub id: String,
    pub name: String,
    pub description: String,
    /// `ed25519`, `rsa` or `ecdsa`.
    pub key_type: String,
    /// A line for `authorized_keys`.
    pub public_key: String,
    /// Shown this once; `null` for a key that was brought along.
    pub private_key: Option<String>,
    pub fingerprint: String,
    pub created_at: Option<Time>,
}

/// A key pair, without its private part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8062", "name": "production-servers",
    "description": "Key for all production servers", "key_type": "ed25519", "public_key": "ssh-ed25519 AAAAC3Nz...",
    "fingerprint": "SHA256:abc123...", "age_days": 91, "rotation_due": true, "used_by": 3, "has_rotation": false,
    "created_at": "2025-01-15T10:00:00Z", "updated_at": "2025-01-15T10:00:00Z"
}))]
pub struct SshKeyPair {
    pub id: String,
    /// Unique in the organisation.
    pub name: String,
    pub description: String,
    /// `ed25519`, `rsa` or `ecdsa`.
    pub key_type: String,
    /// A line for `authorized_keys`.
    pub public_key: String,
    /// As `ssh-keygen -l` prints it.
    pub fingerprint: String,
    pub age_days: u32,
    /// From 90 days on.
    pub rotation_due: bool,
    /// How many servers are entered with it.
    pub used_by: u32,
    /// Whether a rotation from or to it is on record: then `…/{id}/rotation` tells of the last one.
    pub has_rotation: bool,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
}

/// What to change of a key pair; the key itself stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "production-servers-2025" }))]
pub struct SshKeyPairPatch {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: Option<String>,
    #[schema(max_length = 500)]
    pub description: Option<String>,
}

impl SshKeyPairCreate {
    /// The key pair to make.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_new(self) -> Result<NewKeyPair, Error> {
        let kind = |word: &str| {
            let made = KeyType::parse(&word.to_ascii_lowercase()).filter(|kind| *kind != KeyType::Ecdsa);
            made.ok_or_else(|| Error::invalid("invalid_field", "key_type: expected ed25519 or rsa"))
        };
        let key_type = self.key_type.as_deref().map(kind).transpose()?;
        let source = match (self.private_key, self.passphrase) {
            (Some(private_key), passphrase) => KeySource::Import {
                private_key: private_key.into_inner(),
                passphrase: passphrase.map(WriteOnly::into_inner),
            },
            (None, Some(_)) => {
                return Err(Error::invalid(
                    "contradiction",
                    "passphrase: it goes with a private_key that is encrypted",
                ));
            }
            (None, None) => KeySource::Generate(key_type.unwrap_or(KeyType::Ed25519)),
        };
        Ok(NewKeyPair {
            name: field("name", &self.name)?,
            description: field("description", self.description.as_deref().unwrap_or_default())?,
            source,
        })
    }
}

impl SshKeyPairPatch {
    /// The changes.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_patch(self) -> Result<KeyPairPatch, Error> {
        Ok(KeyPairPatch {
            name: self.name.as_deref().map(|name| field("name", name)).transpose()?,
            description: self.description.as_deref().map(|text| field("description", text)).transpose()?,
        })
    }
}

impl SshKeyPairCreated {
    /// `pair`, with its private part where it was made here.
    #[must_use]
    pub fn of(pair: &ssh_keys::SshKeyPair, private_key: Option<&Zeroizing<String>>) -> Self {
        Self {
            id: pair.id.to_string(),
            name: pair.name.to_string(),
            description: pair.description.to_string(),
            key_type: pair.key_type.as_str().to_owned(),
            public_key: pair.public_key.clone(),
            private_key: private_key.map(|key| key.as_str().to_owned()),
            fingerprint: pair.fingerprint.clone(),
            created_at: Some(Time(pair.created_at_us)),
        }
    }
}

impl SshKeyPair {
    /// `pair` as it is at `now_us`.
    #[must_use]
    pub fn of(pair: &ssh_keys::SshKeyPair, now_us: i64) -> Self {
        Self {
            id: pair.id.to_string(),
            name: pair.name.to_string(),
            description: pair.description.to_string(),
            key_type: pair.key_type.as_str().to_owned(),
            public_key: pair.public_key.clone(),
            fingerprint: pair.fingerprint.clone(),
            age_days: pair.age_days(now_us),
            rotation_due: pair.rotation_due(now_us),
            used_by: u32::try_from(pair.used_by).unwrap_or(u32::MAX),
            has_rotation: pair.has_rotation,
            created_at: Some(Time(pair.created_at_us)),
            updated_at: Some(Time(pair.updated_at_us)),
        }
    }
}

impl From<wire::CreateSshKeyPairRequest> for SshKeyPairCreate {
    fn from(request: wire::CreateSshKeyPairRequest) -> Self {
        Self {
            name: request.name,
            description: filled(request.description),
            key_type: filled(request.key_type),
            private_key: filled(request.private_key).map(WriteOnly::from),
            passphrase: filled(request.passphrase).map(WriteOnly::from),
        }
    }
}

impl From<SshKeyPair> for wire::SshKeyPair {
    fn from(pair: SshKeyPair) -> Self {
        Self {
            id: pair.id,
            name: pair.name,
            description: pair.description,
            key_type: pair.key_type,
            public_key: pair.public_key,
            fingerprint: pair.fingerprint,
            age_days: pair.age_days,
            rotation_due: pair.rotation_due,
            used_by: pair.used_by,
            has_rotation: pair.has_rotation,
            created_at: pair.created_at.map(Into::into),
            updated_at: pair.updated_at.map(Into::into),
        }
    }
}

impl From<wire::SshKeyPair> for SshKeyPair {
    fn from(pair: wire::SshKeyPair) -> Self {
        Self {
            id: pair.id,
            name: pair.name,
            description: pair.description,
            key_type: pair.key_type,
            public_key: pair.public_key,
            fingerprint: pair.fingerprint,
            age_days: pair.age_days,
            rotation_due: pair.rotation_due,
            used_by: pair.used_by,
            has_rotation: pair.has_rotation,
            created_at: pair.created_at.map(Into::into),
            updated_at: pair.updated_at.map(Into::into),
        }
    }
}

impl From<wire::CreateSshKeyPairResponse> for SshKeyPairCreated {
    fn from(made: wire::CreateSshKeyPairResponse) -> Self {
        let pair = made.key_pair.unwrap_or_default();
        Self {
            id: pair.id,
            name: pair.name,
            description: pair.description,
            key_type: pair.key_type,
            public_key: pair.public_key,
            private_key: filled(made.private_key),
            fingerprint: pair.fingerprint,
            created_at: pair.created_at.map(Into::into),
        }
    }
}
