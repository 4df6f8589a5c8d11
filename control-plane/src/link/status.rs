//! Errors as agents meet them.

use tonic::{Status, metadata::MetadataValue};

use crate::error::{Error, ErrorKind};

/// Metadata that carries the error's word.
const ERROR_CODE: &str = "muster-error-code";

/// The gRPC status of `error`. What is our fault is logged here, where it stops.
pub(super) fn status(error: &Error) -> Status {
    if matches!(error.kind, ErrorKind::Internal | ErrorKind::Unavailable) {
        tracing::warn!(code = error.code, error = %crate::app::chain(error), "agent's call failed");
    }
    let mut status = Status::new(error.grpc_code(), error.detail.clone());
    status.metadata_mut().insert(ERROR_CODE, MetadataValue::from_static(error.code));
    status
}

/// A refusal with its word, counted under it.
pub(super) fn refusal(kind: ErrorKind, code: &'static str, detail: &str) -> Status {
    metrics::counter!("muster_link_refused_total", "reason" => code).increment(1);
    status(&Error::new(kind, code, detail))
}
