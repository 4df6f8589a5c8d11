//! From accepted frames to durable ones: many servers' frames share one transaction.
//!
//! Frames wait in a queue of [`QUEUE_FRAMES`]; a session that finds it full waits and reads nothing more from its host
//! meanwhile, so nothing is dropped here and the host keeps what was not acknowledged. A frame is acknowledged after
//! its commit. While the database is away, the batch is tried again; what it refuses for good is found frame by frame,
//! acknowledged as rejected and counted, so that one poisonous frame costs no other.

use std::{sync::Arc, time::Duration};

use muster_shared::{
    backoff::Backoff,
    id::{OrgId, ServerId},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    events::{EventKind, Events},
    metrics::{HeadCell, head::AcceptedFrame, remote_write},
    sessions::Sessions,
    store::{FrameRow, Store, StoreError},
};

/// Frames waiting for the writer, of all servers together.
pub const QUEUE_FRAMES: usize = 4096;
/// Frames of one transaction at most.
const MAX_BATCH: usize = 512;
/// How long a frame of many ticks, which nobody is waiting for, waits for company: a transaction costs as much as
/// twenty frames.
const BATCH_WINDOW: Duration = Duration::from_millis(200);
/// The same for a frame that somebody may be waiting for: see [`Incoming::is_urgent`].
const URGENT_WINDOW: Duration = Duration::from_millis(10);
/// Between attempts while the database is away.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable, now or since an earlier time.
    Stored,
    /// It never will be; sending it again is pointless.
    Rejected,
}

/// A frame's end, for the session that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub epoch: u64,
    pub seq: u64,
    pub verdict: Verdict,
}

/// A frame on its way to the store.
#[derive(Debug)]
pub struct Incoming {
    pub org: OrgId,
    pub server: ServerId,
    pub frame: AcceptedFrame,
    pub head: HeadCell,
    /// Has room for every frame its session may have in flight.
    pub outcomes: mpsc::Sender<Outcome>,
}

impl Incoming {
    /// Whether it comes from a host that sends each second since it is watched, or is a host's first.
    fn is_urgent(&self) -> bool {
        self.frame.ticks == 1 || !self.frame.declares.is_empty()
    }
}

/// The way in. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Incoming>,
}

impl Ingest {
    /// The way in, and the writer that must run for anything to happen.
    #[must_use]
    pub fn new(store: Store, sessions: Sessions, events: Events, clock: Clock) -> (Self, Writer) {
        let (queue, frames) = mpsc::channel(QUEUE_FRAMES);
        (Self { queue }, Writer { frames, store, sessions, events, clock, remote_write: None, news: None })
    }

    /// A place in the queue; `None` once the writer has stopped.
    pub async fn place(&self) -> Option<mpsc::OwnedPermit<Incoming>> {
        self.queue.clone().reserve_owned().await.ok()
    }
}

/// The one task that writes frames.
#[derive(Debug)]
pub struct Writer {
    frames: mpsc::Receiver<Incoming>,
    store: Store,
    sessions: Sessions,
    events: Events,
    clock: Clock,
    /// Where stored frames go as well.
    remote_write: Option<remote_write::Queue>,
    /// Hears that frames were stored.
    news: Option<Arc<Notify>>,
}

impl Writer {
    /// Stored frames are offered to `queue` as well.
    pub fn write_remotely(&mut self, queue: remote_write::Queue) {
        self.remote_write = Some(queue);
    }

    /// `news` hears of stored frames.
    pub fn tell_of_frames(&mut self, news: Arc<Notify>) {
        self.news = Some(news);
    }

