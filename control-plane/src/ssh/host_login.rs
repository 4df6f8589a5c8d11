//! Changes how a host is entered, from within a login on it: by the agent's own `login`, carried there for one run.
//! Keys are changed as the login itself, passwords as root.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::{AgentRun, Carriage, RunEvent, Session, SshError};
use crate::{agent_binary::AgentBinaries, servers::SshTarget, servers::SudoMode};

/// Time for one change: most of it is the binary's way there.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Lines a run is ahead of its reader before it waits.
const PENDING_LINES: usize = 16;

/// What the agent answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    changed: bool,
    kept: bool,
    restored: bool,
}

/// A login on a host, as the place to change logins from.
#[derive(Debug, Clone, Copy)]
pub struct HostLogin<'a> {
    session: &'a Session,
    binaries: &'a AgentBinaries,
    target: &'a SshTarget,
}

impl<'a> HostLogin<'a> {
    /// The login behind `session`, which `target` led to.
    #[must_use]
    pub fn new(session: &'a Session, binaries: &'a AgentBinaries, target: &'a SshTarget) -> Self {
        Self { session, binaries, target }
    }

    /// Lets the public key `key` in, with the options of `like` where that is given and known. Safe to repeat; answers
    /// whether anything was changed.
    ///
    /// # Errors
    /// As [`Session::run_agent`]; then nothing was changed as far as the host could tell.
    pub async fn authorize(&self, key: &str, like: Option<&str>) -> Result<bool, SshError> {
        let mut arguments = vec!["authorize", "--key", key];
        arguments.extend(like.into_iter().flat_map(|like| ["--like", like]));
        Ok(self.as_itself(&arguments).await?.changed)
    }

    /// Takes every line of the public key `key` away. Safe to repeat; answers whether anything was changed.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub async fn withdraw(&self, key: &str) -> Result<bool, SshError> {
        Ok(self.as_itself(&["withdraw", "--key", key]).await?.changed)
    }

    /// Fails unless the login runs programs, and as root, too, where the server's sudo mode asks for that.
    ///
    /// # Errors
    /// [`SshError::Elevation`] where root can't be reached with what is known of sudo.
    pub async fn reach_root(&self) -> Result<(), SshError> {
        self.as_root(&["check"]).await.map(drop)
    }

    /// Switches passwords off for everybody, on trial: the host puts everything back by itself unless it is kept
    /// within `within`. Answers whether anything was changed; not where they were off already.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub async fn passwords_off(&self, within: Duration) -> Result<bool, SshError> {
        let seconds = within.as_secs().to_string();
        let arguments = ["passwords-off", "--user", self.target.username.as_str(), "--within", &seconds];
        Ok(self.as_root(&arguments).await?.changed)
    }

    /// Ends the trial; answers false where the host had put everything back before.
    ///
    /// # Errors
    /// As [`Session::run_agent`]; the host then puts everything back, unless the order arrived.
    pub async fn passwords_keep(&self) -> Result<bool, SshError> {
        Ok(self.as_root(&["passwords-keep"]).await?.kept)
    }

    /// Puts everything back that is on trial.
    ///
    /// # Errors
    /// As [`Session::run_agent`]; the host then does so by itself in time.
    pub async fn passwords_restore(&self) -> Result<bool, SshError> {
        Ok(self.as_root(&["passwords-restore"]).await?.restored)
    }

    async fn as_itself(&self, arguments: &[&str]) -> Result<Answer, SshError> {
        self.run(arguments, SudoMode::None).await
    }

    async fn as_root(&self, arguments: &[&str]) -> Result<Answer, SshError> {
        self.run(arguments, self.target.sudo_mode).await
    }

    async fn run(&self, arguments: &[&str], sudo_mode: SudoMode) -> Result<Answer, SshError> {
        let arguments: Vec<String> = ["login"].iter().chain(arguments).map(ToString::to_string).collect();
        let (events, mut told) = mpsc::channel(PENDING_LINES);
        let run = async move {
            let run = AgentRun {
                arguments: &arguments,
                sudo_mode,
                sudo_password: self.target.auth.sudo_password(),
                secret: None,
                time_limit: TIME_LIMIT,
            };
            self.session.run_agent(run, self.binaries, &events).await
        };
        let listen = async {
            let mut answer = None;
            while let Some(event) = told.recv().await {
                if let RunEvent::Line(line) = event {
                    answer = serde_json::from_str(&line).ok().or(answer);
                }
            }
            answer
        };
        let (ended, answer) = tokio::join!(run, listen);
        ended?;
        answer.ok_or(SshError::Carriage(Carriage::AnswerUnreadable))
    }
}
