//! One stream as a task: dials, opens it, and passes messages both ways over bounded queues until it ends.

use muster_shared::wire::{self, link_service_client::LinkServiceClient};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{
    dial::{DialError, Dialer, MAX_MESSAGE_BYTES},
    session::{MAX_WINDOW, UPDATES_WINDOW},
};

/// Messages waiting for the transport: all that the session ever has in flight, and some pongs. When it is full all the
/// same, the peer has stopped reading, and the stream is given up.
const OUTGOING: usize = MAX_WINDOW + UPDATES_WINDOW + 64;
/// Messages waiting for the session; the transport waits when it is full.
const INCOMING: usize = 32;
/// Largest message sent, in bytes: a frame with all its declarations.
const MAX_SENT_BYTES: usize = 16 << 20;

/// What comes from the stream.
#[derive(Debug)]
pub enum FromStream {
    /// The transport is there; messages may be sent.
    Opened(mpsc::Sender<wire::AgentMessage>),
    Message(wire::ControlMessage),
    Ended(Ended),
}

/// How a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the control plane ended the stream: {} ({:?})", .0.message(), .0.code())]
    Status(Box<Status>),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("{0}")]
    Given(&'static str),
}

impl Ended {
    /// Whether the certificate was not accepted, so that renewing it may help.
    #[must_use]
    pub fn asks_for_renewal(&self) -> bool {
        matches!(self, Self::Status(status) if status.code() == Code::Unauthenticated)
    }

    /// Whether this host is not wanted now (revoked, retired, quarantined), so that asking again soon is no use.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Status(status) if status.code() == Code::PermissionDenied)
    }
}

/// A stream being opened or open; dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    pub events: mpsc::Receiver<FromStream>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to dial the `attempt`-th address.
#[must_use]
pub fn open(dialer: Dialer, attempt: usize) -> Connection {
    let (tell, events) = mpsc::channel(INCOMING);
    let task = tokio::spawn(async move {
        let ended = match talk(&dialer, attempt, &tell).await {
            Ok(()) => Ended::Closed,
            Err(ended) => ended,
        };
        let _ = tell.send(FromStream::Ended(ended)).await;
    });
    Connection { events, task }
}

async fn talk(dialer: &Dialer, attempt: usize, tell: &mpsc::Sender<FromStream>) -> Result<(), Ended> {
    let channel = dialer.dial(attempt).await?;
    let mut client = LinkServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_SENT_BYTES);
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    // The Hello is on its way before the control plane answers the call: it may want to read it first.
    if tell.send(FromStream::Opened(outgoing)).await.is_err() {
        return Ok(());
    }
    let failed = |status| Ended::Status(Box::new(status));
    let mut incoming = client.link(ReceiverStream::new(messages)).await.map_err(failed)?.into_inner();
    while let Some(message) = incoming.message().await.map_err(failed)? {
        if tell.send(FromStream::Message(message)).await.is_err() {
            break;
        }
    }
    Ok(())
}