    /// Writes until `stop`, then what is waiting already.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while let Some(count) = stop.run_until_cancelled(self.frames.recv_many(&mut batch, MAX_BATCH)).await {
            if count == 0 {
                return;
            }
            stop.run_until_cancelled(self.await_company(&mut batch)).await;
            self.write(&mut batch, &stop).await;
        }
        self.frames.close();
        while self.frames.recv_many(&mut batch, MAX_BATCH).await > 0 {
            self.write(&mut batch, &stop).await;
        }
    }

    async fn await_company(&mut self, batch: &mut Vec<Incoming>) {
        let (mut until, mut judged) = (Instant::now() + BATCH_WINDOW, 0);
        while batch.len() < MAX_BATCH {
            if batch[judged..].iter().any(Incoming::is_urgent) {
                until = until.min(Instant::now() + URGENT_WINDOW);
            }
            judged = batch.len();
            match timeout_at(until, self.frames.recv_many(batch, MAX_BATCH - judged)).await {
                Ok(count) if count > 0 => {}
                // The window being over is the usual end.
                _ => return,
            }
        }
    }

    async fn write(&self, batch: &mut Vec<Incoming>, stop: &CancellationToken) {
        let started = Instant::now();
        let rows: Vec<FrameRow> = batch.iter().map(row).collect();
        match self.insert(&rows, stop).await {
            Ok(()) => batch.drain(..).for_each(|incoming| self.tell(incoming, Verdict::Stored)),
            Err(Failure::Stopped) => batch.clear(),
            Err(Failure::Refused) => {
                for (incoming, row) in batch.drain(..).zip(&rows) {
                    match self.insert(std::slice::from_ref(row), stop).await {
                        Ok(()) => self.tell(incoming, Verdict::Stored),
                        Err(Failure::Refused) => self.tell(incoming, Verdict::Rejected),
                        Err(Failure::Stopped) => {}
                    }
                }
            }
        }
        if let Some(news) = &self.news {
            news.notify_one();
        }
        metrics::histogram!("muster_ingest_commit_seconds").record(started.elapsed());
    }

    /// Inserts, and keeps trying while the database is away.
    async fn insert(&self, rows: &[FrameRow], stop: &CancellationToken) -> Result<(), Failure> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            match self.store.insert_frames(rows).await {
                Ok(new) => {
                    metrics::counter!("muster_ingest_frames_total", "outcome" => "stored").increment(new);
                    let known = (rows.len() as u64).saturating_sub(new);
                    metrics::counter!("muster_ingest_frames_total", "outcome" => "known").increment(known);
                    return Ok(());
                }
                Err(error @ StoreError::Unavailable(_)) => {
                    metrics::counter!("muster_ingest_retries_total").increment(1);
                    tracing::warn!(frames = rows.len(), error = %crate::app::chain(&error), "frames not stored yet");
                    if stop.run_until_cancelled(sleep(backoff.failed(1.0))).await.is_none() {
                        return Err(Failure::Stopped);
                    }
                }
                Err(error) => {
                    tracing::warn!(frames = rows.len(), error = %crate::app::chain(&error), "frames refused by the database");
                    return Err(Failure::Refused);
                }
            }
        }
    }

    fn tell(&self, incoming: Incoming, verdict: Verdict) {
        let Incoming { org, server, frame, head, outcomes } = incoming;
        let outcome = Outcome { epoch: frame.epoch, seq: frame.seq, verdict };
        if verdict == Verdict::Stored {
            head.tell(&frame);
            if let Some(queue) = &self.remote_write {
                let AcceptedFrame { epoch, first_us, last_us, encoding, ref payload, .. } = frame;
                let payload = payload.clone();
                queue.offer(remote_write::Queued { org, server, epoch, first_us, last_us, encoding, payload });
            }
            let summary = {
                let mut head = head.lock();
                let is_news = head.advance(&frame, self.clock.now_us());
                let news = is_news && (self.sessions.is_watched(server) || self.events.wants_samples(org));
                if news { head.summary(server) } else { None }
            };
            if let Some(summary) = summary {
                self.events.publish(org, server, EventKind::Sample(summary.into()));
            }
        } else {
            metrics::counter!("muster_ingest_frames_total", "outcome" => "rejected").increment(1);
        }
        // A session that ended meanwhile gets the frame again and learns then.
        let _ = outcomes.try_send(outcome);
    }
}

enum Failure {
    /// The database will never take these rows.
    Refused,
    Stopped,
}

fn row(incoming: &Incoming) -> FrameRow {
    let frame = &incoming.frame;
    FrameRow {
        server_id: incoming.server,
        epoch: frame.epoch,
        seq: frame.seq,
        first_us: frame.first_us,
        last_us: frame.last_us,
        ticks: frame.ticks,
        encoding: frame.encoding,
        payload: frame.payload.clone(),
        declares: frame.declares.clone(),
    }
}
