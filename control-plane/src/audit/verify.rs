//! Walking a chain and naming what does not fit.

use muster_shared::id::OrgId;

use rustls_pki_types::CertificateDer;

use super::{
    Entry, GENESIS, Hash, Head, HeadVerifier,
    receipts::{self, ReceiptFault},
};

/// Something wrong with a chain. Entries are named by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("entry {0} was edited: its fields don't add up to its hash")]
    Edited(u64),
    #[error("entry {0} is missing")]
    Missing(u64),
    #[error("entries {from} to {to} are missing")]
    MissingFrom { from: u64, to: u64 },
    #[error("entry {found} stands where entry {expected} should")]
    OutOfOrder { expected: u64, found: u64 },
    #[error("entry {0} does not follow the entry before it")]
    Unchained(u64),
    #[error("entry {0} belongs to another organization")]
    Foreign(u64),
    #[error("the last entries are gone: {0} and what follows up to the signed end")]
    CutOff(u64),
    #[error("entry {0} and what follows are beyond the signed end")]
    BeyondEnd(u64),
    #[error("the end's hash is not that of entry {0}")]
    EndDiffers(u64),
    #[error("the signature under the end, entry {0}, is not valid")]
    BadSignature(u64),
    #[error("there are entries, but no signed end")]
    NoEnd,
    #[error("the receipt in entry {0} proves nothing: {1}")]
    Receipt(u64, ReceiptFault),
}

/// What walking a chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    pub entries: u64,
    /// How many entries carry a receipt that proves them.
    pub receipts: u64,
    /// In the chain's order.
    pub faults: Vec<Fault>,
}

/// Takes a chain's entries in order of their numbers, then its end.
#[derive(Debug)]
pub struct Verifier {
    org_id: OrgId,
    /// The number and hash of the last entry seen.
    last: (u64, Hash),
    /// Whose certificates are believed.
    authorities: Vec<CertificateDer<'static>>,
    receipts: u64,
    faults: Vec<Fault>,
}

impl Verifier {
    /// A verifier of the chain of `org_id`.
    #[must_use]
    pub fn new(org_id: OrgId) -> Self {
        Self { org_id, last: (0, GENESIS), authorities: Vec::new(), receipts: 0, faults: Vec::new() }
    }

    /// Believes certificates that one of `authorities` has signed. Without one, every receipt is a fault.
    #[must_use]
    pub fn believing(mut self, authorities: Vec<CertificateDer<'static>>) -> Self {
        self.authorities = authorities;
        self
    }

    /// Takes the next entry.
    pub fn entry(&mut self, entry: &Entry) {
        let (last, last_hash) = self.last;
        let expected = last + 1;
        if entry.org_id != self.org_id {
            self.faults.push(Fault::Foreign(entry.seq));
        }
        if entry.seq < expected {
            self.faults.push(Fault::OutOfOrder { expected, found: entry.seq });
            return;
        }
        // A wide gap is named one by one at its beginning, then as what it is: nothing goes untold.
        let named_until = entry.seq.min(expected.saturating_add(MAX_NAMED));
        self.faults.extend((expected..named_until).map(Fault::Missing));
        if named_until < entry.seq {
            self.faults.push(Fault::MissingFrom { from: named_until, to: entry.seq - 1 });
        }
        if entry.computed_hash() != entry.hash {
            self.faults.push(Fault::Edited(entry.seq));
        } else if entry.seq == expected && entry.previous_hash != last_hash {
            self.faults.push(Fault::Unchained(entry.seq));
        }
        match receipts::judge(entry, &self.authorities) {
            Some(Ok(())) => self.receipts += 1,
            Some(Err(fault)) => self.faults.push(Fault::Receipt(entry.seq, fault)),
            None => {}
        }
        self.last = (entry.seq, entry.hash);
    }

    /// Takes the chain's end with its signature, and answers what there was and what is wrong.
    #[must_use]
    pub fn finish(mut self, end: Option<(Head, &[u8])>, verifier: &HeadVerifier) -> Walked {
        let (seq, hash) = self.last;
        match end {
            None if seq > 0 => self.faults.push(Fault::NoEnd),
            None => {}
            Some((head, signature)) => {
                if !verifier.accepts(&head, signature) || head.org_id != self.org_id {
                    self.faults.push(Fault::BadSignature(head.seq));
                }
                if head.seq > seq {
                    self.faults.push(Fault::CutOff(seq + 1));
                } else if head.seq < seq {
                    self.faults.push(Fault::BeyondEnd(head.seq + 1));
                } else if head.hash != hash {
                    self.faults.push(Fault::EndDiffers(seq));
                }
            }
        }
        Walked { entries: seq, receipts: self.receipts, faults: self.faults }
    }
}

