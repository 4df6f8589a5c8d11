//! Reading the record, and having it verified.

use muster_shared::id::OrgId;

use super::{AuditSigner, BadAuditKey, Entry, Fault, HeadVerifier, Verifier};
use crate::{
    error::{Error, ErrorKind},
    keyring::{Keyring, KeyringError},
    store::{AuditFilter, Store},
};

const AUDIT_KEY_SECRET: &str = "audit_key";
/// Entries in a page, at most.
pub const MAX_PAGE: u32 = 1000;
/// Faults told of one verification; a chain with more is broken enough.
const MAX_FAULTS: usize = 1000;

/// Why the record can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditOpenError {
    #[error("the key ring did not open the audit key")]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Key(#[from] BadAuditKey),
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many entries the chain has.
    pub entries: u64,
    /// What does not fit, in the chain's order; empty for a sound chain.
    pub faults: Vec<Fault>,
}

/// The audit record of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Store,
    verifier: HeadVerifier,
}

impl Audit {
    /// Loads the key that signs the record, or makes it at the first start, and lets `store` sign with it.
    ///
    /// # Errors
    /// [`AuditOpenError`].
    pub async fn open(store: &Store, keyring: &Keyring, now_us: i64) -> Result<Self, AuditOpenError> {
        let key = match keyring.control_secret(store, AUDIT_KEY_SECRET).await? {
            Some(key) => key,
            None => {
                let fresh = AuditSigner::generate_pkcs8()?;
                keyring.keep_control_secret(store, AUDIT_KEY_SECRET, &fresh, now_us).await?
            }
        };
        let signer = AuditSigner::from_pkcs8(&key)?;
        let verifier = signer.verifier();
        store.sign_audit_with(signer);
        Ok(Self::new(store.clone(), verifier))
    }

    /// The record in `store`, whose chains' ends `verifier` checks.
    #[must_use]
    pub fn new(store: Store, verifier: HeadVerifier) -> Self {
        Self { store, verifier }
    }

    /// What signatures under chains' ends are checked with.
    #[must_use]
    pub fn verifier(&self) -> &HeadVerifier {
        &self.verifier
    }

    /// A page of entries, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a span that ends before it begins.
    pub async fn list(&self, org: OrgId, filter: &AuditFilter) -> Result<Vec<Entry>, Error> {
        if filter.from_us.zip(filter.to_us).is_some_and(|(from, to)| from > to) {
            return Err(Error::new(ErrorKind::Invalid, "invalid_span", "from must not be after to"));
        }
        let filter = AuditFilter { limit: filter.limit.clamp(1, MAX_PAGE), ..filter.clone() };
        Ok(self.store.list_audit(org, &filter).await?)
    }

    /// The next entries after the number `after_seq` in the chain's order; none at its end.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn chain(&self, org: OrgId, after_seq: u64) -> Result<Vec<Entry>, Error> {
        Ok(self.store.audit_chain(org, after_seq).await?)
    }

    /// Walks the organisation's whole chain, up to the end it has when the walk is through.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn verify(&self, org: OrgId) -> Result<Verified, Error> {
        let mut walk = Walk { verifier: Verifier::new(org), reached: 0 };
        self.walk(org, &mut walk, u64::MAX).await?;
        // Read after the entries, the end can't be older than any of them. What was appended since is walked up to it.
        let end = self.store.audit_head(org).await?;
        if let Some((head, _)) = &end {
            self.walk(org, &mut walk, head.seq).await?;
        }
        let end = end.as_ref().map(|(head, signature)| (*head, signature.as_slice()));
        let (entries, mut faults) = walk.verifier.finish(end, &self.verifier);
        faults.truncate(MAX_FAULTS);
        Ok(Verified { entries, faults })
    }

    async fn walk(&self, org: OrgId, walk: &mut Walk, last: u64) -> Result<(), Error> {
        while walk.reached < last {
            let entries = self.store.audit_chain(org, walk.reached).await?;
            for entry in entries.iter().filter(|entry| entry.seq <= last) {
                walk.verifier.entry(entry);
            }
            match entries.last() {
                Some(entry) => walk.reached = entry.seq,
                None => break,
            }
        }
        Ok(())
    }
}

struct Walk {
    verifier: Verifier,
    /// The number of the last entry read.
    reached: u64,
}
