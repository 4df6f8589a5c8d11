//! Stored samples on their way to a Prometheus-compatible engine, by remote-write 1.0.
//!
//! Frames wait as they arrived, compressed, in a queue of [`MAX_QUEUE_BYTES`]; when it is full the oldest goes and is counted, so
//! that an engine that is away costs the control plane nothing else. One task takes them out in batches, at most
//! [`MAX_REQUEST_SAMPLES`] to a request, and tries again while the engine is away or busy. What the engine refuses is tried
//! once more server by server, then dropped and counted: one server's samples cost no other's. A request that the engine
//! fails for [`MAX_TRIES`] times steps aside, at most [`MAX_SUSPECTS`] at once; when the engine then takes another and fails for
//! this one still, it is dropped and counted. Nothing is sent that is not stored, and a frame that arrives twice may be sent
//! twice.

pub(super) mod answer;
pub(super) mod catalogue;
#[cfg(test)]
pub(super) mod fake;
pub(super) mod message;
mod order;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use muster_shared::{backoff::Backoff, id::ServerId, metric};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use super::exchange::{Client, Destination, SendError};
pub use queue::{MAX_QUEUE_BYTES, Queue, Queued};

use self::{
    answer::Answer,
    catalogue::Catalogue,
    message::{Gathered, Part},
};
use crate::{
    clock::Clock,
    store::{Store, StoreError},
};

/// Most samples of one request, but for a series' own of one frame; engines hold whole requests in memory.
pub const MAX_REQUEST_SAMPLES: usize = 20_000;
/// So often the engine may fail for one request before others go first.
pub const MAX_TRIES: u32 = 5;
/// Most requests that stand aside: with more, it is the engine that is in trouble, and they wait.
pub const MAX_SUSPECTS: usize = 4;
/// Between attempts while the engine is away or busy.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The one task that sends.
#[derive(Debug)]
pub struct RemoteWrite {
    queue: Queue,
    client: Client,
    catalogue: Catalogue,
    /// The time of the newest sample sent of each server that is not deleted, in microseconds.
    sent_us: HashMap<ServerId, i64>,
    /// Requests that the engine failed for.
    suspects: VecDeque<Part>,
    /// The shortest and the longest time between attempts.
    retry: (Duration, Duration),
    is_failing: bool,
}

/// Why a request was not taken.
enum Failure {
    /// With the words of the answer.
    Refused(String),
    /// The engine failed again and again.
    Trouble,
}

/// Told to stop before it was done.
struct Stopped;

impl RemoteWrite {
    /// What sends the frames in `queue`, whose series and servers `store` knows, through `client`.
    #[must_use]
    pub fn new(queue: Queue, client: Client, store: Store, clock: Clock) -> Self {
        let catalogue = Catalogue::new(store, clock);
        Self {
            queue,
            client,
            catalogue,
            sent_us: HashMap::new(),
            suspects: VecDeque::new(),
            retry: (RETRY_MIN, RETRY_MAX),
            is_failing: false,
        }
    }

