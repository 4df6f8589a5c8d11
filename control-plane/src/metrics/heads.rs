//! The newest readings of every server, in memory; after a restart they come back from stored frames when asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_shared::{
    id::{OrgId, ServerId},
    wire,
};
use tokio::sync::broadcast;

use super::{
    Declarations, LiveFrame, Summary,
    declarations::Lately,
    head::{AcceptedFrame, Head},
    live::Followers,
};
use crate::{
    error::Error,
    store::{Store, StoreError, StoredFrame},
};

/// Frames read to restore a head: two, in case the newest holds a single tick.
const RESTORED_FRAMES: u32 = 2;

/// One server's head, and who follows its frames. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct HeadCell(Arc<(Mutex<Head>, Followers)>);

impl HeadCell {
    /// The head, for as long as the answer lives; nothing waits while holding it.
    pub fn lock(&self) -> MutexGuard<'_, Head> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's frames from now on, each once it is stored.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<LiveFrame>> {
        self.0.1.follow()
    }

    /// Tells followers of a stored frame.
    pub fn tell(&self, frame: &AcceptedFrame) {
        self.0.1.tell(frame);
    }
}

/// Every server's head. Clones share them.
#[derive(Debug, Clone)]
pub struct Heads {
    store: Store,
    cells: Arc<Mutex<HashMap<(OrgId, ServerId), HeadCell>>>,
    lately: Arc<Lately>,
}

impl Heads {
    /// No heads yet; `store` has the frames they are restored from.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, cells: Arc::default(), lately: Arc::default() }
    }

    /// The head of a server, made on first use.
    #[must_use]
    pub fn cell(&self, org: OrgId, server: ServerId) -> HeadCell {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).entry((org, server)).or_default().clone()
    }

    /// What a frame declares; the same for every host that declares the same. `None` of nothing.
    #[must_use]
    pub fn declarations(&self, declared: Vec<wire::SeriesDeclaration>) -> Option<Arc<Declarations>> {
        self.lately.read(declared)
    }

    fn known(&self, org: OrgId, server: ServerId) -> Option<HeadCell> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).get(&(org, server)).cloned()
    }

    /// The newest summary and when its sample arrived here; `None` before the second sample ever.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn summary(&self, org: OrgId, server: ServerId) -> Result<Option<Summary>, Error> {
        let in_memory = self.known(org, server).and_then(|cell| cell.lock().summary(server));
        match in_memory {
            Some(summary) => Ok(Some(summary)),
            None => Ok(self.restored(org, server).await?.summary(server)),
        }
    }

    /// When the newest sample in memory arrived.
    #[must_use]
    pub fn arrived_at_us(&self, org: OrgId, server: ServerId) -> Option<i64> {
        self.known(org, server).and_then(|cell| cell.lock().arrived_at_us())
    }

    /// When the newest sample in memory arrived, and what it says; `None` where there is none in memory.
    #[must_use]
    pub fn newest(&self, org: OrgId, server: ServerId) -> Option<(i64, Option<Summary>)> {
        let cell = self.known(org, server)?;
        let head = cell.lock();
        Some((head.arrived_at_us()?, head.summary(server)))
    }

    async fn restored(&self, org: OrgId, server: ServerId) -> Result<Head, StoreError> {
        let mut head = Head::default();
        let frames = self.store.newest_frames(org, server, RESTORED_FRAMES).await?;
        let Some(epoch) = frames.first().map(|frame| frame.epoch) else { return Ok(head) };
        let series = self.store.series_of(org, server, epoch).await?;
        let declares = Arc::new(Declarations::of(series));
        for frame in frames.into_iter().rev().filter(|frame| frame.epoch == epoch) {
            // What was stored was accepted once; if it no longer is, there is no summary until the next frame.
            if let Ok(accepted) = head.accept(as_received(frame), Some(&declares)) {
                head.advance(&accepted, accepted.last_us);
            }
        }
        Ok(head)
    }
}

fn as_received(frame: StoredFrame) -> wire::Frame {
    wire::Frame {
        epoch: frame.epoch,
        seq: frame.seq,
        declarations: Vec::new(),
        encoding: frame.encoding.into(),
        payload: frame.payload.into(),
        first_us: frame.first_us,
        last_us: frame.last_us,
        ticks: frame.ticks,
        backfill: false,
    }
}
