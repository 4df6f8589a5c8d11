//! Runs the agent's read-only questions once, where no agent is installed.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{AgentRun, RunEvent, Session, SshError};
use crate::{
    agent_binary::AgentBinaries,
    servers::{SshTarget, SudoMode},
};

/// Time for one probe: preflight's network checks are the longest part of it.
const PROBE_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Lines a probe is ahead of its reader before it waits.
const PENDING_LINES: usize = 64;

/// Runs `muster-agent probe <question>` in `session` and hands `each` what it tells as it comes, the answer's lines
/// among it. The login's password is what sudo gets, where `sudo_mode` leads through sudo.
///
/// # Errors
/// As [`Session::run_agent`].
pub async fn probe(
    session: &Session,
    binaries: &AgentBinaries,
    target: &SshTarget,
    sudo_mode: SudoMode,
    question: &[&str],
    mut each: impl FnMut(RunEvent),
) -> Result<(), SshError> {
    let arguments: Vec<String> = ["probe"].iter().chain(question).map(ToString::to_string).collect();
    let (events, mut told) = mpsc::channel(PENDING_LINES);
    let run = async move {
        let run = AgentRun {
            arguments: &arguments,
            sudo_mode,
            sudo_password: target.auth.sudo_password(),
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
