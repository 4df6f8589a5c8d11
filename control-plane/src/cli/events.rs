//! `muster events`

use std::time::Duration;

use clap::Args;
use muster_shared::wire;

use super::{client::Fleet, failure::Failure, output::Output, table::printable};
use crate::api::model::event::FleetEvent;

/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_secs(2);

/// Follow everything that happens in the organisation and that you may see.
#[derive(Debug, Args)]
pub struct Events {
    /// With the hosts' figures as they arrive.
    #[arg(long)]
    samples: bool,
    /// Begin after this event.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Connect again when the connection ends, and go on after the last event.
    #[arg(long)]
    watch: bool,
}

impl Events {
    /// Prints each event as it comes.
    ///
    /// # Errors
    /// What the control plane refused, or that the connection ended.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let mut last = self.after.unwrap_or_default();
        loop {
            let ended = follow(fleet, self.samples, &mut last, output).await;
            let goes_on = matches!(&ended, Err(failure) if failure.is_for_want_of_a_connection());
            if !self.watch || !goes_on {
                return ended;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn follow(fleet: &mut Fleet, samples: bool, last: &mut String, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = wire::WatchEventsRequest { samples, last_event_id: last.clone() };
    let mut events = fleet.watch_events(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        let event = FleetEvent::from(event);
        if let Some(id) = &event.id {
            id.clone_into(last);
        }
        output.item(&event, line)?;
        if event.event == "closed" {
            let detail = event.detail.unwrap_or_default();
            return match event.code.as_deref() {
                Some("stopping") => Err(Failure::disconnected(detail)),
                _ => Err(Failure::ended_badly(detail, "follow again with `muster events`")),
            };
        }
    }
    Err(Failure::disconnected("the control plane ended the stream"))
}

/// An event as a line for people.
fn line(event: &FleetEvent) -> String {
    let named = |name: &str, id: &Option<String>| id.as_ref().map(|id| format!("{name} {id}"));
    let server = || match &event.server {
        Some(server) => Some(format!("{} ({}, {})", printable(&server.name), server.status, server.health_status)),
        None => named("server", &event.server_id),
    };
    let command = event.command.as_ref().map(|command| format!("{} {}", command.kind, command.state));
    let summary = event
        .summary
        .as_ref()
        .map(|summary| format!("cpu {:.1} %, memory {:.1} %", summary.cpu_usage_percent, summary.memory_usage_percent));
    let what = [
        command,
        named("environment", &event.environment_id),
        named("project", &event.project_id),
        named("user", &event.user_id),
        server(),
        summary,
        event.detail.as_deref().map(printable),
    ];
    let what: Vec<_> = what.into_iter().flatten().collect();
    format!("{:<20} {}", event.event, what.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened_to_what() {
        let event = FleetEvent {
            event: "environment_changed".to_owned(),
            environment_id: Some("e".to_owned()),
            project_id: Some("p".to_owned()),
            ..FleetEvent::default()
        };
        assert_eq!(line(&event), "environment_changed  environment e, project p");
        let reset = FleetEvent { event: "reset".into(), detail: Some("read \u{1b}[2J again".into()), ..event };
        assert!(!line(&reset).contains('\u{1b}'), "a terminal is told nothing");
    }
}
