use std::time::Duration;

use muster_shared::{
    id::{CommandId, OrgId, ServerId},
    receipt::{ReceiptSigner, sha256},
};
use serde_json::json;

use super::*;
use crate::{
    access::{Act, Actor},
    audit::{AuditSigner, Fault, GENESIS, Record, Verifier},
    identity::{CertificateAuthority, PublicKey, test_request},
};

const NOW_US: i64 = 1_800_000_000_000_000;

/// A control plane and one of its hosts.
struct Signed {
    authority: CertificateAuthority,
    signer: ReceiptSigner,
    server: ServerId,
    command: CommandId,
    org: OrgId,
}

impl Signed {
    fn new() -> Self {
        let (certificate, key) = CertificateAuthority::generate("test.internal", NOW_US).expect("randomness");
        Self {
            authority: CertificateAuthority::from_stored("test.internal", certificate, &key).expect("just made"),
            signer: ReceiptSigner::from_pkcs8(&ReceiptSigner::generate_pkcs8().expect("randomness")).expect("a key"),
            server: ServerId::generate(),
            command: CommandId::generate(),
            org: OrgId::generate(),
        }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        let key = PublicKey::from_request(&test_request()).expect("a request");
        let named = self.signer.public_key();
        let life = Duration::from_secs(3600);
        let issued = self.authority.issue_agent(&key, self.server, Some(&named), life, NOW_US).expect("signed");
        issued.chain[0].clone()
    }

    /// What goes on record of a command that succeeded.
    fn state(&self) -> Value {
        let signed = self.signer.sign(&wire::Receipt {
            command_id: self.command.to_string(),
            server_id: self.server.to_string(),
            command_sha256: sha256(b"asked").to_vec(),
            outcome: wire::CommandOutcome::Succeeded.into(),
            code: "done".into(),
            ended_at_us: NOW_US,
            ..wire::Receipt::default()
        });
        json!({ "outcome": "succeeded", "code": "done", "receipt": {
            "receipt": hex::encode(&signed.receipt),
            "signature": hex::encode(&signed.signature),
            "certificate": hex::encode(self.certificate()),
        }})
    }

    fn entry(&self, command: CommandId, server: ServerId, at_us: i64, state: Value) -> Entry {
        let act = Act { actor: Actor::Host(Some(server)), ..Act::of_system(self.org, at_us) };
        let record = Record::new(&act, Action::CommandFinished, command, "preflight").after(state);
        Entry::following(&record, 1, GENESIS)
    }

    fn judged(&self, state: Value) -> Option<Result<(), ReceiptFault>> {
        judge(&self.entry(self.command, self.server, NOW_US, state), &[self.authority.certificate().clone()])
    }
}

#[test]
fn a_receipt_proves_its_entry_and_no_other() {
    let host = Signed::new();
    assert_eq!(host.judged(host.state()), Some(Ok(())));
    assert_eq!(host.judged(json!({ "outcome": "failed", "code": "", "no_receipt": "none came" })), None);

    let with = |pointer: &str, value: Value| {
        let mut state = host.state();
        *state.pointer_mut(pointer).expect("there") = value;
        state
    };
    let other = Signed::new();
    assert_eq!(host.judged(with("/outcome", json!("failed"))), Some(Err(ReceiptFault::Other)), "another end");
    assert_eq!(host.judged(with("/code", json!("other"))), Some(Err(ReceiptFault::Other)));
    let forged = other.state()["receipt"]["signature"].clone();
    assert_eq!(host.judged(with("/receipt/signature", forged)), Some(Err(ReceiptFault::Signature)));
    let foreign = json!(hex::encode(other.certificate()));
    assert_eq!(host.judged(with("/receipt/certificate", foreign)), Some(Err(ReceiptFault::Authority)));
    assert_eq!(host.judged(with("/receipt/receipt", json!("zz"))), Some(Err(ReceiptFault::Malformed)));

    let authorities = [host.authority.certificate().clone()];
    let judged = |command, server, at_us| judge(&host.entry(command, server, at_us, host.state()), &authorities);
    assert_eq!(judged(other.command, host.server, NOW_US), Some(Err(ReceiptFault::Other)), "another command");
    assert_eq!(judged(host.command, other.server, NOW_US), Some(Err(ReceiptFault::Other)), "another server");
    let late = NOW_US + 2 * 3_600_000_000;
    assert_eq!(judged(host.command, host.server, late), Some(Err(ReceiptFault::Expired)));
}

#[test]
fn an_end_that_was_made_up_is_found_out_though_the_chain_was_signed_anew() {
    let (host, audit) = (Signed::new(), {
        AuditSigner::from_pkcs8(&AuditSigner::generate_pkcs8().expect("randomness")).expect("a key")
    });
    let walked = |state| {
        let entry = host.entry(host.command, host.server, NOW_US, state);
        let mut verifier = Verifier::new(host.org).believing(vec![host.authority.certificate().clone()]);
        verifier.entry(&entry);
        verifier.finish(Some((entry.head(), &audit.sign(&entry.head()))), &audit.verifier())
    };
    let sound = walked(host.state());
    assert_eq!((sound.receipts, sound.faults), (1, vec![]));
    let mut rewritten = host.state();
    rewritten["outcome"] = json!("failed");
    assert_eq!(walked(rewritten).faults, [Fault::Receipt(1, ReceiptFault::Other)]);
}
