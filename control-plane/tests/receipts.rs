//! Receipts over the wire: what a host signs is on record with its proof, and what it did not sign is not.

mod support;

use muster::commands::{Command, DEFAULT_TTL_US};
use muster_shared::{
    command::CommandBody,
    receipt::{ReceiptSigner, sha256},
    tls::PeerCertificate,
    wire::{self, agent_message, command_update, control_message},
};

use support::{Agent, Link, Plane, TRUST_DOMAIN};

fn signer() -> ReceiptSigner {
    ReceiptSigner::from_pkcs8(&ReceiptSigner::generate_pkcs8().expect("randomness")).expect("a fresh key")
}

async fn enrolled(plane: &Plane, signer: &ReceiptSigner) -> Agent {
    let mut agent = Agent { receipt_key: signer.public_key().to_vec(), ..Agent::new(plane) };
    agent.enroll(&plane.token().await).await.expect("enrolled");
    agent
}

/// Has the host carry out a command, its end signed by `signer`, and answers the command as it is then.
async fn carried_out(plane: &Plane, agent: &Agent, link: &mut Link, signer: Option<&ReceiptSigner>) -> Command {
    let act = plane.act(plane.app.clock.now_us());
    let submitted = plane.app.commands.submit(&act, agent.server(), CommandBody::RefreshFacts, DEFAULT_TTL_US);
    let command = submitted.await.expect("submitted");
    let Some(control_message::Kind::Deliver(deliver)) = link.next().await.expect("open") else { panic!("no command") };
    let envelope = deliver.command.expect("signed").envelope;
    let mut finished = wire::Finished {
        outcome: wire::CommandOutcome::Failed.into(),
        code: "no_facts".into(),
        ..wire::Finished::default()
    };
    finished.receipt = signer.map(|signer| {
        signer.sign(&wire::Receipt {
            command_id: command.id.to_string(),
            server_id: agent.server().to_string(),
            command_sha256: sha256(&envelope).to_vec(),
            outcome: finished.outcome,
            code: finished.code.clone(),
            ended_at_us: 7,
            ..wire::Receipt::default()
        })
    });
    let kind = Some(command_update::Kind::Finished(finished));
    let update = wire::CommandUpdate { command_id: command.id.to_string(), seq: 1, at_us: 7, kind };
    link.send(agent_message::Kind::CommandUpdate(update)).await;
    let ack = link.next().await.expect("open");
    assert!(matches!(ack, Some(control_message::Kind::CommandAck(_))), "{ack:?}");
    plane.app.commands.get(plane.org, command.id).await.expect("there")
}

#[tokio::test]
async fn an_end_is_on_record_with_its_receipt_and_a_forged_one_without() {
    let plane = Plane::start().await;
    let signer = signer();
    let mut agent = enrolled(&plane, &signer).await;
    let mut link = agent.connect().await.expect("connected");

    let proven = carried_out(&plane, &agent, &mut link, Some(&signer)).await;
    let receipt = proven.receipt.expect("judged");
    assert_eq!((receipt.no_proof, receipt.ended_at_us), (None, Some(7)));
    for (signer, why) in [(None, "no receipt"), (Some(&self::signer()), "not by the key of the host's certificate")] {
        let command = carried_out(&plane, &agent, &mut link, signer).await;
        assert!(command.state.is_final(), "the end counts all the same");
        let said = command.receipt.expect("judged").no_proof.expect("unproven");
        assert!(said.contains(why), "{said}");
    }
    let verified = plane.app.audit.verify(plane.org).await.expect("walked");
    assert_eq!((verified.receipts, verified.faults), (1, vec![]));
    plane.stopped().await;
}

#[tokio::test]
async fn a_renewal_keeps_the_receipt_key_that_enrolled() {
    let plane = Plane::start().await;
    let (signer, other) = (signer(), signer());
    let named = |agent: &Agent| {
        PeerCertificate::parse(&agent.chain[0], TRUST_DOMAIN).expect("an identity").receipt_key.map(Vec::from)
    };
    let mut agent = enrolled(&plane, &signer).await;
    assert_eq!(named(&agent), Some(signer.public_key().to_vec()));
    agent.receipt_key = other.public_key().to_vec();
    agent.renew().await.expect("renewed");
    assert_eq!(named(&agent), Some(signer.public_key().to_vec()), "who renews is not who signs");

    let mut older = plane.enrolled().await;
    assert_eq!(named(&older), None);
    older.receipt_key = other.public_key().to_vec();
    older.renew().await.expect("renewed");
    assert_eq!(named(&older), Some(other.public_key().to_vec()), "an agent that was renewed gets its key named");
    plane.stopped().await;
}
