//! Watching one command: every stored step after a given one, then what comes, until it has ended.
//!
//! The store is the truth and events are hints: after each hint, after each missed one and at least every
//! [`RESCAN`], whatever is new in the store is read.

use std::{collections::VecDeque, time::Duration};

use futures_util::{Stream, stream};
use muster_shared::id::{CommandId, OrgId};
use tokio::time::timeout;

use super::{Command, Update};
use crate::{
    error::Error,
    events::{EventKind, Subscription},
    store::Store,
};

/// How long a lost hint can delay a step.
const RESCAN: Duration = Duration::from_secs(2);

/// What a watcher sees.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandEvent {
    /// The host reported a step.
    Update(Update),
    /// The command is in another state; the last event of a stream carries a final one.
    Changed(Command),
}

struct Watch {
    store: Store,
    hints: Subscription,
    org: OrgId,
    id: CommandId,
    /// The state last told, and the last step told.
    told: Option<Command>,
    last_seq: u64,
    pending: VecDeque<CommandEvent>,
}

/// The events of a command that exists. A failing store ends the stream with its error.
pub(super) fn watch(
    store: Store,
    hints: Subscription,
    org: OrgId,
    id: CommandId,
    after_seq: u64,
) -> impl Stream<Item = Result<CommandEvent, Error>> + Send + use<> {
    let watch = Watch { store, hints, org, id, told: None, last_seq: after_seq, pending: VecDeque::new() };
    stream::try_unfold(watch, async |mut watch| {
        loop {
            if let Some(event) = watch.pending.pop_front() {
                return Ok(Some((event, watch)));
            }
            match &watch.told {
                Some(command) if command.state.is_final() => return Ok(None),
                Some(_) => watch.hint().await,
                None => {}
            }
            watch.read().await?;
        }
    })
}

impl Watch {
    /// Waits until it is worth reading again.
    async fn hint(&mut self) {
        let id = self.id;
        let concerns = |kind: &EventKind| match kind {
            EventKind::CommandChanged(command_id) | EventKind::CommandUpdated { command_id, .. } => *command_id == id,
            _ => false,
        };
        let heard = async {
            loop {
                match self.hints.next().await {
                    Some(Ok(event)) if !concerns(&event.kind) => {}
                    Some(_) => return,
                    // Nobody publishes any more; the timer below still reads.
                    None => std::future::pending().await,
                }
            }
        };
        let _ = timeout(RESCAN, heard).await;
    }

    /// Steps are read after the state: a final state is stored with its last step, so none is missed.
    async fn read(&mut self) -> Result<(), Error> {
        let command = self.store.command(self.org, self.id).await?.ok_or_else(|| Error::not_found("command"))?;
        for update in self.store.command_updates(self.org, self.id, self.last_seq).await? {
            self.last_seq = update.seq;
            self.pending.push_back(CommandEvent::Update(update));
        }
        if self.told.as_ref().is_none_or(|told| told.state != command.state) {
            self.pending.push_back(CommandEvent::Changed(command.clone()));
        }
        self.told = Some(command);
        Ok(())
    }
}
