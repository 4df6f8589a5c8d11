//! One organisation's chain of entries. An entry's hash covers every field of it, each with its length, and the hash of
//! the entry before; what is kept is text, so the very bytes that were hashed are there to be hashed again.

use muster_shared::id::OrgId;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::access::{Actor, Credential};

const DOMAIN: &[u8] = b"muster-audit-entry-v1\0";

/// A SHA-256.
pub type Hash = [u8; 32];
/// What the first entry of an organisation follows.
pub const GENESIS: Hash = [0; 32];

/// An entry as it is kept, and as a line of an exported chain tells it: every field as it was hashed, so that states are texts
/// of JSON. Texts are empty where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(rename = "organization_id")]
    pub org_id: OrgId,
    /// Counts the organisation's entries from 1.
    pub seq: u64,
    pub at_us: i64,
    /// `user`, `host`, `system` or `stranger`.
    pub actor_kind: String,
    pub actor_id: String,
    pub actor_name: String,
    /// The kind and id of what the actor proved themselves with, such as `token 0189…`.
    pub credential: String,
    pub source_address: String,
    pub request_id: String,
    pub action: String,
    pub resource_type: String,
    pub resource_id: String,
    pub resource_name: String,
    /// JSON, or empty.
    pub before: String,
    /// JSON, or empty.
    pub after: String,
    #[serde(with = "digits")]
    pub previous_hash: Hash,
    #[serde(with = "digits")]
    pub hash: Hash,
}

/// The end of an organisation's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub org_id: OrgId,
    pub seq: u64,
    pub hash: Hash,
}

impl Entry {
    /// The entry of `record` that follows the one with `previous_hash`.
    #[must_use]
    pub fn following(record: &Record, seq: u64, previous_hash: Hash) -> Self {
        let act = &record.act;
        let (actor_kind, actor_id, actor_name, credential) = match &act.actor {
            Actor::User { id, name, credential } => ("user", id.to_string(), name.to_string(), told(credential)),
            Actor::Host(server) => {
                ("host", server.map(|id| id.to_string()).unwrap_or_default(), String::new(), String::new())
            }
            Actor::System => ("system", String::new(), String::new(), String::new()),
            Actor::Stranger => ("stranger", String::new(), String::new(), String::new()),
        };
        let text = |state: &Option<serde_json::Value>| state.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut entry = Self {
            org_id: act.org_id,
            seq,
            at_us: act.at_us,
            actor_kind: actor_kind.to_owned(),
            actor_id,
            actor_name,
            credential,
            source_address: act.origin.address.map(|address| address.to_canonical().to_string()).unwrap_or_default(),
            request_id: act.origin.request_id.as_deref().unwrap_or_default().to_owned(),
            action: record.action.as_str().to_owned(),
            resource_type: record.action.resource_type().as_str().to_owned(),
            resource_id: record.resource.id.clone(),
            resource_name: record.resource.name.clone(),
            before: text(&record.before),
            after: text(&record.after),
            previous_hash,
            hash: GENESIS,
        };
        entry.hash = entry.computed_hash();
        entry
    }

    /// The hash that its fields add up to.
    #[must_use]
    pub fn computed_hash(&self) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(DOMAIN);
        context.update(&self.previous_hash);
        context.update(&self.seq.to_be_bytes());
        context.update(&self.at_us.to_be_bytes());
        let org = self.org_id.to_string();
        let texts = [
            &org,
            &self.actor_kind,
            &self.actor_id,
            &self.actor_name,
            &self.credential,
            &self.source_address,
            &self.request_id,
            &self.action,
            &self.resource_type,
            &self.resource_id,
            &self.resource_name,
            &self.before,
            &self.after,
        ];
        for text in texts {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        let mut hash = GENESIS;
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }

    /// The chain's end, if this is its last entry.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { org_id: self.org_id, seq: self.seq, hash: self.hash }
    }
}

fn told(credential: &Credential) -> String {
    match credential {
        Credential::Token(id) => format!("token {id}"),
        Credential::Session(id) => format!("session {id}"),
    }
}

/// A hash as hexadecimal digits.
mod digits {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let bytes = hex::decode(String::deserialize(deserializer)?).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
    }
}
