//! One change from the command to its confirmation.

use std::pin::pin;

use futures_util::StreamExt as _;
use muster_shared::{
    action::{ChangeArgs, ChangeReport, ConfirmArgs},
    command::{CommandBody, CommandState},
    id::{OrgId, ServerId},
};

use super::{Proof, Proven};
use crate::{
    access::Act,
    commands::{Command, CommandEvent, Step},
    error::{Error, ErrorKind},
};

/// How long a change may wait for its host: it is connected, and nobody wants it to be made tomorrow.
const TTL_US: i64 = 60 * 1_000_000;
/// The word with which a host says that it waits for a confirmation.
pub(crate) const AWAITING: &str = "awaiting_confirmation";

/// What became of a change.
#[derive(Debug, Clone)]
pub struct Made {
    pub command: Command,
    /// As the host told it; `None` where it never began.
    pub report: Option<ChangeReport>,
    pub confirmation: Confirmation,
}

/// Whether the change stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// It locks nobody out, or did not come so far.
    NotNeeded,
    /// The way in was proven and the host keeps the change.
    Given(Proven),
    /// The host takes the change back: why, in words.
    Withheld(String),
}

impl Made {
    /// Whether the host is now as asked for, and stays so.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.command.state == CommandState::Succeeded && !matches!(self.confirmation, Confirmation::Withheld(_))
    }
}

impl Proof {
    /// Submits a change, follows it to its end, and where the host waits for a confirmation proves the way in and
    /// confirms. `line` hears what the host says meanwhile. Only the store's failures and refusals of the command itself
    /// are errors; whatever the host answered is in [`Made`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where the server's agent is not connected.
    pub async fn carry_out(
        &self,
        act: &Act,
        server: ServerId,
        args: ChangeArgs,
        line: impl FnMut(&str),
    ) -> Result<Made, Error> {
        let org = act.org_id;
        if !self.sessions.is_online(server) {
            let detail =
                "the server's agent is not connected, so nobody there could do it; start the server or its agent";
            return Err(Error::new(ErrorKind::Precondition, "agent_offline", detail));
        }
        let item = args.item.name();
        let act = act.at(self.clock.now_us());
        let command = self.commands.submit(&act, server, CommandBody::Change(args), TTL_US).await?;
        let command = self.ended(org, &command, line).await?;
        let report = command.result.clone().and_then(|result| serde_json::from_value(result).ok());
        let confirmation = if command.state == CommandState::Succeeded && command.code == AWAITING {
            self.confirm(&act, server, ConfirmArgs { change: command.id, item }).await?
        } else {
            Confirmation::NotNeeded
        };
        Ok(Made { command, report, confirmation })
    }

    /// Has the host look at itself anew; how that ended is no error, since hosts look by themselves, too.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn look_again(&self, act: &Act, server: ServerId) -> Result<(), Error> {
        if self.sessions.is_online(server) {
            let act = act.at(self.clock.now_us());
            let command = self.commands.submit(&act, server, CommandBody::RefreshFacts, TTL_US).await?;
            self.ended(act.org_id, &command, |_| {}).await?;
        }
        Ok(())
    }

    /// Proves the way in, and only then confirms.
    async fn confirm(&self, act: &Act, server: ServerId, args: ConfirmArgs) -> Result<Confirmation, Error> {
        let proven = match self.way_in(act.org_id, server).await {
            Ok(proven) => proven,
            Err(why) => {
                tracing::warn!(%server, change = %args.change, error = %crate::app::chain(&why), "the way in is not proven");
                return Ok(Confirmation::Withheld(why.to_string()));
            }
        };
        let act = act.at(self.clock.now_us());
        let confirm = self.commands.submit(&act, server, CommandBody::ConfirmChange(args), TTL_US).await?;
        let ended = self.ended(act.org_id, &confirm, |_| {}).await?;
        match ended.state {
            CommandState::Succeeded => Ok(Confirmation::Given(proven)),
            state => Ok(Confirmation::Withheld(crate::facts::why(state, &ended.detail))),
        }
    }

    async fn ended(&self, org: OrgId, command: &Command, mut line: impl FnMut(&str)) -> Result<Command, Error> {
        let mut events = pin!(self.commands.watch(org, command.id).await?);
        while let Some(event) = events.next().await {
            match event? {
                CommandEvent::Update(update) => {
                    if let Step::Line(text) = &update.step {
                        line(text);
                    }
                }
                CommandEvent::Changed(command) if command.state.is_final() => return Ok(command),
                CommandEvent::Changed(_) => {}
            }
        }
        self.commands.get(org, command.id).await
    }
}
