//! Why a command ended badly: what to print, what to do next, and the exit code.

use std::error::Error as StdError;

use tonic::{Code, Status};

use super::next_step::next_step;

/// Metadata under which gRPC errors carry the REST error's code.
pub(super) const ERROR_CODE: &str = "muster-error-code";

/// A command that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub exit_code: u8,
    /// What happened.
    pub message: String,
    /// What to do; empty where the message says it already.
    pub next_step: String,
}

impl Failure {
    /// The request was carried out and ended badly: exit code 1.
    pub fn ended_badly(message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { exit_code: 1, message: message.into(), next_step: next_step.into() }
    }

    /// The command line can't be carried out: exit code 2.
    pub fn usage(message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { exit_code: 2, message: message.into(), next_step: next_step.into() }
    }

    /// The connection to the control plane ended: exit code 5.
    pub fn disconnected(message: impl Into<String>) -> Self {
        Self { exit_code: 5, message: message.into(), next_step: "try again in a moment".to_owned() }
    }

    /// Whether trying again, with a new connection, may help.
    #[must_use]
    pub fn is_for_want_of_a_connection(&self) -> bool {
        self.exit_code == 5
    }

    /// No answer from the control plane: exit code 5.
    pub fn unreachable(url: &str, error: &(dyn StdError + 'static)) -> Self {
        let reason = chain(error);
        let next_step = if reason.contains("pinned CA") {
            "check --ca-sha256 (MUSTER_CA_SHA256) against the control plane's ca.sha256; if it is right, somebody answers in its place"
        } else if reason.contains("UnknownIssuer") || reason.contains("invalid peer certificate") {
            "the certificate is not publicly trusted: pass --ca-sha256 (MUSTER_CA_SHA256) with the SHA-256 of the control plane's CA"
        } else {
            "check --url (MUSTER_URL) and that `muster serve` runs there"
        };
        Self {
            exit_code: 5,
            message: format!("the control plane at {url} can't be reached: {reason}"),
            next_step: next_step.into(),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let code = status.metadata().get(ERROR_CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
        let exit_code = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => 2,
            Code::NotFound => 3,
            Code::Unauthenticated | Code::PermissionDenied => 4,
            Code::Unavailable => 5,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => 6,
            _ => 1,
        };
        let next_step = next_step(status.code(), code, status.message());
        let message = match (status.message(), code) {
            ("", _) => status.code().description().to_owned(),
            (message, "") => message.to_owned(),
            (message, code) => format!("{message} ({code})"),
        };
        Self { exit_code, message, next_step: next_step.to_owned() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.next_step.is_empty() { Ok(()) } else { write!(f, "\n  next: {}", self.next_step) }
    }
}

impl StdError for Failure {}

/// An error and its sources, outermost first, without saying anything twice.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) && text != "transport error" {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_code(code: Code) -> u8 {
        Failure::from(Status::new(code, "no")).exit_code
    }

    #[test]
    fn exit_codes_mean_something() {
        assert_eq!(exit_code(Code::InvalidArgument), 2);
        assert_eq!(exit_code(Code::NotFound), 3);
        assert_eq!(exit_code(Code::Unauthenticated), 4);
        assert_eq!(exit_code(Code::PermissionDenied), 4);
        assert_eq!(exit_code(Code::Unavailable), 5);
        assert_eq!(exit_code(Code::FailedPrecondition), 6);
        assert_eq!(exit_code(Code::Internal), 1);
    }

    #[test]
    fn the_machine_word_is_shown_beside_the_message() {
        let mut status = Status::failed_precondition("no agent is connected");
        status.metadata_mut().insert(ERROR_CODE, "agent_offline".parse().expect("ascii"));
        let told = Failure::from(status).to_string();
        assert!(told.starts_with("error: no agent is connected (agent_offline)\n  next: "), "{told}");
        assert!(told.contains("muster servers show"), "{told}");
    }
}
