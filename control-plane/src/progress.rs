//! What a long call tells while it runs: the same events over SSE and gRPC.
//!
//! A run never waits for its listener and never ends because the listener left. At most [`MAX_PENDING_EVENTS`] wait
//! unread; later ones are dropped and counted in `muster_progress_events_dropped_total`. The last event of a run is
//! its result and is also in the store, so a dropped one is an inconvenience, not a loss.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::Stream;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

/// Most events of one run that wait for a slow listener.
pub const MAX_PENDING_EVENTS: usize = 512;

/// One event: `event` is its SSE name, `data` its JSON object.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgressEvent {
    pub event: &'static str,
    pub data: Value,
}

/// Where a run tells what it does.
#[derive(Debug, Clone)]
pub struct ProgressSender(mpsc::Sender<ProgressEvent>);

/// What a listener reads; ends when the run has ended.
#[derive(Debug)]
pub struct ProgressStream(mpsc::Receiver<ProgressEvent>);

/// The two ends of one run's events.
#[must_use]
pub fn channel() -> (ProgressSender, ProgressStream) {
    let (sender, receiver) = mpsc::channel(MAX_PENDING_EVENTS);
    (ProgressSender(sender), ProgressStream(receiver))
}

impl ProgressSender {
    /// Tells `data` under the name `event`, without waiting.
    pub fn send(&self, event: &'static str, data: impl Serialize) {
        let data = serde_json::to_value(data).unwrap_or(Value::Null);
        if let Err(mpsc::error::TrySendError::Full(_)) = self.0.try_send(ProgressEvent { event, data }) {
            metrics::counter!("muster_progress_events_dropped_total").increment(1);
        }
    }

    /// Whether nobody listens any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Tells which step begins: an event `status`.
    pub fn status(&self, step: &str, message: &str) {
        self.send("status", serde_json::json!({ "step": step, "message": message }));
    }
}

impl Stream for ProgressStream {
    type Item = ProgressEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ProgressEvent>> {
        self.0.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_slow_listener_loses_the_latest_and_never_blocks_the_run() {
        let (sender, stream) = channel();
        for number in 0..MAX_PENDING_EVENTS + 5 {
            sender.send("check", number);
        }
        drop(sender);
        let seen: Vec<_> = stream.collect().await;
        assert_eq!(seen.len(), MAX_PENDING_EVENTS);
        assert_eq!(seen.last().map(|event| event.data.clone()), Some(Value::from(MAX_PENDING_EVENTS - 1)));
    }

    #[tokio::test]
    async fn a_run_goes_on_without_its_listener() {
        let (sender, stream) = channel();
        drop(stream);
        sender.status("connecting", "Connecting");
    }
}
