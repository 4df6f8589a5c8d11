//! Following a fleet: REST and gRPC tell the same events.
//!
//! The stream begins with `ready`, or with `reset` where what the reader missed is no longer known. Each event carries its
//! number, so that the reader can go on after it; each is told only to whom may see it then. A reader that is too slow
//! falls off the end of what is kept and gets a `reset`; one whose rights change gets `closed`, and that is the end.

#[cfg(test)]
mod matrix_tests;
#[cfg(test)]
mod tests;

use futures_util::{Stream, stream};
use muster_shared::id::{OrgId, ServerId};

use super::{
    model::{command::Command, event::FleetEvent, server::Vm, summary::Summary},
    readmission::Readmission,
};
use crate::{
    access::Permission,
    app::App,
    error::{Error, ErrorKind},
    events::{Event, EventKind, Position, Read, Reader, Start},
    metrics,
    projects::Scope,
};

struct Following {
    app: App,
    org: OrgId,
    readmission: Readmission,
    reader: Reader,
    opening: Option<Start>,
    is_over: bool,
}

/// Follows the events of the reader's organisation from after `last_event_id` on, else from now on; with `samples`, the
/// hosts' figures too.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] where the reader may not see samples; [`ErrorKind::Exhausted`] when too many streams are
/// open.
pub fn follow(
    app: App,
    readmission: Readmission,
    last_event_id: Option<&str>,
    samples: bool,
) -> Result<impl Stream<Item = FleetEvent> + Send + use<>, Error> {
    let principal = readmission.principal();
    if samples {
        principal.require(Permission::MonitoringView)?;
    }
    let org = principal.org_id;
    // An id of another origin is one that is no longer known.
    let unknown = Position { epoch: 0, seq: u64::MAX };
    let after = last_event_id.filter(|id| !id.is_empty()).map(|id| id.trim().parse().unwrap_or(unknown));
    let (reader, start) = app
        .events
        .read(org, after, samples)
        .map_err(|error| Error::new(ErrorKind::Exhausted, "too_many_streams", error.to_string()))?;
    let following = Following { app, org, readmission, reader, opening: Some(start), is_over: false };
    Ok(stream::unfold(following, async |mut following| {
        let event = following.next().await?;
        Some((event, following))
    }))
}

impl Following {
    async fn next(&mut self) -> Option<FleetEvent> {
        if self.is_over {
            return None;
        }
        match self.told().await {
            Ok(event) => Some(event),
            Err(error) => {
                self.is_over = true;
                Some(FleetEvent {
                    event: "closed".to_owned(),
                    code: Some(error.code.to_owned()),
                    detail: Some(error.detail),
                    ..FleetEvent::default()
                })
            }
        }
    }

    async fn told(&mut self) -> Result<FleetEvent, Error> {
        loop {
            self.readmission.check().await?;
            if let Some(start) = self.opening.take() {
                return Ok(opening(start, self.reader.position()));
            }
            match self.reader.read() {
                Read::Event(position, event) => {
                    if self.may_see(&event.kind).await? {
                        return self.fleet_event(position, event).await;
                    }
                    continue;
                }
                Read::Lost(position) => return Ok(reset(position)),
                Read::Nothing => {}
            }
            tokio::select! {
                () = self.app.shutdown.cancelled() => {
                    let detail = "the control plane is stopping: connect again";
                    return Err(Error::new(ErrorKind::Unavailable, "stopping", detail));
                }
                () = self.readmission.due() => {}
                summary = self.reader.news() => {
                    if let Some(summary) = summary
                        && self.may_see(&EventKind::Sample(summary.clone())).await?
                        && let Some(event) = self.sample(&summary).await?
                    {
                        self.readmission.check().await?;
                        return Ok(event);
                    }
                }
            }
        }
    }

    /// Whether the reader may be told, now: the permission, and for those who are bound to projects the project.
    async fn may_see(&self, kind: &EventKind) -> Result<bool, Error> {
        let principal = self.readmission.principal();
        if principal.require(kind.permission()).is_err() {
            return Ok(false);
        }
        match (kind.project(), Scope::of(principal)) {
            (None, _) | (Some(_), Scope::Organization) => Ok(true),
            (Some(project), scope @ Scope::MemberOf(_)) => {
                Ok(self.app.store.project(self.org, scope, project).await?.is_some())
            }
        }
    }

    async fn fleet_event(&self, position: Position, event: Event) -> Result<FleetEvent, Error> {
        let command = match event.kind {
            EventKind::CommandChanged(id) => {
                there(self.app.commands.get(self.org, id).await)?.map(|command| Box::new(Command::of(&command)))
            }
            _ => None,
        };
        let server = match (&event.kind, event.server_id) {
            (EventKind::CommandChanged(_) | EventKind::ServerDeleted, _) | (_, None) => None,
            (_, Some(id)) => self.server(id).await?,
        };
        let (environment, user) = match event.kind {
            EventKind::EnvironmentChanged { environment, .. } => (Some(environment), None),
            EventKind::MemberChanged(user) => (None, Some(user)),
            _ => (None, None),
        };
        Ok(FleetEvent {
            event: event.kind.word().to_owned(),
            id: Some(position.to_string()),
            server_id: event.server_id.map(|id| id.to_string()),
            environment_id: environment.map(|id| id.to_string()),
            project_id: event.kind.project().map(|id| id.to_string()),
            user_id: user.map(|id| id.to_string()),
            server,
            command,
            ..FleetEvent::default()
        })
    }

    async fn server(&self, id: ServerId) -> Result<Option<Box<Vm>>, Error> {
        let now_us = self.app.clock.now_us();
        Ok(there(self.app.servers.get(self.org, id).await)?.map(|server| Box::new(Vm::of(&server, now_us))))
    }

    async fn sample(&self, summary: &metrics::Summary) -> Result<Option<FleetEvent>, Error> {
        let Some(server) = there(self.app.servers.get(self.org, summary.server_id).await)? else { return Ok(None) };
        Ok(Some(FleetEvent {
            event: "sample".to_owned(),
            server_id: Some(server.id.to_string()),
            summary: Some(Summary::of(summary, &server.health(self.app.clock.now_us()))),
            ..FleetEvent::default()
        }))
    }
}

/// What is not there any more is no failure.
fn there<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn opening(start: Start, position: Position) -> FleetEvent {
    match start {
        Start::Lost => reset(position),
        Start::Now | Start::Resumed => {
            FleetEvent { event: "ready".to_owned(), id: Some(position.to_string()), ..FleetEvent::default() }
        }
    }
}

fn reset(position: Position) -> FleetEvent {
    FleetEvent {
        event: "reset".to_owned(),
        id: Some(position.to_string()),
        code: Some("events_lost".to_owned()),
        detail: Some("events before this one are no longer known: read again what you show".to_owned()),
        ..FleetEvent::default()
    }
}
