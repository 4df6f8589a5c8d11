//! A login on a host, and runs of the agent in it.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use russh::{
    ChannelMsg,
    client::{Handle, Msg},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    SshError,
    carrier::{Action, Dialogue, Route, exec_line},
    connect::HostKeyCheck,
    error::{Carriage, Elevation},
};
use crate::{
    agent_binary::{AgentBinaries, AgentBinary},
    servers::SudoMode,
};

/// Time for the host's shell and sudo to come to the point where they take the binary.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Extended data of this type is standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// What to run on the host.
#[derive(Debug)]
pub struct AgentRun<'a> {
    pub arguments: &'a [String],
    pub sudo_mode: SudoMode,
    pub sudo_password: Option<&'a SecretString>,
    /// One line that the agent finds on its standard input, such as a join token.
    pub secret: Option<&'a SecretString>,
    /// Time for the whole run.
    pub time_limit: Duration,
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// The login works.
    Greeted { arch: String, is_root: bool },
    /// The binary is on its way.
    Uploading { bytes: usize },
    /// The binary is whole there and runs.
    Running,
    /// A line the agent wrote.
    Line(String),
}

/// An authenticated connection. Dropping it ends it.
pub struct Session {
    handle: Handle<HostKeyCheck>,
    local_ip: IpAddr,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("local_ip", &self.local_ip).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(handle: Handle<HostKeyCheck>, local_ip: IpAddr) -> Self {
        Self { handle, local_ip }
    }

    /// The address this machine has towards the host.
    #[must_use]
    pub fn local_ip(&self) -> IpAddr {
        self.local_ip
    }

    /// Carries the agent to the host, runs it and removes it again; tells `events` meanwhile, waiting for its reader.
    /// A reader that left does not end the run.
    ///
    /// # Errors
    /// Root can't be reached, the binary can't be carried or started, it ended with another status than 0, or time
    /// ran out.
    pub async fn run_agent(
        &self,
        run: AgentRun<'_>,
        binaries: &AgentBinaries,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<(), SshError> {
        let route = Route { mode: run.sudo_mode, has_password: run.sudo_password.is_some() };
        let line =
            exec_line(route, run.arguments).map_err(|error| SshError::broken("the start of the agent", error))?;
        let deadline = Instant::now() + run.time_limit;
        let channel = timeout_at(deadline, self.handle.channel_open_session())
            .await
            .map_err(|_| timed_out("the opening of a channel", run.time_limit))?
            .map_err(|error| SshError::broken("the opening of a channel", error))?;
        channel.exec(false, line).await.map_err(|error| SshError::broken("the start of the agent", error))?;
        let mut exec = Exec { channel, run, binaries, events, arch: String::new(), binary: None, status: None };
        exec.converse(Dialogue::new(route), deadline).await
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        // The host may be gone already; the connection ends either way when the handle is dropped.
        let _ = self.handle.disconnect(russh::Disconnect::ByApplication, "", "en").await;
    }
}

fn timed_out(during: &'static str, limit: Duration) -> SshError {
    SshError::Timeout { during, seconds: limit.as_secs() }
}

/// One exec's dialogue with its outside: does what the [`Dialogue`] decides.
struct Exec<'a> {
    channel: russh::Channel<Msg>,
    run: AgentRun<'a>,
    binaries: &'a AgentBinaries,
    events: &'a mpsc::Sender<RunEvent>,
    arch: String,
    binary: Option<AgentBinary>,
    status: Option<u32>,
}

impl Exec<'_> {
    async fn converse(&mut self, mut dialogue: Dialogue, deadline: Instant) -> Result<(), SshError> {
        let start_deadline = deadline.min(Instant::now() + START_TIMEOUT);
        let mut stopped = false;
        while !stopped {
            let (limit, seconds) = match self.binary {
                None => (start_deadline, START_TIMEOUT.min(self.run.time_limit)),
                Some(_) => (deadline, self.run.time_limit),
            };
            let Ok(message) = timeout_at(limit, self.channel.wait()).await else {
                return Err(timed_out(dialogue.during(), seconds));
            };
            let actions = match message {
                Some(ChannelMsg::Data { data }) => dialogue.stdout(&data),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => dialogue.stderr(&data),
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    self.status = Some(exit_status);
                    continue;
                }
                Some(_) => continue,
                None => break,
            };
            for action in actions {
                stopped |= action == Action::Stop;
                let done = timeout_at(deadline, self.act(action)).await;
                done.map_err(|_| timed_out(dialogue.during(), self.run.time_limit))??;
            }
        }
        if let Some(action) = dialogue.last_line() {
            self.act(action).await?;
        }
        dialogue.end(self.status)
    }

    async fn act(&mut self, action: Action) -> Result<(), SshError> {
        match action {
            Action::Greeted { arch, is_root } => {
                self.arch.clone_from(&arch);
                self.tell(RunEvent::Greeted { arch, is_root }).await;
            }
            Action::SendPassword => {
                let password = self.run.sudo_password.ok_or(SshError::Elevation(Elevation::PasswordRequired))?;
                self.send(format!("{}\n", password.expose_secret())).await?;
            }
            Action::SendBinary => self.send_binary().await?,
            Action::Running => self.tell(RunEvent::Running).await,
            Action::Line(line) => self.tell(RunEvent::Line(line)).await,
            Action::Stop => {
                // The exec's end decides; a channel that is closed already has ended too.
                let _ = self.channel.close().await;
            }
        }
        Ok(())
    }

    async fn send_binary(&mut self) -> Result<(), SshError> {
        let found = self.binaries.get(&self.arch).await;
        let found = found.map_err(|error| SshError::broken("the reading of the agent", error))?;
        let binary = found.ok_or_else(|| SshError::Carriage(Carriage::NoAgentFor(self.arch.clone())))?;
        self.tell(RunEvent::Uploading { bytes: binary.bytes.len() }).await;
        let secret = self.run.secret.map_or("", |secret| secret.expose_secret());
        self.send(format!("{} {}\n{secret}\n", binary.bytes.len(), binary.sha256)).await?;
        self.send(binary.bytes.clone()).await?;
        self.binary = Some(binary);
        self.channel.eof().await.map_err(|error| SshError::broken("the upload", error))
    }

    async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), SshError> {
        self.channel.data_bytes(bytes).await.map_err(|error| SshError::broken("the upload", error))
    }

    async fn tell(&self, event: RunEvent) {
        // Whoever asked may have left; the run goes on.
        let _ = self.events.send(event).await;
    }
}
