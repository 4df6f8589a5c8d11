//! Doing what the session says.

use muster_shared::wire::{self, agent_message, executor_request};
use tokio::time::Instant;

use super::{Exit, Link, Wire, chain};
use crate::link::{
    dial::Dialer,
    session::{Action, Event},
};

impl Link {
    pub(super) fn tell(&mut self, event: Event) {
        let now = Instant::now().duration_since(self.started);
        for action in self.session.handle(event, now) {
            self.obey(action);
        }
    }

    pub(super) fn obey(&mut self, action: Action) {
        match action {
            Action::Send(kind) => self.send(kind),
            Action::SendFrame { key, backfill } => {
                let Wire::Up { declared, .. } = &mut self.wire else { return };
                match self.spool.read(key, declared) {
                    Some(frame) => self.send(agent_message::Kind::Frame(wire::Frame { backfill, ..frame })),
                    None => self.tell(Event::Lost(vec![key])),
                }
            }
            Action::SaveGeneration(generation) => match self.settings.state.save_generation(generation) {
                Ok(()) => {
                    tracing::info!(generation, spooled_frames = self.session.held_frames(), "connected");
                    self.tell(Event::GenerationSaved(generation));
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "the session's generation can't be saved");
                    self.give_up("the session's generation can't be saved");
                }
            },
            Action::Free(ack) => self.spool.acknowledge(&ack),
            Action::SetLive(live) => self.cutter.set_live(live),
            Action::Cut => {
                self.reconnect.succeeded();
                self.denied.succeeded();
                self.cutter.hurry();
                self.cut();
            }
            Action::SaveEndpoints(endpoints) => self.save_endpoints(&endpoints),
            Action::Submit(command) => self.settings.executor.ask(executor_request::Kind::Submit(command)),
            Action::CancelCommand(command_id) => {
                self.settings.executor.ask(executor_request::Kind::Cancel(wire::CancelCommand { command_id }));
            }
            Action::AckUpdates { command_id, seq } => {
                self.settings.executor.ask(executor_request::Kind::Ack(wire::AckUpdates { command_id, seq }));
            }
            Action::Close(why) => self.give_up(why),
            Action::Retire(reason) => self.exit = Some(Ok(Exit::Retired(reason))),
        }
    }

    pub(super) fn send(&mut self, kind: agent_message::Kind) {
        let Wire::Up { outgoing, .. } = &self.wire else { return };
        if outgoing.try_send(wire::AgentMessage { kind: Some(kind) }).is_err() {
            self.give_up("the control plane takes no messages");
        }
    }

    /// Saved now, used from the next dial on. What could not be used at all is not taken.
    pub(super) fn save_endpoints(&mut self, endpoints: &wire::Endpoints) {
        let endpoints = self.dialer.complete(endpoints.clone());
        match Dialer::enrolled(&self.identity, &endpoints) {
            Ok(dialer) => match self.settings.state.save_endpoints(&endpoints) {
                Ok(()) => self.dialer = dialer,
                Err(error) => tracing::error!(error = %chain(&error), "new addresses can't be saved"),
            },
            Err(error) => tracing::warn!(error = %chain(&error), "the new addresses can't be used"),
        }
    }
}
