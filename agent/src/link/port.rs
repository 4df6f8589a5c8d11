//! The link's way to the executor: two bounded queues, behind them the Unix socket (dialled again whenever it is lost)
//! or an executor in the same process.

use std::{io, path::PathBuf, time::Duration};

use bytes::BytesMut;
use muster_shared::{
    backoff::Backoff,
    wire::{self, executor_reply, executor_request},
};
use tokio::{net::UnixStream, sync::mpsc, time::sleep};

use crate::executor::{
    Executor,
    socket::{read_message, write_message},
};

/// Requests waiting for the executor. When it is full a request is dropped and counted: the control plane delivers
/// commands again, acknowledgements come again with the updates, questions are asked again.
const REQUESTS: usize = 64;
/// Replies waiting for the link; the executor's journal waits when it is full.
const REPLIES: usize = 64;

/// What comes from the executor.
#[derive(Debug, Clone, PartialEq)]
pub enum FromExecutor {
    /// Connected; all that follows is this connection's.
    Up(wire::ExecutorHello),
    Reply(executor_reply::Kind),
    Down,
}

/// The link's end.
pub struct ExecutorPort {
    requests: mpsc::Sender<wire::ExecutorRequest>,
    events: mpsc::Receiver<FromExecutor>,
    dropped: u64,
}

impl ExecutorPort {
    /// A port whose other end the caller plays: what the link asks, and where to answer.
    #[must_use]
    pub fn pair() -> (Self, mpsc::Receiver<wire::ExecutorRequest>, mpsc::Sender<FromExecutor>) {
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (answers, events) = mpsc::channel(REPLIES);
        (Self { requests, events, dropped: 0 }, asked, answers)
    }

    /// A port to an executor in this process.
    #[must_use]
    pub fn local(executor: Executor) -> Self {
        let (port, mut asked, answers) = Self::pair();
        tokio::spawn(async move {
            let Some(mut connection) = executor.connect().await else { return };
            let requests = connection.requests;
            let asking = async {
                let _ = requests.send(request(executor_request::Kind::Subscribe(wire::Subscribe {}))).await;
                while let Some(request) = asked.recv().await {
                    if requests.send(request).await.is_err() {
                        break;
                    }
                }
            };
            let answering = async {
                while let Some(reply) = connection.replies.recv().await {
                    if pass_on(reply, &answers).await.is_none() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = asking => {}
                () = answering => {}
            }
        });
        port
    }

    /// A port to the executor that serves `socket`, now or later.
    #[must_use]
    pub fn unix(socket: PathBuf) -> Self {
        let (port, mut asked, answers) = Self::pair();
        tokio::spawn(async move {
            let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
            while !answers.is_closed() {
                match UnixStream::connect(&socket).await {
                    Ok(stream) => {
                        backoff.succeeded();
                        if let Err(error) = talk(stream, &mut asked, &answers).await {
                            tracing::debug!(%error, "the executor's connection ended");
                        }
                        let _ = answers.send(FromExecutor::Down).await;
                    }
                    Err(error) => tracing::debug!(%error, "the executor can't be reached"),
                }
                // One process on this host: no dice needed to spread the attempts.
                sleep(backoff.failed(1.0)).await;
            }
        });
        port
    }

    /// What comes next; `None` never comes while the port's other end lives.
    pub async fn next(&mut self) -> Option<FromExecutor> {
        self.events.recv().await
    }

    /// Asks, if there is room.
    pub fn ask(&mut self, kind: executor_request::Kind) {
        if self.requests.try_send(request(kind)).is_err() {
            self.dropped += 1;
            tracing::warn!(dropped = self.dropped, "the executor takes no requests; dropping one");
        }
    }
}

fn request(kind: executor_request::Kind) -> wire::ExecutorRequest {
    wire::ExecutorRequest { kind: Some(kind) }
}

async fn talk(
    stream: UnixStream,
    asked: &mut mpsc::Receiver<wire::ExecutorRequest>,
    answers: &mpsc::Sender<FromExecutor>,
) -> io::Result<()> {
    let (mut input, mut output) = stream.into_split();
    write_message(&mut output, &request(executor_request::Kind::Subscribe(wire::Subscribe {}))).await?;
    let asking = async {
        while let Some(request) = asked.recv().await {
            write_message(&mut output, &request).await?;
        }
        Ok::<_, io::Error>(())
    };
    let answering = async {
        let mut buffer = BytesMut::new();
        while let Some(reply) = read_message(&mut input, &mut buffer).await? {
            if pass_on(reply, answers).await.is_none() {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}

async fn pass_on(reply: wire::ExecutorReply, answers: &mpsc::Sender<FromExecutor>) -> Option<()> {
    let event = match reply.kind {
        Some(executor_reply::Kind::Hello(hello)) => FromExecutor::Up(hello),
        Some(kind) => FromExecutor::Reply(kind),
        None => return Some(()),
    };
    answers.send(event).await.ok()
}
