//! Lists that are shown again whenever something happens in the fleet.

use std::time::Duration;

use muster_shared::wire;
use tonic::Streaming;

use super::{client::Fleet, failure::Failure};

/// How long a watched list waits for more to happen before it is shown again.
const TOGETHER: Duration = Duration::from_millis(300);

/// The fleet's events, as far as they tell that a list is old. The stream begins with an event of its own, so that nothing
/// that happens after the first list is missed.
pub(super) struct Watching {
    events: Streaming<wire::FleetEvent>,
    /// The words of the events that matter.
    words: &'static [&'static str],
}

impl Watching {
    /// Begins to watch for events with one of these `words`; for all where there is none.
    ///
    /// # Errors
    /// What the control plane refused.
    pub(super) async fn begin(fleet: &mut Fleet, words: &'static [&'static str]) -> Result<Self, Failure> {
        let watched = wire::WatchEventsRequest { samples: false, last_event_id: String::new() };
        Ok(Self { events: fleet.watch_events(watched).await?.into_inner(), words })
    }

    /// Returns when the list is to be shown, again or for the first time. What comes together is shown together.
    ///
    /// # Errors
    /// When the stream is over: it never ends by itself.
    pub(super) async fn changed(&mut self) -> Result<(), Failure> {
        loop {
            let event = self.events.message().await?;
            let Some(event) = event else {
                return Err(Failure::disconnected("the control plane ended the stream"));
            };
            if event.event == "closed" {
                return Err(Failure::disconnected(event.detail));
            }
            if matters(self.words, &event.event) {
                break;
            }
        }
        let until = tokio::time::Instant::now() + TOGETHER;
        while let Ok(Ok(Some(_))) = tokio::time::timeout_at(until, self.events.message()).await {}
        Ok(())
    }
}

/// Whether an event makes a list old. After `ready` and `reset` nobody knows what was missed.
fn matters(words: &[&str], event: &str) -> bool {
    words.is_empty() || words.contains(&event) || ["ready", "reset"].contains(&event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_makes_a_list_old_shows_it_again() {
        assert!(matters(&[], "server_changed"));
        let commands = &["command_changed"];
        assert!(matters(commands, "ready") && matters(commands, "reset") && matters(commands, "command_changed"));
        assert!(!matters(commands, "health_changed"));
    }
}
