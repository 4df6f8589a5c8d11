//! Power: rebooting and stopping a server through its agent, and starting one through a neighbour.
//!
//! Each is a command, so it is durable, starts at most once and is decided by the host's own policy. The caller waits
//! for the host's first word ([`FIRST_WORD`]), so that a refusal is an answer and not something to look up.

pub mod neighbours;

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use muster_shared::{
    command::{CommandBody, CommandState},
    id::{OrgId, ServerId},
};
use tokio::time::timeout;

use crate::{
    access::Act,
    commands::{Command, CommandEvent, Commands, Step},
    error::{Error, ErrorKind},
    facts::why,
    servers::{Server, Servers},
    sessions::Sessions,
    store::Store,
};
use neighbours::{Missing, choose};

/// How long a power command may wait for its host. It is connected: it takes the command at once, or has just gone,
/// and nobody wants it to reboot when it comes back tomorrow.
const TTL_US: i64 = 60 * 1_000_000;
/// How long the caller waits for the host to say whether it does as it is told.
const FIRST_WORD: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, Error>;

/// What became of the wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// The host has taken the command, or has not said anything yet.
    UnderWay { server: Box<Server>, command: Box<Command>, message: String },
    /// The server is what it shall become.
    Already { server: Box<Server>, message: String },
}

/// The power of every organisation's servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Power {
    store: Store,
    servers: Servers,
    commands: Commands,
    sessions: Sessions,
}

impl Power {
    /// Works through the handles given.
    #[must_use]
    pub fn new(store: Store, servers: Servers, commands: Commands, sessions: Sessions) -> Self {
        Self { store, servers, commands, sessions }
    }

    /// Boots a server anew. The command ends once the host is back.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where its agent is not connected or the host refuses.
    pub async fn reboot(&self, act: &Act, server: ServerId) -> Result<Asked> {
        self.require_online(act.org_id, server).await?;
        self.submit(act, server, (server, CommandBody::Reboot), "the server reboots").await
    }

    /// Shuts a server down: its agent sends what it holds, then the host powers off.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where its agent is not connected or the host refuses.
    pub async fn stop(&self, act: &Act, server: ServerId) -> Result<Asked> {
        self.require_online(act.org_id, server).await?;
        self.submit(act, server, (server, CommandBody::Stop), "the server sends what it holds, then powers off").await
    }

    /// Wakes a server by a packet that a neighbour sends. The command is the neighbour's, and ends once the server's
    /// agent is back or has not come for too long.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] that says what is missing.
    pub async fn start(&self, act: &Act, server: ServerId) -> Result<Asked> {
        let org = act.org_id;
        let target = self.servers.get(org, server).await?;
        if self.sessions.is_online(server) {
            let message = "the server runs already and its agent is connected: nothing was done".to_owned();
            return Ok(Asked::Already { server: Box::new(target), message });
        }
        let places = self.store.places(org, server).await?;
        let neighbours = self.store.neighbours(org, &target, &places).await?;
        let waker = choose(org, server, &places, &neighbours).map_err(missing)?;
        let message = format!("{} sends the packet that wakes the server", waker.name);
        self.submit(act, server, (waker.server, CommandBody::Wake(waker.args)), &message).await
    }

    async fn require_online(&self, org: OrgId, server: ServerId) -> Result<()> {
        self.servers.get(org, server).await?;
        if self.sessions.is_online(server) {
            return Ok(());
        }
        let detail = "the server's agent is not connected, so nobody there could do it; start the server or its agent";
        Err(Error::new(ErrorKind::Precondition, "agent_offline", detail))
    }

    async fn submit(
        &self,
        act: &Act,
        about: ServerId,
        (host, body): (ServerId, CommandBody),
        message: &str,
    ) -> Result<Asked> {
        let org = act.org_id;
        let command = self.commands.submit(act, host, body, TTL_US).await?;
        let first_word = timeout(FIRST_WORD, self.first_word(org, &command)).await;
        if let Ok(heard) = first_word {
            heard?;
        }
        Ok(Asked::UnderWay {
            server: Box::new(self.servers.get(org, about).await?),
            command: Box::new(self.commands.get(org, command.id).await?),
            message: message.to_owned(),
        })
    }

    /// Waits until the host does something, or says that it will not.
    async fn first_word(&self, org: OrgId, command: &Command) -> Result<()> {
        let mut events = pin!(self.commands.watch(org, command.id).await?);
        while let Some(event) = events.next().await {
            match event? {
                CommandEvent::Update(update) => match update.step {
                    Step::Line(_) => return Ok(()),
                    Step::Finished(end) => return verdict(end.state, &end.code, &end.detail),
                    Step::Received | Step::Started | Step::Check(_) => {}
                },
                CommandEvent::Changed(command) if command.state.is_final() => {
                    return verdict(command.state, &command.code, &command.detail);
                }
                CommandEvent::Changed(_) => {}
            }
        }
        Ok(())
    }
}

/// What a command's end means for whoever asked for it.
fn verdict(state: CommandState, code: &str, detail: &str) -> Result<()> {
    let code = match (state, code) {
        (CommandState::Succeeded | CommandState::Indeterminate, _) => return Ok(()),
        (CommandState::Refused, "policy_refused") => "policy_refused",
        (CommandState::Refused, "going_down") => "going_down",
        (CommandState::Refused, _) => "command_refused",
        _ => "command_failed",
    };
    Err(Error::new(ErrorKind::Precondition, code, why(state, detail)))
}

fn missing(missing: Missing) -> Error {
    let code = match missing {
        Missing::Address => "no_hardware_address",
        Missing::Peer(_) => "no_peer",
        Missing::Permission(_) => "peer_not_allowed",
    };
    Error::new(ErrorKind::Precondition, code, missing.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_word_and_its_words() {
        let error = verdict(CommandState::Refused, "policy_refused", "power is off here").expect_err("refused");
        assert_eq!((error.code, error.detail.as_str()), ("policy_refused", "power is off here"));
        assert_eq!(verdict(CommandState::Refused, "busy", "").expect_err("refused").code, "command_refused");
        assert_eq!(verdict(CommandState::Failed, "order_refused", "").expect_err("failed").code, "command_failed");
        assert!(verdict(CommandState::Succeeded, "sent", "").is_ok());
    }
}
