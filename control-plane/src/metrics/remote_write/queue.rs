//! Frames that wait to be sent: bounded by bytes, the oldest goes first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use muster_shared::{
    id::{OrgId, ServerId},
    wire::FrameEncoding,
};
use tokio::{sync::Notify, time::timeout};

/// Most bytes waiting: more than an hour of a hundred hosts.
pub const MAX_QUEUE_BYTES: usize = 64 << 20;
/// What a frame costs beside its payload, in bytes.
const FRAME_BYTES: usize = size_of::<Queued>();
/// Frames taken out at once.
const MAX_BATCH_FRAMES: usize = 128;
/// How long the first frame waits for company.
const BATCH_WINDOW: Duration = Duration::from_millis(500);

/// A frame that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub org: OrgId,
    pub server: ServerId,
    pub epoch: u64,
    pub first_us: i64,
    pub last_us: i64,
    pub encoding: FrameEncoding,
    pub payload: Bytes,
}

/// The queue. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Somebody may take something out, or a whole batch.
    news: Notify,
    full_batch: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Queued>,
    bytes: usize,
    is_closed: bool,
}

impl Waiting {
    /// Answers how many of the oldest went for it.
    fn push(&mut self, frame: Queued, max_bytes: usize) -> u64 {
        self.bytes += cost(&frame);
        self.frames.push_back(frame);
        let mut dropped = 0;
        while self.bytes > max_bytes && self.pop().is_some() {
            dropped += 1;
        }
        dropped
    }

    fn pop(&mut self) -> Option<Queued> {
        let frame = self.frames.pop_front()?;
        self.bytes -= cost(&frame);
        Some(frame)
    }
}

fn cost(frame: &Queued) -> usize {
    FRAME_BYTES + frame.payload.len()
}

impl Queue {
    /// Adds a frame; never waits.
    pub fn offer(&self, frame: Queued) {
        let (dropped, frames) = {
            let mut waiting = self.waiting();
            if waiting.is_closed {
                return count_dropped("stopped", 1);
            }
            let dropped = waiting.push(frame, MAX_QUEUE_BYTES);
            metrics::gauge!("muster_remote_write_queue_bytes").set(waiting.bytes as f64);
            (dropped, waiting.frames.len())
        };
        count_dropped("queue_full", dropped);
        self.0.news.notify_one();
        if frames >= MAX_BATCH_FRAMES {
            self.0.full_batch.notify_one();
        }
    }

    /// The oldest frames, as soon as there are some and they had a little time for company.
    pub(super) async fn batch(&self) -> Vec<Queued> {
        loop {
            let waiting = self.waiting().frames.len();
            if waiting == 0 {
                self.0.news.notified().await;
                continue;
            }
            if waiting < MAX_BATCH_FRAMES {
                // The window being over is the usual end.
                let _ = timeout(BATCH_WINDOW, self.0.full_batch.notified()).await;
            }
            let mut waiting = self.waiting();
            let batch: Vec<_> = std::iter::from_fn(|| waiting.pop()).take(MAX_BATCH_FRAMES).collect();
            metrics::gauge!("muster_remote_write_queue_bytes").set(waiting.bytes as f64);
            if !batch.is_empty() {
                return batch;
            }
        }
    }

    /// Takes nothing more in; answers how many frames are left.
    pub(super) fn close(&self) -> usize {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.frames).len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn count_dropped(reason: &'static str, frames: u64) {
    if frames > 0 {
        metrics::counter!("muster_remote_write_frames_dropped_total", "reason" => reason).increment(frames);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::metrics::remote_write) fn queued(server: ServerId, first_us: i64, last_us: i64) -> Queued {
        let (org, encoding) = (OrgId::generate(), FrameEncoding::Unspecified);
        Queued { org, server, epoch: 1, first_us, last_us, encoding, payload: Bytes::from_static(&[0; 100]) }
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let (server, mut waiting) = (ServerId::generate(), Waiting::default());
        let room = 3 * (FRAME_BYTES + 100);
        let dropped: u64 = (0..5).map(|at| waiting.push(queued(server, at, at), room)).sum();
        assert_eq!((dropped, waiting.bytes), (2, room));
        assert_eq!(waiting.pop().map(|frame| frame.first_us), Some(2));
        while waiting.pop().is_some() {}
        assert_eq!(waiting.bytes, 0);
    }

    #[tokio::test]
    async fn frames_come_out_in_batches_in_their_order() {
        let (queue, server) = (Queue::default(), ServerId::generate());
        let taking = tokio::spawn({
            let queue = queue.clone();
            async move { queue.batch().await }
        });
        for at in 0..2 * MAX_BATCH_FRAMES as i64 {
            queue.offer(queued(server, at, at));
        }
        assert_eq!(taking.await.expect("no panic").len(), MAX_BATCH_FRAMES);
        assert_eq!(queue.batch().await.first().map(|frame| frame.first_us), Some(MAX_BATCH_FRAMES as i64));
        queue.offer(queued(server, 9, 9));
        assert_eq!(queue.close(), 1);
        queue.offer(queued(server, 9, 9));
        assert_eq!(queue.close(), 0, "closed");
    }
}
