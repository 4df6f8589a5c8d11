//! Which commands to list. Pure.

use muster_shared::{
    command::{CommandBody, CommandState},
    id::ServerId,
};

use super::DEFAULT_PAGE;
use crate::error::Error;

/// A page of an organisation's commands, newest first. What is `None` leaves nothing out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFilter {
    /// The server that carries them out or is their target.
    pub server: Option<ServerId>,
    pub state: Option<CommandState>,
    /// One of [`CommandBody::KINDS`].
    pub kind: Option<&'static str>,
    /// Only those asked for at or after this time.
    pub since_us: Option<i64>,
    pub skip: u32,
    /// 1 to [`MAX_PAGE`](super::MAX_PAGE).
    pub limit: u32,
}

impl Default for CommandFilter {
    fn default() -> Self {
        Self { server: None, state: None, kind: None, since_us: None, skip: 0, limit: DEFAULT_PAGE }
    }
}

impl CommandFilter {
    /// The first page of a server's commands.
    #[must_use]
    pub fn of_server(server: ServerId) -> Self {
        Self { server: Some(server), ..Self::default() }
    }

    /// With the state and the kind that these words name.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for a word there is not: the detail lists those there are.
    pub fn of_words(self, state: Option<&str>, kind: Option<&str>) -> Result<Self, Error> {
        let unknown = |what: &str, word: &str, known: &[&str]| {
            Error::invalid(
                "unknown_word",
                format!("there is no {what} {word:?} of commands: it is one of {}", known.join(", ")),
            )
        };
        let state = match state {
            Some(word) => Some(
                CommandState::parse(word)
                    .ok_or_else(|| unknown("state", word, &CommandState::ALL.map(CommandState::as_str)))?,
            ),
            None => None,
        };
        let kind = match kind {
            Some(word) => {
                let known = CommandBody::KINDS.into_iter().find(|known| *known == word);
                Some(known.ok_or_else(|| unknown("kind", word, &CommandBody::KINDS))?)
            }
            None => None,
        };
        Ok(Self { state, kind, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_none_are_refused_with_those_there_are() {
        let filter = CommandFilter::default().of_words(Some("failed"), Some("change")).expect("known");
        assert_eq!((filter.state, filter.kind), (Some(CommandState::Failed), Some("change")));
        let refused = |state, kind| CommandFilter::default().of_words(state, kind).expect_err("refused").detail;
        assert!(refused(Some("lost"), None).contains("indeterminate"));
        assert!(refused(None, Some("rm")).contains("refresh_facts"));
    }
}
