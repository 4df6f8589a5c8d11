//! Quotas: how much an organisation may use, decided in integers.
//!
//! There are two accounts against the same three limits, since an environment's cores are cores of a server and would
//! count twice in one: what the organisation's servers have, and what its active environments were given.

mod amounts;
mod limits;
#[cfg(test)]
mod tests;

pub use amounts::{
    Amounts, MB_PER_GB, REPLICA_CPU_PERCENT, REPLICA_DISK_PERCENT, REPLICA_RAM_PERCENT, Resource, counted, number,
    thousandths, written,
};
pub use limits::{Exceeded, Limits, admit, admit_unsized};

use muster_shared::id::OrgId;

use crate::{
    access::Act,
    error::{Error, ErrorKind},
    store::Store,
};

/// An organisation's limits and what is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub org_id: OrgId,
    pub limits: Limits,
    pub servers: Amounts,
    pub environments: Amounts,
}

/// Changes to the limits; `None` leaves one as it is, `Some(None)` lifts it. Thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitsPatch {
    pub cpu_milli: Option<Option<u64>>,
    pub ram_mb_milli: Option<Option<u64>>,
    pub disk_gb_milli: Option<Option<u64>>,
}

/// The quotas of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct Quotas {
    store: Store,
}

impl Quotas {
    /// The quotas in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// How `org` stands.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId) -> Result<Standing, Error> {
        self.store.quota(org).await?.ok_or_else(|| Error::not_found("organization"))
    }

    /// Changes limits. One below what is in use takes nothing away; it only lets nothing more in.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn set(&self, act: &Act, patch: &LimitsPatch) -> Result<Standing, Error> {
        if !self.store.set_quota(act, patch).await? {
            return Err(Error::not_found("organization"));
        }
        self.get(act.org_id).await
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::new(ErrorKind::PermissionDenied, "quota_exceeded", exceeded.to_string())
    }
}
