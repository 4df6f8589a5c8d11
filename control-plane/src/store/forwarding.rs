//! Frames on their way to the engine that is the metric store, and who sends them.
//!
//! `metric_frames.forwarding` says of each where it stands; see the migration. Nothing here deletes a frame that the engine
//! does not have, but for [`Store::give_up_waiting_frames`], which says how many.

use std::collections::BTreeMap;

use muster_shared::id::{OrgId, ServerId};
use sqlx::any::AnyRow;

use super::{
    PoisonFrame, Result, Store, StoreError, StoredFrame, Tx,
    frames::stored,
    rows::Columns as _,
    sealing::{note_list_in_use, quarantine},
};

/// [`forwarding`](self) of a frame that waits.
pub(super) const WAITS: i64 = 1;
/// The one row of the table of forwarders.
const FORWARDER: &str = "metric_store";

/// Which frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameKey {
    pub server: ServerId,
    pub epoch: u64,
    pub seq: u64,
}

/// A place in the order in which frames are forwarded: by server, then by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardPosition {
    pub key: FrameKey,
    pub first_us: i64,
}

/// A frame that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFrame {
    pub org: OrgId,
    pub position: ForwardPosition,
    /// Or why nothing can be made of it.
    pub frame: std::result::Result<StoredFrame, &'static str>,
}

/// Being the one who forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardingLease {
    /// Since when the engine is away, as far as anybody found; `None` where it is not.
    pub away_since_us: Option<i64>,
}

/// What waits altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitingFrames {
    pub frames: u64,
    /// Where the oldest begins; `None` where there is none.
    pub first_us: Option<i64>,
}