    /// Sends until `stop`. What is not sent by then is dropped and counted.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(batch) = stop.run_until_cancelled(self.queue.batch()).await {
            let frames = batch.len() as u64;
            if self.send_batch(batch, &stop).await.is_err() {
                queue::count_dropped("stopped", frames);
                break;
            }
        }
        let aside = self.suspects.iter().map(Part::samples).sum();
        Self::note_set_aside("stopped", aside);
        let left = self.queue.close();
        queue::count_dropped("stopped", left as u64);
        if left > 0 {
            tracing::warn!(frames = left, "stopped before all samples were written to the remote engine");
        }
    }

    async fn send_batch(&mut self, batch: Vec<Queued>, stop: &CancellationToken) -> Result<(), Stopped> {
        for frames in order::requests(batch, &mut self.sent_us) {
            let mut gathered = Gathered::default();
            for frame in frames {
                self.gather(&frame, &mut gathered, stop).await?;
            }
            for part in gathered.parts(MAX_REQUEST_SAMPLES) {
                self.send_part(part, stop).await?;
            }
        }
        Ok(())
    }

    /// Adds a frame's samples under their series' names.
    async fn gather(
        &mut self,
        frame: &Queued,
        gathered: &mut Gathered,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        // What was stored was accepted once.
        let Ok(columns) = metric::decode(frame.encoding, &frame.payload) else {
            queue::count_dropped("unreadable", 1);
            return Ok(());
        };
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let ids = columns.values.iter().map(|(id, _)| *id);
            match self.catalogue.know((frame.org, frame.server), frame.epoch, ids).await {
                Ok(Some(known)) => {
                    gathered.add((frame.server, frame.epoch), &columns, known);
                    return Ok(());
                }
                Ok(None) => {
                    self.sent_us.remove(&frame.server);
                    queue::count_dropped("server_deleted", 1);
                    return Ok(());
                }
                Err(StoreError::Unavailable(_)) => {
                    if stop.run_until_cancelled(sleep(backoff.failed(1.0))).await.is_none() {
                        return Err(Stopped);
                    }
                }
                Err(error) => {
                    tracing::warn!(server = %frame.server, error = %crate::app::chain(&error), "samples not written to the remote engine: their series can't be read");
                    queue::count_dropped("unreadable", 1);
                    return Ok(());
                }
            }
        }
    }

    /// Sends one request; where it is refused, each server's samples by themselves.
    async fn send_part(&mut self, part: Part, stop: &CancellationToken) -> Result<(), Stopped> {
        let refusal = match self.send(&part, stop).await? {
            Ok(()) => return self.judge_suspects(stop).await,
            Err(Failure::Trouble) => {
                self.suspects.push_back(part);
                return Ok(());
            }
            Err(Failure::Refused(refusal)) => refusal,
        };
        let alone = part.by_server();
        if alone.len() < 2 {
            Self::note_refused(&refusal, &alone);
            return Ok(());
        }
        for part in alone {
            match self.send(&part, stop).await? {
                Ok(()) => {}
                Err(Failure::Refused(refusal)) => Self::note_refused(&refusal, std::slice::from_ref(&part)),
                Err(Failure::Trouble) => self.suspects.push_back(part),
            }
        }
        Ok(())
    }

    /// The engine has just taken a request: those that it failed for are tried once more, each server's by itself, and are the
    /// trouble themselves where it still fails.
    async fn judge_suspects(&mut self, stop: &CancellationToken) -> Result<(), Stopped> {
        let suspects: Vec<Part> = std::mem::take(&mut self.suspects).into_iter().flat_map(Part::by_server).collect();
        let mut is_away = false;
        for part in suspects {
            if is_away {
                self.suspects.push_back(part);
                continue;
            }
            let Some(sent) = stop.run_until_cancelled(self.client.send(part.encode())).await else {
                self.suspects.push_back(part);
                return Err(Stopped);
            };
            match sent.map(|answered| (Answer::of(answered.status), answered)) {
                Ok((Answer::Taken, _)) => Self::note_sent(&part),
                Ok((Answer::Refused, answered)) => {
                    Self::note_refused(
                        &format!("{}: {}", answered.status, answered.words),
                        std::slice::from_ref(&part),
                    );
                }
                Ok((Answer::Trouble, answered)) => {
                    tracing::warn!(
                        samples = part.samples(), status = %answered.status, words = answered.words,
                        "the remote engine takes others and fails for these samples: they are not sent again"
                    );
                    Self::note_set_aside("failing", part.samples());
                }
                Ok((Answer::Later, _)) | Err(_) => {
                    is_away = true;
                    self.suspects.push_back(part);
                }
            }
        }
        Ok(())
    }

    fn note_set_aside(reason: &'static str, samples: usize) {
        if samples > 0 {
            let samples = samples as u64;
            metrics::counter!("muster_remote_write_samples_set_aside_total", "reason" => reason).increment(samples);
        }
    }

    fn note_sent(part: &Part) {
        metrics::counter!("muster_remote_write_samples_sent_total").increment(part.samples() as u64);
    }

    fn note_refused(refusal: &str, parts: &[Part]) {
        let samples = parts.iter().map(Part::samples).sum::<usize>();
        metrics::counter!("muster_remote_write_samples_refused_total").increment(samples as u64);
        tracing::warn!(samples, refusal, "the remote engine refused samples: they are not sent again");
    }

    /// Sends until the engine has taken it, refused it, or failed for it too often.
    async fn send(&mut self, part: &Part, stop: &CancellationToken) -> Result<Result<(), Failure>, Stopped> {
        let (body, mut failures) = (part.encode(), 0);
        let mut backoff = Backoff::new(self.retry.0, self.retry.1);
        loop {
            let Some(sent) = stop.run_until_cancelled(self.client.send(body.clone())).await else {
                return Err(Stopped);
            };
            let trouble = match sent.map(|answered| (Answer::of(answered.status), answered)) {
                Ok((Answer::Taken, _)) => {
                    Self::note_sent(part);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("the remote engine takes samples again");
                    }
                    return Ok(Ok(()));
                }
                Ok((Answer::Refused, answered)) => {
                    return Ok(Err(Failure::Refused(format!("{}: {}", answered.status, answered.words))));
                }
                Ok((Answer::Trouble, answered)) => {
                    failures += 1;
                    if failures >= MAX_TRIES && self.suspects.len() < MAX_SUSPECTS {
                        return Ok(Err(Failure::Trouble));
                    }
                    format!("{}: {}", answered.status, answered.words)
                }
                Ok((Answer::Later, answered)) => format!("{}: {}", answered.status, answered.words),
                Err(error) => crate::app::chain(&error),
            };
            metrics::counter!("muster_remote_write_retries_total").increment(1);
            if !std::mem::replace(&mut self.is_failing, true) {
                tracing::warn!(
                    error = trouble,
                    "the remote engine takes no samples: they wait, and the oldest go first"
                );
            }
            if stop.run_until_cancelled(sleep(backoff.failed(1.0))).await.is_none() {
                return Err(Stopped);
            }
        }
    }
}
