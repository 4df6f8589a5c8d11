//! Watching a server: the record as it is, then what happens to it. REST and gRPC tell the same things.
//!
//! Events are hints and may be missed by a slow watcher; then the record is read and told again. The stream ends with
//! the control plane, and its watcher's wish for live figures ends with the stream.

use futures_util::{Stream, stream};
use muster_shared::id::{OrgId, ServerId};

use super::model::{command::Command, server::Vm, summary::Summary};
use crate::{
    app::App,
    error::Error,
    events::{Event, EventKind, Subscription},
    sessions::LiveGuard,
};

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// The record changed, or the agent came or went.
    Server(Box<Vm>),
    /// A sample arrived.
    Sample(Summary),
    /// A command changed its state.
    Command(Box<Command>),
}

struct Watch {
    app: App,
    org: OrgId,
    server: ServerId,
    events: Subscription,
    /// Held for its effect: the host samples live while it exists.
    live: Option<LiveGuard>,
    told_first: bool,
}

/// Watches `server`; with `figures`, the host is asked for one a second.
///
/// # Errors
/// [`Error`] when there is no such server or the store fails.
pub async fn watch(
    app: App,
    org: OrgId,
    server: ServerId,
    figures: bool,
) -> Result<impl Stream<Item = Result<Watched, Error>> + Send + use<>, Error> {
    let events = app.events.subscribe();
    app.servers.get(org, server).await?;
    let live = figures.then(|| app.sessions.watch_live(server));
    let watch = Watch { app, org, server, events, live, told_first: false };
    Ok(stream::try_unfold(watch, async |mut watch| Ok(watch.next().await?.map(|watched| (watched, watch)))))
}

impl Watch {
    async fn next(&mut self) -> Result<Option<Watched>, Error> {
        if !self.told_first {
            self.told_first = true;
            return self.record().await.map(Some);
        }
        let stop = self.app.shutdown.clone();
        while let Some(event) = stop.run_until_cancelled(self.events.next()).await.flatten() {
            let told = match event {
                Ok(event) if self.concerns(&event) && matches!(event.kind, EventKind::ServerDeleted) => {
                    return Ok(None);
                }
                Ok(event) if self.concerns(&event) => self.told(event.kind).await?,
                Ok(_) => None,
                Err(_missed) => Some(self.record().await?),
            };
            if told.is_some() {
                return Ok(told);
            }
        }
        Ok(None)
    }

    fn concerns(&self, event: &Event) -> bool {
        event.server_id == Some(self.server) && event.org_id == self.org
    }

    async fn told(&self, kind: EventKind) -> Result<Option<Watched>, Error> {
        match kind {
            EventKind::ServerCreated
            | EventKind::ServerChanged
            | EventKind::HealthChanged
            | EventKind::AgentOnline
            | EventKind::AgentOffline => self.record().await.map(Some),
            EventKind::Sample(summary) if self.live.is_some() => {
                let server = self.app.servers.get(self.org, self.server).await?;
                Ok(Some(Watched::Sample(Summary::of(&summary, &server.health(self.app.clock.now_us())))))
            }
            EventKind::CommandChanged(id) => {
                let command = self.app.commands.get(self.org, id).await?;
                Ok(Some(Watched::Command(Box::new(Command::of(&command)))))
            }
            EventKind::Sample(_)
            | EventKind::CommandUpdated { .. }
            | EventKind::EnvironmentChanged { .. }
            | EventKind::ProjectChanged(_)
            | EventKind::MemberChanged(_)
            | EventKind::HardeningChanged
            | EventKind::SamplesDamaged
            | EventKind::ServerDeleted => Ok(None),
        }
    }

    async fn record(&self) -> Result<Watched, Error> {
        let server = self.app.servers.get(self.org, self.server).await?;
        Ok(Watched::Server(Box::new(Vm::of(&server, self.app.clock.now_us()))))
    }
}
