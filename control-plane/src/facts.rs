//! Having a host's facts collected anew: over its agent's stream, or over SSH where no agent is.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use muster_shared::{
    command::{CommandBody, CommandState},
    id::{OrgId, ServerId},
};
use tokio::time::timeout;

use crate::{
    access::Act,
    commands::{Command, CommandEvent, Commands},
    connection_test::ConnectionTest,
    error::{Error, ErrorKind},
    servers::{ConnectionOutcome, Server, Servers},
    sessions::Sessions,
};

/// How long a caller waits for a host that is online; the command itself goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the command may wait for its host: as long as somebody waits for it.
const TTL_US: i64 = 30 * 1_000_000;

type Result<T> = std::result::Result<T, Error>;

/// Refreshes facts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FactsRefresh {
    servers: Servers,
    commands: Commands,
    sessions: Sessions,
    connection_test: ConnectionTest,
}

impl FactsRefresh {
    /// Refreshes through the handles given.
    #[must_use]
    pub fn new(servers: Servers, commands: Commands, sessions: Sessions, connection_test: ConnectionTest) -> Self {
        Self { servers, commands, sessions, connection_test }
    }

    /// Collects the facts of `server` and stores them; answers the server as it is then.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where there is neither a connected agent nor a login, or
    /// where the host refused; [`ErrorKind::Unavailable`] when it did not answer in time.
    pub async fn run(&self, act: &Act, server: ServerId) -> Result<Server> {
        let org = act.org_id;
        self.servers.get(org, server).await?;
        if self.sessions.is_online(server) {
            self.through_agent(act, server).await?;
        } else {
            self.over_ssh(org, server).await?;
        }
        self.servers.get(org, server).await
    }

    async fn through_agent(&self, act: &Act, server: ServerId) -> Result<()> {
        let command = self.commands.submit(act, server, CommandBody::RefreshFacts, TTL_US).await?;
        let ended = timeout(PATIENCE, self.ended(act.org_id, &command)).await.map_err(|_| {
            let detail = format!("the agent has not answered in time; the command {} goes on", command.id);
            Error::new(ErrorKind::Unavailable, "agent_slow", detail)
        })??;
        match ended.state {
            CommandState::Succeeded => Ok(()),
            state => Err(Error::new(ErrorKind::Precondition, "command_failed", why(state, &ended.detail))),
        }
    }

    async fn ended(&self, org: OrgId, command: &Command) -> Result<Command> {
        let mut events = pin!(self.commands.watch(org, command.id).await?);
        while let Some(event) = events.next().await {
            if let CommandEvent::Changed(command) = event?
                && command.state.is_final()
            {
                return Ok(command);
            }
        }
        self.commands.get(org, command.id).await
    }

    async fn over_ssh(&self, org: OrgId, server: ServerId) -> Result<()> {
        let tested = self.connection_test.run_saved(org, server).await.map_err(|error| match error.code {
            "no_ssh_credentials" => {
                let detail =
                    "its agent is not connected and it has no SSH credentials: start its agent or add credentials";
                Error::new(ErrorKind::Precondition, "agent_offline", detail)
            }
            _ => error,
        })?;
        if tested.outcome == ConnectionOutcome::Success {
            return Ok(());
        }
        let remedy = tested.remedy.map(|remedy| format!(". {remedy}")).unwrap_or_default();
        Err(Error::new(ErrorKind::Precondition, tested.outcome.as_str(), format!("{}{remedy}", tested.message)))
    }
}

/// How a command that did not succeed ended, in words.
#[must_use]
pub fn why(state: CommandState, detail: &str) -> String {
    match (state, detail) {
        (CommandState::Expired, "") => "the agent did not take the command in time: is it connected?".to_owned(),
        (state, "") => format!("the command ended as {}", state.as_str()),
        (_, detail) => detail.to_owned(),
    }
}
