//! A program with its arguments and environment, given out here and run elsewhere.

use std::time::Duration;

/// One run of a program. Nothing passes a shell, and nothing but `environment` and a fixed `PATH` and locale is
/// handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    pub program: &'static str,
    pub arguments: Vec<String>,
    pub environment: &'static [(&'static str, &'static str)],
    /// How long it may take, its waiting for locks included.
    pub limit: Duration,
}

impl Invocation {
    pub(super) fn new(program: &'static str, arguments: &[&str], limit: Duration) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { program, arguments, environment: &[], limit }
    }

    /// Program and arguments as a person would read them; not fit for a shell.
    #[must_use]
    pub fn line(&self) -> String {
        std::iter::once(self.program).chain(self.arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }
}

/// A name of a package or service that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a {1}: letters, digits and {2}, and it begins with a letter or digit")]
pub struct InvalidName(pub(super) String, pub(super) &'static str, pub(super) &'static str);

/// Longest name of a package or service, in bytes.
const MAX_NAME_BYTES: usize = 128;

pub(super) fn is_name(name: &str, besides: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || besides.contains(c);
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_allowed)
        && !name.contains("..")
}
