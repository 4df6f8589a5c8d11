//! What a host says on its stream, once it is open.

use std::{sync::Arc, time::Duration};

use muster_shared::wire::{self, agent_message::Kind, control_message};
use prost::Message as _;
use ring::digest;
use tokio::time::{Instant, sleep};

use super::{
    end::End,
    pulse::Pulse,
    stream::{Host, HostStream},
};
use crate::{
    commands::{self, Recorded},
    error::{Error, ErrorKind},
    ingest::Incoming,
    metrics::head::Head,
    servers::FactsRow,
};

/// Between attempts to store what must not be lost, while the database is away.
const RETRY: Duration = Duration::from_millis(500);

impl HostStream {
    pub(super) async fn message(&mut self, message: wire::AgentMessage) -> Result<(), End> {
        let now_us = self.context.clock.now_us();
        self.guard.seen(now_us);
        if let Some(wait) = self.budget.take(message.encoded_len(), now_us) {
            metrics::counter!("muster_link_throttled_total").increment(1);
            self.quiet_until = Some(Instant::now() + wait);
        }
        let is_confirmed = self.pulse.is_some();
        match message.kind {
            Some(Kind::Confirm(confirm)) if confirm.generation == self.host.generation => self.confirmed().await,
            Some(Kind::Hello(_) | Kind::Confirm(_)) => {
                Err(self.refuse("unexpected_message", "the stream is open already"))
            }
            _ if !is_confirmed => Err(self.refuse("confirm_expected", "the welcome has to be confirmed first")),
            Some(Kind::Frame(frame)) => self.frame(frame),
            Some(Kind::Facts(report)) => self.facts(report).await,
            Some(Kind::CommandUpdate(update)) => self.command_update(update).await,
            Some(Kind::Pong(pong)) => {
                if let Some(pulse) = &mut self.pulse
                    && let Some(round_trip) = pulse.answered(pong.nonce, Instant::now())
                {
                    metrics::histogram!("muster_link_round_trip_seconds").record(round_trip);
                }
                Ok(())
            }
            // A newer agent's message: the wire only grows.
            None => {
                metrics::counter!("muster_link_unknown_messages_total").increment(1);
                Ok(())
            }
        }
    }

    async fn confirmed(&mut self) -> Result<(), End> {
        if self.pulse.is_some() {
            return Ok(());
        }
        let Host { org, server, generation, .. } = self.host;
        let ledger = &self.context.ledger;
        self.insist(|| ledger.confirm(org, server, generation)).await;
        self.context.heads.cell(org, server).lock().resume(self.context.clock.now_us());
        self.pulse = Some(Pulse::start(Instant::now()));
        self.obey().await?;
        self.look_at_the_clock()
    }

    fn frame(&mut self, mut frame: wire::Frame) -> Result<(), End> {
        let (epoch, seq) = (frame.epoch, frame.seq);
        let declares = self.context.heads.declarations(std::mem::take(&mut frame.declarations));
        let refused = declares.as_ref().map_or(0, |declares| declares.refused);
        metrics::counter!("muster_ingest_series_refused_total").increment(refused as u64);
        let head = self.context.heads.cell(self.host.org, self.host.server);
        let accepted = {
            let mut head = head.lock();
            if head.is_overfull() {
                *head = Head::default();
                return Err(self.refuse("too_many_series", "too many series were declared: declare those alive anew"));
            }
            head.accept(frame, declares.as_ref())
        };
        match accepted {
            Ok(frame) => {
                self.in_flight += 1;
                let outcomes = self.outcomes.0.clone();
                self.held =
                    Some(Box::new(Incoming { org: self.host.org, server: self.host.server, frame, head, outcomes }));
            }
            Err(poison) => {
                metrics::counter!("muster_ingest_poison_total", "reason" => poison.word()).increment(1);
                tracing::warn!(server = %self.host.server, epoch, seq, reason = poison.word(), "frame quarantined: it can't be read");
                self.acks.add(epoch, seq);
            }
        }
        Ok(())
    }

    async fn facts(&mut self, report: wire::FactsReport) -> Result<(), End> {
        let Host { org, server, .. } = self.host;
        if digest::digest(&digest::SHA256, &report.json).as_ref() != report.sha256 {
            metrics::counter!("muster_link_facts_refused_total").increment(1);
            return Err(self.refuse("facts_damaged", "the facts don't match their hash"));
        }
        match FactsRow::read(org, server, &report.json, report.collected_at_us, self.context.clock.now_us()) {
            Ok(row) => {
                let (ledger, row) = (&self.context.ledger, Arc::new(row));
                if let Some(kept) = self.insist(|| ledger.record_facts(Arc::clone(&row))).await {
                    kept.publish(&self.context.events, org, server);
                }
            }
            Err(error) => self.not_stored(&error),
        }
        // Facts that can't be read are acknowledged as well: sending them again would not make them readable.
        self.send(control_message::Kind::FactsAck(wire::FactsAck { sha256: report.sha256 })).await
    }

    async fn command_update(&mut self, update: wire::CommandUpdate) -> Result<(), End> {
        let server = self.host.server;
        let ack = wire::CommandAck { command_id: update.command_id.clone(), seq: update.seq };
        match commands::parse_update(update) {
            Ok((id, update)) => {
                let (commands, now_us) = (&self.context.commands, self.context.clock.now_us());
                let certificate = Arc::clone(&self.certificate);
                let recorded = self.insist(|| commands.record(&certificate, id, &update, now_us)).await;
                if matches!(recorded, Some(Recorded::Unknown | Recorded::Foreign)) {
                    metrics::counter!("muster_link_updates_refused_total").increment(1);
                    tracing::warn!(%server, command = %id, "update for a command this server was not given");
                }
            }
            Err(error) => {
                metrics::counter!("muster_link_updates_refused_total").increment(1);
                tracing::warn!(%server, error = %crate::app::chain(&error), "update can't be read");
            }
        }
        self.send(control_message::Kind::CommandAck(ack)).await
    }

    /// Stores what must not be lost: while the database is away, it is tried again and nothing more is read. `None`
    /// for what the store will never take.
    async fn insist<T, F>(&self, mut store: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match store().await {
                Ok(stored) => return Some(stored),
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    metrics::counter!("muster_link_store_retries_total").increment(1);
                    sleep(RETRY).await;
                }
                Err(error) => {
                    self.not_stored(&error);
                    return None;
                }
            }
        }
    }

    fn not_stored(&self, error: &Error) {
        metrics::counter!("muster_link_store_refused_total").increment(1);
        tracing::warn!(server = %self.host.server, code = error.code, error = %crate::app::chain(error), "not stored");
    }
}
