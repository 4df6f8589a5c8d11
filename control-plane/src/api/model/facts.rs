//! Facts as callers see them.

use muster_shared::{facts::Facts, id::ServerId};
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;

/// What is known of a host, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FactsDocument {
    pub vm_id: String,
    /// When the document was collected.
    pub collected_at: Time,
    pub facts: Facts,
}

impl FactsDocument {
    /// `facts` of `server`, collected at `collected_at_us`.
    #[must_use]
    pub fn of(server: ServerId, facts: Facts, collected_at_us: i64) -> Self {
        Self { vm_id: server.to_string(), collected_at: Time(collected_at_us), facts }
    }
}
