//! Reading the record, and having it verified.

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use muster_shared::id::OrgId;

use rustls_pki_types::CertificateDer;

use super::{AuditSigner, BadAuditKey, Entry, Fault, Head, HeadVerifier, Verifier, Walked};
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

/// A piece of an exported chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainLink {
    /// Who has signed the certificates in receipts; comes first.
    Authority(CertificateDer<'static>),
    Entry(Box<Entry>),
    /// The end, and the signature under it.
    End(Head, Vec<u8>),
}

impl ChainLink {
    fn entry(entry: Entry) -> Self {
        Self::Entry(Box::new(entry))
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many entries the chain has.
    pub entries: u64,
    /// How many entries carry a receipt of the host's that proves them.
    pub receipts: u64,
    /// What does not fit, in the chain's order; empty for a sound chain.
    pub faults: Vec<Fault>,
    /// The chain's end and the signature under it; `None` before the first entry.
    pub end: Option<(Head, Vec<u8>)>,
}

/// The audit record of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Store,
    verifier: HeadVerifier,
    /// Whose certificates are believed in receipts.
    authorities: Vec<CertificateDer<'static>>,
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
        Self { store, verifier, authorities: Vec::new() }
    }

    /// Believes receipts of hosts whose certificates `authority` has signed.
    #[must_use]
    pub fn believing(mut self, authority: CertificateDer<'static>) -> Self {
        self.authorities.push(authority);
        self
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

    /// Who has signed the certificates in receipts, the whole chain in its order, then its signed end as it is when the
    /// entries have been told. Entries appended meanwhile are told as well. An organisation without entries has no end.
    pub fn export(&self, org: OrgId) -> impl Stream<Item = Result<ChainLink, Error>> + Send + use<> {
        let store = self.store.clone();
        let authorities: Vec<_> = self.authorities.iter().cloned().map(|one| Ok(ChainLink::Authority(one))).collect();
        let pages = stream::try_unfold((store, Reading::Entries(0)), move |(store, reading)| async move {
            let (links, next) = match reading {
                Reading::Done => return Ok::<_, Error>(None),
                Reading::Entries(after) => match store.audit_chain(org, after).await? {
                    entries if entries.is_empty() => (Vec::new(), Reading::End(after)),
                    entries => {
                        let reached = entries.last().map_or(after, |entry| entry.seq);
                        (entries.into_iter().map(ChainLink::entry).collect(), Reading::Entries(reached))
                    }
                },
                Reading::End(after) => match store.audit_head(org).await? {
                    // More was appended since the last page: it belongs before the end.
                    Some((head, _)) if head.seq > after && !store.audit_chain(org, after).await?.is_empty() => {
                        (Vec::new(), Reading::Entries(after))
                    }
                    Some((head, signature)) => (vec![ChainLink::End(head, signature)], Reading::Done),
                    None => (Vec::new(), Reading::Done),
                },
            };
            Ok(Some((stream::iter(links.into_iter().map(Ok)), (store, next))))
        });
        stream::iter(authorities).chain(pages.try_flatten())
    }

    /// Walks the organisation's whole chain, up to the end it has when the walk is through.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn verify(&self, org: OrgId) -> Result<Verified, Error> {
        let mut walk = Walk { verifier: Verifier::new(org).believing(self.authorities.clone()), reached: 0 };
        self.walk(org, &mut walk, u64::MAX).await?;
        // Read after the entries, the end can't be older than any of them. What was appended since is walked up to it.
        let end = self.store.audit_head(org).await?;
        if let Some((head, _)) = &end {
            self.walk(org, &mut walk, head.seq).await?;
        }
        let signed = end.as_ref().map(|(head, signature)| (*head, signature.as_slice()));
        let Walked { entries, receipts, mut faults } = walk.verifier.finish(signed, &self.verifier);
        let untold = faults.len().saturating_sub(MAX_FAULTS);
        if untold > 0 {
            metrics::counter!("muster_audit_faults_untold_total").increment(untold as u64);
            faults.truncate(MAX_FAULTS);
        }
        Ok(Verified { entries, receipts, faults, end })
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

enum Reading {
    /// After this number.
    Entries(u64),
    End(u64),
    Done,
}

struct Walk {
    verifier: Verifier,
    /// The number of the last entry read.
    reached: u64,
}
