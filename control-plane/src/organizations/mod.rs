//! Organisations: the tenants. Today there is one, made at the first start.

use muster_shared::id::OrgId;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    pub id: OrgId,
    pub name: String,
    pub created_at_us: i64,
}
