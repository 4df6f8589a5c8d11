//! The one error callers meet, and its one mapping to HTTP and gRPC.
//!
//! Deeper layers have their own errors and turn them into this one where a caller's request ends. Callers get a code
//! and a remedy; operators get the chain of sources, logged once at the edge.

use std::{error::Error as StdError, fmt};

/// What kind of trouble it is, and so which HTTP status and gRPC code it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong: 422, INVALID_ARGUMENT.
    Invalid,
    /// No valid credentials: 401, UNAUTHENTICATED.
    Unauthenticated,
    /// Valid credentials, not allowed: 403, PERMISSION_DENIED.
    PermissionDenied,
    /// No such thing, as far as this caller may know: 404, NOT_FOUND.
    NotFound,
    /// The thing exists already, or changed meanwhile: 409, ALREADY_EXISTS.
    Conflict,
    /// The thing is not in a state that allows this: 409, FAILED_PRECONDITION.
    Precondition,
    /// A limit is reached: 429, RESOURCE_EXHAUSTED.
    Exhausted,
    /// Something this depends on does not answer; trying again may help: 503, UNAVAILABLE.
    Unavailable,
    /// Our fault: 500, INTERNAL.
    Internal,
}

/// An error with a machine's word, a person's words and, for operators, its source.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    /// A stable word, such as `server_not_found`.
    pub code: &'static str,
    /// What happened and what to do, for the caller.
    pub detail: String,
    /// When trying again makes sense.
    pub retry_after_seconds: Option<u32>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with its word and its words.
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), retry_after_seconds: None, source: None }
    }

    /// [`ErrorKind::Invalid`].
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, detail)
    }

    /// [`ErrorKind::NotFound`]: `noun` is what was looked for.
    #[must_use]
    pub fn not_found(noun: &'static str) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", format!("no such {noun}"))
    }

    /// [`ErrorKind::Internal`], with what went wrong for the log only.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Internal, "internal", "an internal error; the log has the details under this request id")
            .because(source)
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The HTTP status this becomes.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        use http::StatusCode;
        match self.kind {
            ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::Precondition => StatusCode::CONFLICT,
            ErrorKind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC code this becomes.
    #[must_use]
    pub fn grpc_code(&self) -> tonic::Code {
        use tonic::Code;
        match self.kind {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::Unauthenticated => Code::Unauthenticated,
            ErrorKind::PermissionDenied => Code::PermissionDenied,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Conflict => Code::AlreadyExists,
            ErrorKind::Precondition => Code::FailedPrecondition,
            ErrorKind::Exhausted => Code::ResourceExhausted,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Internal => Code::Internal,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
