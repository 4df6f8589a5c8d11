//! The host's receipt for a command's end: judged once, when it arrives, and kept with what it takes to judge it again.

use std::sync::Arc;

use muster_shared::{
    command::{CommandState, Envelope},
    id::ServerId,
    receipt::{self, BadReceipt, Receipt, Sha256},
    tls::PeerCertificate,
    wire,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Finished;

/// Who reports: the server that the stream's certificate names.
#[derive(Debug, Clone)]
pub struct Reporter {
    pub server: ServerId,
    /// `None` where nobody showed one, as in tests of the store.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl From<ServerId> for Reporter {
    fn from(server: ServerId) -> Self {
        Self { server, certificate: None }
    }
}

impl From<&Arc<PeerCertificate>> for Reporter {
    fn from(certificate: &Arc<PeerCertificate>) -> Self {
        Self { server: certificate.server_id, certificate: Some(Arc::clone(certificate)) }
    }
}

/// A receipt as it arrived, and what it came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReceipt {
    #[serde(with = "hex::serde")]
    pub receipt: Vec<u8>,
    #[serde(with = "hex::serde")]
    pub signature: Vec<u8>,
    /// What the report called the end.
    pub reported: CommandState,
    /// Of the report's result.
    pub result_sha256: Option<Sha256>,
}

impl HostReceipt {
    /// The receipt that came with a report; `None` where none did.
    pub(super) fn of(finished: &mut wire::Finished) -> Option<Box<Self>> {
        let sent = finished.receipt.take()?;
        Some(Box::new(Self {
            receipt: sent.receipt,
            signature: sent.signature,
            reported: CommandState::from(finished.outcome()),
            result_sha256: receipt::result_sha256(finished.result.as_ref()),
        }))
    }

    fn signed(&self) -> wire::SignedReceipt {
        wire::SignedReceipt { receipt: self.receipt.clone(), signature: self.signature.clone() }
    }
}

/// Why a command's end has no receipt that proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    #[error("the host sent no receipt")]
    Missing,
    #[error("the host's certificate names no receipt key: it will after its next renewal")]
    NoKey,
    #[error(transparent)]
    Bad(#[from] BadReceipt),
    #[error("the receipt is another server's")]
    OtherServer,
    #[error("the receipt is for another command, or for the same with other arguments")]
    OtherCommand,
    #[error("the receipt tells of another end than the report")]
    OtherEnd,
}

impl NoProof {
    /// Whether somebody claims what was not signed, rather than claiming nothing.
    #[must_use]
    pub fn is_false(self) -> bool {
        !matches!(self, Self::Missing | Self::NoKey)
    }
}

/// How a command ended, as far as the host put its name to it.
///
/// # Errors
/// [`NoProof`]: the end counts all the same, but is on record without a proof.
pub fn judge(envelope: &Envelope, finished: &Finished, from: &Reporter) -> Result<Receipt, NoProof> {
    let sent = finished.receipt.as_ref().ok_or(NoProof::Missing)?;
    let key = from.certificate.as_ref().and_then(|certificate| certificate.receipt_key).ok_or(NoProof::NoKey)?;
    let receipt = receipt::verify(&sent.signed(), &key)?;
    let command_sha256 = receipt::sha256(&wire::CommandEnvelope::from(envelope).encode_to_vec());
    if receipt.server_id != from.server {
        Err(NoProof::OtherServer)
    } else if receipt.command_id != envelope.command_id || receipt.command_sha256 != command_sha256 {
        Err(NoProof::OtherCommand)
    } else if (receipt.state, receipt.result_sha256) != (sent.reported, sent.result_sha256) {
        Err(NoProof::OtherEnd)
    } else {
        Ok(receipt)
    }
}

/// What a command's end is on record as: how it ended, and the receipt with the certificate that vouches for its key, or
/// why there is none.
#[must_use]
pub fn on_record(finished: &Finished, from: &Reporter, judged: &Result<Receipt, NoProof>) -> Value {
    match (judged, &finished.receipt, &from.certificate) {
        (Ok(receipt), Some(sent), Some(certificate)) => json!({
            "outcome": receipt.state.as_str(),
            "code": receipt.code,
            "receipt": {
                "receipt": hex::encode(&sent.receipt),
                "signature": hex::encode(&sent.signature),
                "certificate": hex::encode(&certificate.der),
            },
        }),
        (judged, ..) => json!({
            "outcome": finished.state.as_str(),
            "code": finished.code,
            "no_receipt": judged.as_ref().err().map(ToString::to_string),
        }),
    }
}

/// How a command's receipt stands, as it is kept with the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptStanding {
    /// Why there is no proof; `None` for a receipt that verified.
    pub no_proof: Option<String>,
    /// By the host's clock.
    pub started_at_us: Option<i64>,
    pub ended_at_us: Option<i64>,
    pub agent_version: Option<String>,
}

impl ReceiptStanding {
    /// What is kept of `judged`.
    #[must_use]
    pub fn of(judged: &Result<Receipt, NoProof>) -> Self {
        match judged {
            Ok(receipt) => Self {
                no_proof: None,
                started_at_us: receipt.started_at_us,
                ended_at_us: Some(receipt.ended_at_us),
                agent_version: Some(receipt.agent_version.clone()),
            },
            Err(why) => {
                Self { no_proof: Some(why.to_string()), started_at_us: None, ended_at_us: None, agent_version: None }
            }
        }
    }
}

#[cfg(test)]
mod tests;