impl Store {
    /// Lets frames that came while no engine was set wait for it as well, unless they are in a block. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn let_every_frame_wait(&self) -> Result<u64> {
        let done = sqlx::query("UPDATE metric_frames SET forwarding = 1 WHERE forwarding = 0 AND in_block = 0")
            .execute(self.write())
            .await?;
        Ok(done.rows_affected())
    }

    /// Lets forwarded frames with samples since `since_us` wait once more, as the engine that is back for `holder` may have
    /// forgotten them.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is changed.
    pub async fn let_frames_wait_again(&self, holder: &str, since_us: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE metric_frames SET forwarding = 1 WHERE forwarding = 2 AND last_us >= $1")
            .bind(since_us)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE metric_forwarder SET away_since_us = NULL WHERE holder = $1")
            .bind(holder)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Remembers that the engine is away for `holder` since `since_us`, unless it was before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_engine_away(&self, holder: &str, since_us: i64) -> Result<()> {
        sqlx::query("UPDATE metric_forwarder SET away_since_us = COALESCE(away_since_us, $2) WHERE holder = $1")
            .bind(holder)
            .bind(since_us)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Frames that wait, of every organisation, from the one behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn frames_to_forward(&self, after: Option<ForwardPosition>, limit: u32) -> Result<Vec<WaitingFrame>> {
        let (server, first_us, epoch, seq) = after.map_or_else(
            || (String::new(), i64::MIN, i64::MIN, i64::MIN),
            |ForwardPosition { key, first_us }| {
                (key.server.to_string(), first_us, key.epoch.cast_signed(), key.seq.cast_signed())
            },
        );
        sqlx::query(
            "SELECT s.org_id, f.server_id, f.epoch, f.seq, f.first_us, f.last_us, f.ticks, f.encoding, f.payload \
             FROM metric_frames f JOIN servers s ON s.id = f.server_id WHERE f.forwarding = 1 \
             AND (f.server_id, f.first_us, f.epoch, f.seq) > ($1, $2, $3, $4) \
             ORDER BY f.server_id, f.first_us, f.epoch, f.seq LIMIT $5",
        )
        .bind(server)
        .bind(first_us)
        .bind(epoch)
        .bind(seq)
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?
        .iter()
        .map(waiting)
        .collect()
    }

    /// Ends the waiting of some frames in one transaction: the engine has the `forwarded`, and nothing can be made of the
    /// `poison`, which goes into quarantine.
    ///
    /// # Errors
    /// [`StoreError`]; then all of them wait still.
    pub async fn end_waiting(
        &self,
        forwarded: &[FrameKey],
        poison: &[(FrameKey, &'static str)],
        now_us: i64,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let mut forwarded = forwarded.to_vec();
        forwarded.sort_unstable();
        for key in forwarded {
            sqlx::query("UPDATE metric_frames SET forwarding = 2 WHERE server_id = $1 AND epoch = $2 AND seq = $3")
                .bind(key.server.to_string())
                .bind(key.epoch.cast_signed())
                .bind(key.seq.cast_signed())
                .execute(&mut *tx)
                .await?;
        }
        let mut by_server = BTreeMap::<ServerId, Vec<PoisonFrame>>::new();
        for (FrameKey { server, epoch, seq }, reason) in poison.iter().copied() {
            by_server.entry(server).or_default().push(PoisonFrame { epoch, seq, reason });
        }
        for (server, poison) in by_server {
            quarantine(&mut tx, server, &poison, now_us).await?;
        }
        Ok(tx.commit().await?)
    }

    /// What waits for the engine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_frames(&self) -> Result<WaitingFrames> {
        let row =
            sqlx::query("SELECT COUNT(*) AS frames, MIN(first_us) AS first_us FROM metric_frames WHERE forwarding = 1")
                .fetch_one(self.read())
                .await?;
        Ok(WaitingFrames { frames: row.unsigned("frames")?, first_us: row.value("first_us")? })
    }

    /// Notes which of the lists that a server declared in `epoch` are in use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_lists_in_use(
        &self,
        (server, epoch): (ServerId, u64),
        lists: &[Vec<u8>],
        now_us: i64,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        for sha256 in lists {
            note_list_in_use(&mut tx, (server, epoch), sha256, now_us).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Deletes frames without a sample since `before_us` that the engine or a block has, but for each server's two newest,
    /// which say what it said last. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted before it stays deleted.
    pub async fn forget_forwarded_frames(&self, before_us: i64) -> Result<u64> {
        let servers = sqlx::query(
            "SELECT s.id FROM servers s WHERE EXISTS \
             (SELECT 1 FROM metric_frames f WHERE f.server_id = s.id AND f.last_us < $1)",
        )
        .bind(before_us)
        .fetch_all(self.read())
        .await?;
        let mut deleted = 0;
        for row in servers {
            let server: String = row.value("id")?;
            let mut tx = self.begin().await?;
            deleted += forget_forwarded_of(&mut tx, &server, before_us).await?;
            tx.commit().await?;
        }
        Ok(deleted)
    }

    /// Deletes frames without a sample since `before_us` that still wait. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_up_waiting_frames(&self, before_us: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM metric_frames WHERE forwarding = 1 AND last_us < $1")
            .bind(before_us)
            .execute(self.write())
            .await?;
        Ok(done.rows_affected())
    }

    /// Makes `holder` the one who forwards until `until_us`; `None` where somebody else is at `now_us`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_forwarding(&self, holder: &str, now_us: i64, until_us: i64) -> Result<Option<ForwardingLease>> {
        let done = sqlx::query(
            "INSERT INTO metric_forwarder (name, holder, until_us) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
             SET holder = $2, until_us = $3 WHERE metric_forwarder.holder = $2 OR metric_forwarder.until_us < $4",
        )
        .bind(FORWARDER)
        .bind(holder)
        .bind(until_us)
        .bind(now_us)
        .execute(self.write())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let row = sqlx::query("SELECT away_since_us FROM metric_forwarder WHERE holder = $1")
            .bind(holder)
            .fetch_optional(self.read())
            .await?;
        row.map(|row| Ok(ForwardingLease { away_since_us: row.value("away_since_us")? })).transpose()
    }

    /// Lets others forward at once, where `holder` does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release_forwarding(&self, holder: &str) -> Result<()> {
        sqlx::query("UPDATE metric_forwarder SET until_us = 0 WHERE holder = $1")
            .bind(holder)
            .execute(self.write())
            .await?;
        Ok(())
    }
}

async fn forget_forwarded_of(tx: &mut Tx, server: &str, before_us: i64) -> Result<u64> {
    let second_newest =
        sqlx::query("SELECT last_us FROM metric_frames WHERE server_id = $1 ORDER BY last_us DESC LIMIT 1 OFFSET 1")
            .bind(server)
            .fetch_optional(&mut **tx)
            .await?;
    let Some(row) = second_newest else { return Ok(0) };
    let done = sqlx::query(
        "DELETE FROM metric_frames WHERE server_id = $1 AND last_us < $2 AND (forwarding = 2 OR in_block = 1)",
    )
    .bind(server)
    .bind(before_us.min(row.value("last_us")?))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

fn waiting(row: &AnyRow) -> Result<WaitingFrame> {
    let key = FrameKey {
        server: row.parsed("server_id")?,
        epoch: row.value::<i64>("epoch")?.cast_unsigned(),
        seq: row.value::<i64>("seq")?.cast_unsigned(),
    };
    let frame = match stored(row) {
        Err(StoreError::Unreadable { .. }) => Err("row"),
        read => Ok(read?),
    };
    let position = ForwardPosition { key, first_us: row.value("first_us")? };
    Ok(WaitingFrame { org: row.parsed("org_id")?, position, frame })
}
