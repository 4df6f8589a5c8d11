//! Runs the agent's read-only questions once, where no agent is installed.

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::mpsc;

use super::{AgentRun, RunEvent, Session, SshError, SudoMode};
use crate::agent_binary::AgentBinaries;

/// Time for one probe: preflight's network checks are the longest part of it.
const PROBE_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Lines a probe is ahead of its reader before it waits.
const PENDING_LINES: usize = 64;

/// What a probe asks: `muster-agent probe <arguments>`.
#[derive(Debug, Clone)]
pub struct Probe {
    pub arguments: Vec<String>,
    pub sudo_mode: SudoMode,
    pub sudo_password: Option<SecretString>,
}

/// Runs `question` in `session` and hands `each` the lines of its answer as they come.
///
/// # Errors
/// As [`Session::run_agent`].
pub async fn probe(
    session: &Session,
    binaries: &AgentBinaries,
    question: &Probe,
    mut each: impl FnMut(RunEvent),
) -> Result<(), SshError> {
    let arguments: Vec<String> = ["probe".to_owned()].into_iter().chain(question.arguments.iter().cloned()).collect();
    let (events, mut told) = mpsc::channel(PENDING_LINES);
    let run = async move {
        let run = AgentRun {
            arguments: &arguments,
            sudo_mode: question.sudo_mode,
            sudo_password: question.sudo_password.as_ref(),
            secret: None,
            time_limit: PROBE_TIME_LIMIT,
        };
        session.run_agent(run, binaries, &events).await
    };
    let listen = async {
        while let Some(event) = told.recv().await {
            each(event);
        }
    };
    let (result, ()) = tokio::join!(run, listen);
    result
}