/// Missing entries named one by one in a single gap.
const MAX_NAMED: u64 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        access::Act,
        audit::{Action, AuditSigner, Record},
    };

    fn chain(org: OrgId, length: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for seq in 1..=length {
            let act = Act::of_system(org, i64::try_from(seq).expect("small"));
            let record = Record::new(&act, Action::ServerUpdated, seq, "web").after(json!({ "cpu_cores": seq }));
            let previous = entries.last().map_or(GENESIS, |entry| entry.hash);
            entries.push(Entry::following(&record, seq, previous));
        }
        entries
    }

    fn signer() -> AuditSigner {
        AuditSigner::from_pkcs8(&AuditSigner::generate_pkcs8().expect("randomness")).expect("a key")
    }

    fn faults(org: OrgId, entries: &[Entry], head: Head, signer: &AuditSigner) -> Vec<Fault> {
        let mut verifier = Verifier::new(org);
        entries.iter().for_each(|entry| verifier.entry(entry));
        verifier.finish(Some((head, &signer.sign(&head))), &signer.verifier()).faults
    }

    /// Something done to a chain behind the control plane's back, to the entry at an index.
    #[derive(Debug, Clone, Copy)]
    enum Tampering {
        Edit,
        EditAndRehash,
        Remove,
        CutOff,
        Swap,
    }

    proptest! {
        #[test]
        fn whatever_is_done_to_one_entry_is_named(
            length in 2_u64..12,
            at in any::<prop::sample::Index>(),
            tampering in prop::sample::select(&[
                Tampering::Edit, Tampering::EditAndRehash, Tampering::Remove, Tampering::CutOff, Tampering::Swap,
            ][..]),
        ) {
            let (org, signer) = (OrgId::generate(), signer());
            let mut entries = chain(org, length);
            let head = entries.last().expect("entries").head();
            prop_assert_eq!(faults(org, &entries, head, &signer), vec![]);
            let index = at.index(entries.len());
            let seq = entries[index].seq;
            match tampering {
                Tampering::Edit => entries[index].actor_name.push('x'),
                Tampering::EditAndRehash => {
                    entries[index].after = String::new();
                    entries[index].hash = entries[index].computed_hash();
                }
                Tampering::Remove => { entries.remove(index); }
                Tampering::CutOff => entries.truncate(index),
                Tampering::Swap => {
                    let other = (index + 1) % entries.len();
                    let (one, two) = (entries[index].seq, entries[other].seq);
                    (entries[index].seq, entries[other].seq) = (two, one);
                    entries.swap(index, other);
                }
            }
            let found = faults(org, &entries, head, &signer);
            let last = seq == length;
            let named = match tampering {
                Tampering::Edit | Tampering::Swap => found.contains(&Fault::Edited(seq)),
                Tampering::EditAndRehash if last => found.contains(&Fault::EndDiffers(seq)),
                Tampering::EditAndRehash => found.contains(&Fault::Unchained(seq + 1)),
                Tampering::Remove if last => found.contains(&Fault::CutOff(seq)),
                Tampering::Remove => found.contains(&Fault::Missing(seq)),
                Tampering::CutOff => found.contains(&Fault::CutOff(seq)),
            };
            prop_assert!(named, "{:?} of {}: {:?}", tampering, seq, found);
        }
    }

    #[test]
    fn a_wide_gap_is_told_to_its_end() {
        let (org, signer) = (OrgId::generate(), signer());
        let mut entries = chain(org, 3_000);
        let head = entries.last().expect("entries").head();
        entries.drain(1..2_500);
        let found = faults(org, &entries, head, &signer);
        assert_eq!((found.first(), found.len()), (Some(&Fault::Missing(2)), 1_001));
        assert_eq!(found.last(), Some(&Fault::MissingFrom { from: 1_002, to: 2_500 }));
    }

    #[test]
    fn an_end_of_somebody_elses_making_is_refused() {
        let (org, signer) = (OrgId::generate(), signer());
        let entries = chain(org, 3);
        let shorter = entries[1].head();
        let mut verifier = Verifier::new(org);
        entries[..2].iter().for_each(|entry| verifier.entry(entry));
        let end = (shorter, &super::tests::signer().sign(&shorter)[..]);
        let walked = verifier.finish(Some(end), &signer.verifier());
        assert_eq!((walked.entries, walked.faults), (2, vec![Fault::BadSignature(2)]));
        assert_eq!(faults(OrgId::generate(), &entries[..1], entries[0].head(), &signer)[0], Fault::Foreign(1));
        let mut verifier = Verifier::new(org);
        verifier.entry(&entries[0]);
        assert_eq!(verifier.finish(None, &signer.verifier()).faults, [Fault::NoEnd]);
    }
}
