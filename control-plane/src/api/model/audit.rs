//! The audit record as callers see it.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{filled, time::Time};
use crate::{
    audit::{Action, ChainLink, Entry, HeadVerifier, ResourceType, Verified},
    error::Error,
    store::AuditFilter,
};

/// One thing that was done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "seq": 42, "at": "2025-01-15T10:30:00Z", "organization_id": "01890a5d-ac96-774b-bcce-b302099a8058",
    "actor_kind": "user", "actor_id": "01890a5d-ac96-774b-bcce-b302099a8059", "actor_name": "owner",
    "credential": "token 01890a5d-ac96-774b-bcce-b302099a8060", "source_address": "203.0.113.7",
    "request_id": "01890a5d-ac96-774b-bcce-b302099a8062", "action": "SERVER_UPDATED", "resource_type": "server",
    "resource_id": "01890a5d-ac96-774b-bcce-b302099a8057", "resource_name": "production-server-1",
    "before": { "region": "Frankfurt" }, "after": { "region": "Helsinki" },
    "previous_hash": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    "hash": "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
}))]
pub struct AuditEntry {
    /// Counts the organisation's entries from 1, without a gap.
    pub seq: u64,
    pub at: Time,
    pub organization_id: String,
    /// `user`, `host` or `system`.
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub actor_name: Option<String>,
    /// What the actor proved themselves with, such as `token 0189…`.
    pub credential: Option<String>,
    pub source_address: Option<String>,
    pub request_id: Option<String>,
    pub action: String,
    pub resource_type: String,
    pub resource_id: String,
    pub resource_name: Option<String>,
    /// What it was, in what differs. Secrets are never told.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What it became, in what differs.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// The hash of the entry before, in hexadecimal digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub previous_hash: String,
    /// SHA-256 over every field and the hash before.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub hash: String,
}

/// The signed end of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEnd {
    pub organization_id: String,
    /// The last entry's number.
    pub seq: u64,
    /// The last entry's hash.
    pub hash: String,
    /// Ed25519, over organisation, number and hash.
    pub signature: String,
    /// What the signature is checked with.
    pub public_key: String,
}

/// What walking the chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "entries": 42, "receipts": 7, "sound": true, "faults": [], "end": null }))]
pub struct AuditVerified {
    /// How many entries the chain has.
    pub entries: u64,
    /// How many entries of commands carry a receipt of their host's that proves them.
    pub receipts: u64,
    pub sound: bool,
    /// What does not fit, in words that name the entry.
    pub faults: Vec<String>,
    pub end: Option<AuditEnd>,
}

/// A line of an exported chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// The certificate of the authority that vouches for the keys under receipts; comes first.
    Authority(Authority),
    Entry(Box<Entry>),
    End(AuditEnd),
}

/// An authority whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// DER, in hexadecimal digits.
    #[serde(with = "hex::serde")]
    pub certificate: Vec<u8>,
}

/// Only words the record uses may be asked for.
///
/// # Errors
/// A word that is no action or no resource type, with the nearest that is.
pub fn known_words(filter: &AuditFilter) -> Result<(), Error> {
    if let Some(word) = filter.action.as_deref().filter(|word| Action::parse(word).is_none()) {
        return Err(unknown("action", word, Action::ALL.iter().map(|action| action.as_str())));
    }
    if let Some(word) = filter.resource_type.as_deref().filter(|word| ResourceType::parse(word).is_none()) {
        return Err(unknown("resource_type", word, ResourceType::ALL.iter().map(|kind| kind.as_str())));
    }
    Ok(())
}

fn unknown(field: &str, word: &str, known: impl Iterator<Item = &'static str>) -> Error {
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, word)).unwrap_or_default();
    let shown: String = word.chars().take(40).collect();
    Error::invalid("unknown_word", format!("no {field} is called {shown:?}; did you mean {nearest}?"))
}

impl AuditEntry {
    /// `entry` as callers see it.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let json = |text: &str| serde_json::from_str(text).ok();
        Self {
            seq: entry.seq,
            at: Time(entry.at_us),
            organization_id: entry.org_id.to_string(),
            actor_kind: entry.actor_kind.clone(),
            actor_id: filled(entry.actor_id.clone()),
            actor_name: filled(entry.actor_name.clone()),
            credential: filled(entry.credential.clone()),
            source_address: filled(entry.source_address.clone()),
            request_id: filled(entry.request_id.clone()),
            action: entry.action.clone(),
            resource_type: entry.resource_type.clone(),
            resource_id: entry.resource_id.clone(),
            resource_name: filled(entry.resource_name.clone()),
            before: json(&entry.before),
            after: json(&entry.after),
            previous_hash: hex::encode(entry.previous_hash),
            hash: hex::encode(entry.hash),
        }
    }
}

