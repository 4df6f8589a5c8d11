//! The real `muster-agent` on a scratch directory: joined with a token, then running both roles without an init system.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    binaries,
    control_plane::ControlPlane,
    patience::{SOON, held_to},
    process::{Lines, Process},
    wait,
};

/// Longest from SIGTERM to the end.
const STOP_LIMIT: Duration = Duration::from_secs(6);

/// A joined agent that runs.
#[derive(Debug)]
pub struct Agent {
    directory: TempDir,
    process: Process,
    server: String,
}

impl Agent {
    /// Joins this machine to `control_plane` under `name`, starts the agent and waits until it is online.
    ///
    /// # Errors
    /// When any of that fails.
    pub async fn join(control_plane: &ControlPlane, name: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let created = control_plane.join_token(Some(name)).await?;
        let token = created["token"].as_str().context("a token")?;
        enrol(&state(directory.path()), &control_plane.url(), token, &control_plane.ca_pin().to_string()).await?;
        let process = run(&state(directory.path()))?;
        let agent = Self { directory, process, server: name.to_owned() };
        agent.online(control_plane).await?;
        Ok(agent)
    }

    /// Waits until the control plane shows it online, and returns the server.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn online(&self, control_plane: &ControlPlane) -> Result<Value> {
        wait::until("the agent to be online", SOON, || async {
            let server = self.shown(control_plane).await?;
            Ok((server["agent_status"] == "online").then_some(server))
        })
        .await
        .with_context(|| format!("the agent's last lines:\n{}", self.lines().tail(20)))
    }

    /// Its server as the control plane shows it.
    ///
    /// # Errors
    /// When the control plane does not know it.
    pub async fn shown(&self, control_plane: &ControlPlane) -> Result<Value> {
        let server = control_plane.server_named(&self.server).await?;
        server.with_context(|| format!("no server {:?}", self.server))
    }

    /// Its state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        state(self.directory.path())
    }

    #[must_use]
    pub fn lines(&self) -> &Lines {
        self.process.lines()
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process_id(&self) -> Result<u32> {
        self.process.id()
    }

    /// SIGKILL. Comes back with [`Self::start_again`].
    ///
    /// # Errors
    /// When it had ended already.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and how long it took.
    ///
    /// # Errors
    /// When it takes longer than six seconds of a machine that has time for it.
    pub async fn terminate(&mut self) -> Result<Duration> {
        let (status, took) = self.process.terminate(held_to(STOP_LIMIT)).await?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", self.lines().tail(20));
        Ok(took)
    }

    /// Starts it again on the same directory.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = run(&self.state_dir())?;
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.end(held_to(STOP_LIMIT));
        if std::thread::panicking() {
            eprintln!("the agent's last lines:\n{}", self.lines().tail(40));
        }
    }
}

/// `muster-agent join`: gives the state directory an identity.
///
/// # Errors
/// When the control plane refuses, with the agent's own words.
pub async fn enrol(state_dir: &Path, url: &str, token: &str, ca_sha256: &str) -> Result<()> {
    let state_dir = state_dir.to_str().context("a path in UTF-8")?;
    let arguments = ["join", "--url", url, "--token", token, "--ca-sha256", ca_sha256, "--state-dir", state_dir];
    let mut join = Process::start(&binaries::muster_agent(), &arguments, &[])?;
    let status = join.wait(SOON).await?;
    ensure!(status.success(), "muster-agent join: {status}: {}", join.lines().tail(10));
    Ok(())
}

/// `muster-agent run` on a state directory that has an identity.
///
/// # Errors
/// When it can't be started.
pub fn run(state_dir: &Path) -> Result<Process> {
    let state_dir = state_dir.to_str().context("a path in UTF-8")?;
    Process::start(&binaries::muster_agent(), &["run", "--state-dir", state_dir], &[])
}

fn state(directory: &Path) -> PathBuf {
    directory.join("agent")
}
