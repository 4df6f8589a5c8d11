//! Errors as gRPC answers them: the code, the words, and the REST error's word in the metadata.

use tonic::{Status, metadata::MetadataValue};

use crate::{
    app::chain,
    error::{Error, ErrorKind},
};

/// Metadata under which an error carries its word.
pub const ERROR_CODE: &str = "muster-error-code";

/// `error` as a status. An internal one is logged here, where it stops.
#[must_use]
pub fn to_status(error: &Error) -> Status {
    if error.kind == ErrorKind::Internal {
        tracing::error!(code = error.code, cause = chain(error), "call failed");
    } else {
        tracing::debug!(code = error.code, "call refused");
    }
    let mut status = Status::new(error.grpc_code(), error.detail.clone());
    status.metadata_mut().insert(ERROR_CODE, MetadataValue::from_static(error.code));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_the_word_and_never_the_cause() {
        let error = Error::internal("the password is hunter2");
        let status = to_status(&error);
        assert_eq!(status.code(), tonic::Code::Internal);
        assert_eq!(status.metadata().get(ERROR_CODE).expect("a word"), "internal");
        assert!(!format!("{status:?}").contains("hunter2"));
    }
}
