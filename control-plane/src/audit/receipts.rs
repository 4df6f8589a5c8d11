//! Receipts on record: whether the host that a command's entry names really signed what the entry says.
//!
//! An entry carries the receipt and the certificate that names the key it was signed with; the certificate is believed
//! if one of the authorities given has signed it. So neither a host's link nor whoever got hold of the database and the key
//! that signs the chain can pass an end of their making off as the host's. Who has the authority's key, too, can name a
//! receipt key of their own in a new certificate: only the host's own key shows that.

use std::time::Duration;

use muster_shared::{
    receipt::{self, BadReceipt},
    tls::PeerCertificate,
    wire,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::Value;

use super::{Action, Entry};
use crate::identity::is_signed_by;

/// How long after its certificate's end a receipt may be put on record: a stream is cut when its certificate ends, and what
/// was read from it by then is still stored.
const STORED_WITHIN_US: i64 = 10 * 60 * 1_000_000;

/// What is wrong with a receipt on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    #[error("it can't be read")]
    Malformed,
    #[error("its certificate was not signed by the authority")]
    Authority,
    #[error("its certificate was not valid then")]
    Expired,
    #[error("its certificate names no receipt key")]
    NoKey,
    #[error("it was not signed with the key of its certificate")]
    Signature,
    #[error("it is another server's, or for another command, or tells of another end")]
    Other,
}

/// What `entry` carries: nothing, a receipt that proves it, or one that does not.
#[must_use]
pub(super) fn judge(entry: &Entry, authorities: &[CertificateDer<'static>]) -> Option<Result<(), ReceiptFault>> {
    if entry.action != Action::CommandFinished.as_str() {
        return None;
    }
    let state: Value = match serde_json::from_str(&entry.after) {
        Ok(state) => state,
        Err(_) => return Some(Err(ReceiptFault::Malformed)),
    };
    let receipt = state.get("receipt")?;
    Some(prove(entry, &state, receipt, authorities))
}

fn prove(
    entry: &Entry,
    state: &Value,
    receipt: &Value,
    authorities: &[CertificateDer<'static>],
) -> Result<(), ReceiptFault> {
    let bytes = |name: &str| {
        receipt.get(name).and_then(Value::as_str).and_then(|text| hex::decode(text).ok()).ok_or(ReceiptFault::Malformed)
    };
    let certificate = CertificateDer::from(bytes("certificate")?);
    let (_, peer) = PeerCertificate::parse_any(&certificate).map_err(|_| ReceiptFault::Malformed)?;
    let at = UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(peer.not_before_us).unwrap_or_default()));
    if !authorities.iter().any(|authority| is_signed_by(&certificate, authority, at)) {
        return Err(ReceiptFault::Authority);
    }
    if !(peer.not_before_us..=peer.not_after_us.saturating_add(STORED_WITHIN_US)).contains(&entry.at_us) {
        return Err(ReceiptFault::Expired);
    }
    let signed = wire::SignedReceipt { receipt: bytes("receipt")?, signature: bytes("signature")? };
    let key = peer.receipt_key.ok_or(ReceiptFault::NoKey)?;
    let receipt = receipt::verify(&signed, &key).map_err(|bad| match bad {
        BadReceipt::SignatureInvalid => ReceiptFault::Signature,
        BadReceipt::Malformed => ReceiptFault::Malformed,
    })?;
    let said = |name: &str| state.get(name).and_then(Value::as_str);
    let server = peer.server_id.to_string();
    let fits = receipt.server_id == peer.server_id
        && (entry.actor_kind.as_str(), entry.actor_id.as_str()) == ("host", server.as_str())
        && receipt.command_id.to_string() == entry.resource_id
        && said("outcome") == Some(receipt.state.as_str())
        && said("code") == Some(receipt.code.as_str());
    if fits { Ok(()) } else { Err(ReceiptFault::Other) }
}

#[cfg(test)]
mod tests;
