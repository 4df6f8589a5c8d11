use std::time::Duration;

use muster_shared::{
    command::CommandBody,
    id::CommandId,
    receipt::{ReceiptKey, ReceiptSigner, sha256},
};

use super::*;
use crate::identity::{CertificateAuthority, PublicKey, test_request};

const NOW_US: i64 = 1_800_000_000_000_000;

fn signer() -> ReceiptSigner {
    ReceiptSigner::from_pkcs8(&ReceiptSigner::generate_pkcs8().expect("randomness")).expect("a fresh key")
}

fn certificate(server: ServerId, key: Option<&ReceiptKey>) -> Arc<PeerCertificate> {
    let (certificate, pkcs8) = CertificateAuthority::generate("test.internal", NOW_US).expect("randomness");
    let authority = CertificateAuthority::from_stored("test.internal", certificate, &pkcs8).expect("just made");
    let public_key = PublicKey::from_request(&test_request()).expect("a request");
    let life = Duration::from_secs(3600);
    let issued = authority.issue_agent(&public_key, server, key, life, NOW_US).expect("signed");
    Arc::new(PeerCertificate::parse(&issued.chain[0], "test.internal").expect("an identity"))
}

fn envelope(server_id: ServerId) -> Envelope {
    Envelope {
        command_id: CommandId::generate(),
        server_id,
        issued_at_us: NOW_US,
        expires_at_us: NOW_US + 1,
        body: CommandBody::RefreshFacts,
    }
}

/// What a host sends of the end of the command in `envelope`.
fn ended(signer: &ReceiptSigner, envelope: &Envelope) -> wire::Finished {
    let result = Some(wire::finished::Result::FactsJson("{}".into()));
    let mut finished = wire::Finished {
        outcome: wire::CommandOutcome::Succeeded.into(),
        code: "done".into(),
        result,
        ..wire::Finished::default()
    };
    finished.receipt = Some(signer.sign(&wire::Receipt {
        command_id: envelope.command_id.to_string(),
        server_id: envelope.server_id.to_string(),
        command_sha256: sha256(&wire::CommandEnvelope::from(envelope).encode_to_vec()).to_vec(),
        outcome: finished.outcome,
        code: finished.code.clone(),
        result_sha256: receipt::result_sha256(finished.result.as_ref()).map(Vec::from).unwrap_or_default(),
        started_at_us: NOW_US,
        ended_at_us: NOW_US + 1,
        agent_version: "1.2.3".into(),
    }));
    finished
}

fn read(mut finished: wire::Finished) -> Finished {
    Finished {
        receipt: HostReceipt::of(&mut finished),
        state: CommandState::from(finished.outcome()),
        code: finished.code,
        detail: String::new(),
        result: None,
    }
}

#[test]
fn an_end_that_the_host_signed_is_proven_and_anything_else_is_named() {
    let (signer, server) = (signer(), ServerId::generate());
    let envelope = envelope(server);
    let certificate = certificate(server, Some(&signer.public_key()));
    let judged = |finished, from: Reporter| judge(&envelope, &read(finished), &from);
    let good = || ended(&signer, &envelope);

    let proven = judged(good(), (&certificate).into()).expect("proven");
    assert_eq!((proven.started_at_us, proven.agent_version.as_str()), (Some(NOW_US), "1.2.3"));

    let none = wire::Finished { receipt: None, ..good() };
    assert_eq!(judged(none, (&certificate).into()), Err(NoProof::Missing));
    let keyless = self::certificate(server, None);
    assert_eq!(judged(good(), (&keyless).into()), Err(NoProof::NoKey));
    assert_eq!(judged(good(), server.into()), Err(NoProof::NoKey), "nobody showed a certificate");
    let other_key = self::certificate(server, Some(&self::signer().public_key()));
    assert_eq!(judged(good(), (&other_key).into()), Err(NoProof::Bad(BadReceipt::SignatureInvalid)));
    let other_server = self::certificate(ServerId::generate(), Some(&signer.public_key()));
    assert_eq!(judged(good(), (&other_server).into()), Err(NoProof::OtherServer));
    let other_arguments = Envelope { expires_at_us: NOW_US + 2, ..envelope.clone() };
    assert_eq!(judged(ended(&signer, &other_arguments), (&certificate).into()), Err(NoProof::OtherCommand));
    let other_end = wire::Finished { outcome: wire::CommandOutcome::Failed.into(), ..good() };
    assert_eq!(judged(other_end, (&certificate).into()), Err(NoProof::OtherEnd));
    let other_result = wire::Finished { result: Some(wire::finished::Result::FactsJson("[]".into())), ..good() };
    assert_eq!(judged(other_result, (&certificate).into()), Err(NoProof::OtherEnd));
}

#[test]
fn an_end_without_proof_is_on_record_with_the_reason() {
    let (signer, server) = (signer(), ServerId::generate());
    let envelope = envelope(server);
    let certificate = certificate(server, Some(&signer.public_key()));
    let from = Reporter::from(&certificate);
    let proven = read(ended(&signer, &envelope));
    let record = on_record(&proven, &from, &judge(&envelope, &proven, &from));
    assert_eq!((&record["outcome"], &record["code"]), (&json!("succeeded"), &json!("done")));
    assert_eq!(record["receipt"]["certificate"], json!(hex::encode(&certificate.der)));
    let unproven = Finished { receipt: None, ..proven };
    let record = on_record(&unproven, &from, &judge(&envelope, &unproven, &from));
    assert_eq!(record["no_receipt"], json!("the host sent no receipt"));
    assert!(record.get("receipt").is_none());
}