impl AuditVerified {
    /// `verified` as callers see it.
    #[must_use]
    pub fn of(verified: &Verified, verifier: &HeadVerifier) -> Self {
        Self {
            entries: verified.entries,
            receipts: verified.receipts,
            sound: verified.faults.is_empty(),
            faults: verified.faults.iter().map(ToString::to_string).collect(),
            end: verified.end.as_ref().map(|(head, signature)| AuditEnd {
                organization_id: head.org_id.to_string(),
                seq: head.seq,
                hash: hex::encode(head.hash),
                signature: hex::encode(signature),
                public_key: hex::encode(verifier.public_key()),
            }),
        }
    }
}

impl Link {
    /// `link` as an export tells it; `verifier` is what its end's signature is checked with.
    #[must_use]
    pub fn of(link: ChainLink, verifier: &HeadVerifier) -> Self {
        match link {
            ChainLink::Authority(certificate) => Self::Authority(Authority { certificate: certificate.to_vec() }),
            ChainLink::Entry(entry) => Self::Entry(entry),
            ChainLink::End(head, signature) => Self::End(AuditEnd {
                organization_id: head.org_id.to_string(),
                seq: head.seq,
                hash: hex::encode(head.hash),
                signature: hex::encode(signature),
                public_key: hex::encode(verifier.public_key()),
            }),
        }
    }
}

impl From<Entry> for wire::AuditEntry {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at_us: entry.at_us,
            organization_id: entry.org_id.to_string(),
            actor_kind: entry.actor_kind,
            actor_id: entry.actor_id,
            actor_name: entry.actor_name,
            credential: entry.credential,
            source_address: entry.source_address,
            request_id: entry.request_id,
            action: entry.action,
            resource_type: entry.resource_type,
            resource_id: entry.resource_id,
            resource_name: entry.resource_name,
            before: entry.before,
            after: entry.after,
            previous_hash: entry.previous_hash.to_vec(),
            hash: entry.hash.to_vec(),
        }
    }
}

/// The entry as the chain has it.
///
/// # Errors
/// Its number, where an id or a hash is none.
pub fn of_wire(entry: wire::AuditEntry) -> Result<Entry, u64> {
    let seq = entry.seq;
    let damaged = |_| seq;
    Ok(Entry {
        org_id: entry.organization_id.parse().map_err(|_| seq)?,
        seq,
        at_us: entry.at_us,
        previous_hash: entry.previous_hash.try_into().map_err(damaged)?,
        hash: entry.hash.try_into().map_err(damaged)?,
        actor_kind: entry.actor_kind,
        actor_id: entry.actor_id,
        actor_name: entry.actor_name,
        credential: entry.credential,
        source_address: entry.source_address,
        request_id: entry.request_id,
        action: entry.action,
        resource_type: entry.resource_type,
        resource_id: entry.resource_id,
        resource_name: entry.resource_name,
        before: entry.before,
        after: entry.after,
    })
}

impl From<AuditEnd> for wire::AuditEnd {
    fn from(end: AuditEnd) -> Self {
        let bytes = |text: String| hex::decode(text).unwrap_or_default();
        Self {
            organization_id: end.organization_id,
            seq: end.seq,
            hash: bytes(end.hash),
            signature: bytes(end.signature),
            public_key: bytes(end.public_key),
        }
    }
}

impl From<wire::AuditEnd> for AuditEnd {
    fn from(end: wire::AuditEnd) -> Self {
        Self {
            organization_id: end.organization_id,
            seq: end.seq,
            hash: hex::encode(end.hash),
            signature: hex::encode(end.signature),
            public_key: hex::encode(end.public_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::id::OrgId;
    use serde_json::json;

    use super::*;
    use crate::{
        access::Act,
        audit::{GENESIS, Record},
    };

    #[test]
    fn an_entry_keeps_its_hash_through_json_and_wire() {
        let act = Act::of_system(OrgId::generate(), 1_736_937_000_123_456);
        let record = Record::new(&act, Action::ServerUpdated, "1", "web \u{1f980} \"1\"");
        let record = record.change(&json!({ "b": 1.5, "a": null }), &json!({ "b": 2, "a": "\u{2028}" }));
        let entry = Entry::following(&record, 7, GENESIS);
        let json = serde_json::to_string(&entry).expect("JSON");
        assert!(json.contains(&format!("\"hash\":\"{}\"", hex::encode(entry.hash))), "{json}");
        assert_eq!(serde_json::from_str::<Entry>(&json).expect("reads"), entry);
        assert_eq!(of_wire(wire::AuditEntry::from(entry.clone())), Ok(entry.clone()));
        let damaged = wire::AuditEntry { hash: vec![0; 31], ..wire::AuditEntry::from(entry.clone()) };
        assert_eq!(of_wire(damaged), Err(7));
        assert_eq!(AuditEntry::of(&entry).after, Some(json!({ "a": "\u{2028}", "b": 2 })));
        assert_eq!(entry.computed_hash(), entry.hash);
    }

    #[test]
    fn a_word_nobody_uses_is_refused_with_the_nearest() {
        let filter = AuditFilter { action: Some("SERVER_CREATE".into()), ..AuditFilter::default() };
        let error = known_words(&filter).expect_err("refused");
        assert!(error.detail.contains("did you mean SERVER_CREATED?"), "{}", error.detail);
    }
}
