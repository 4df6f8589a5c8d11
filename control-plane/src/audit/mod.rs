//! The audit record: every change, by whom, from where, before and after.
//!
//! A change and its entry are one transaction: a store function that changes what is audited takes a [`Record`] and
//! appends it before it commits. Each organisation's entries form a chain, every one carrying the hash of the one
//! before, and the newest is signed, so that an entry that was edited, removed, cut off or moved is named by
//! [`verify`]. How a command ended is on record with its host's receipt, which [`receipts`] judges. Secrets never enter: nouns hand over what they show to callers, and say of a secret only that it changed.

mod action;
mod chain;
mod changes;
mod reading;
mod receipts;
mod signer;
mod verify;

pub use action::{Action, ResourceType};
pub use chain::{Entry, GENESIS, Hash, Head};
pub use changes::changes;
pub use reading::{Audit, AuditOpenError, ChainLink, MAX_PAGE, Verified};
pub use receipts::ReceiptFault;
pub use signer::{AuditSigner, BadAuditKey, HeadVerifier};
pub use verify::{Fault, Verifier, Walked};

use serde_json::{Value, json};

use crate::access::Act;

/// Most bytes kept of what a resource was, and of what it became.
pub const MAX_STATE_BYTES: usize = 16 * 1024;
/// Most characters kept of a resource's name.
pub const MAX_NAME_CHARS: usize = 200;

/// What a change was made to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub id: String,
    /// As people call it; empty where it has no name.
    pub name: String,
}

/// A change, as it goes on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub act: Act,
    pub action: Action,
    pub resource: Resource,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Record {
    /// `act` did `action` to the resource `id`, called `name`.
    #[must_use]
    pub fn new(act: &Act, action: Action, id: impl ToString, name: impl ToString) -> Self {
        let name = name.to_string().chars().take(MAX_NAME_CHARS).collect();
        Self { act: act.clone(), action, resource: Resource { id: id.to_string(), name }, before: None, after: None }
    }

    /// What it became.
    #[must_use]
    pub fn after(mut self, after: Value) -> Self {
        self.after = Some(bounded(after));
        self
    }

    /// What it was.
    #[must_use]
    pub fn before(mut self, before: Value) -> Self {
        self.before = Some(bounded(before));
        self
    }

    /// What it was and became, in what differs.
    #[must_use]
    pub fn change(self, before: &Value, after: &Value) -> Self {
        let (before, after) = changes(before, after);
        self.before(before).after(after)
    }
}

/// A state that is too large is on record by its size only.
fn bounded(state: Value) -> Value {
    let bytes = state.to_string().len();
    if bytes <= MAX_STATE_BYTES {
        return state;
    }
    metrics::counter!("muster_audit_states_left_out_total").increment(1);
    json!({ "left_out_bytes": bytes })
}

#[cfg(test)]
mod tests {
    use muster_shared::id::{OrgId, ServerId};

    use super::*;

    #[test]
    fn a_large_state_is_left_out_and_a_long_name_cut() {
        let act = Act::of_system(OrgId::generate(), 1);
        let record = Record::new(&act, Action::ServerUpdated, ServerId::generate(), "x".repeat(1000));
        assert_eq!(record.resource.name.len(), MAX_NAME_CHARS);
        let large = "y".repeat(MAX_STATE_BYTES);
        assert_eq!(record.after(json!({ "text": large })).after, Some(json!({ "left_out_bytes": large.len() + 11 })));
    }
}
