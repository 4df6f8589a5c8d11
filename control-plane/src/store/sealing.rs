//! The one transaction that makes blocks of frames.
//!
//! Sealing takes exactly the frames it read, each by its epoch and sequence: one that came meanwhile stays where it is.
//! Two who seal a server at once are told apart by its revision, and the second does nothing.

use muster_shared::id::{OrgId, ServerId};

use super::{
    BlockKey, BlockRow, Result, Store, StoredFrame, Tx,
    blocks::{delete_block, insert_block},
    frames::stored,
    rows::Columns as _,
};

/// Frames kept of each server after they were sealed: what it said last is read from them.
const KEPT_FRAMES: i64 = 2;

/// A frame that nothing can be made of, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoisonFrame {
    pub epoch: u64,
    pub seq: u64,
    pub reason: &'static str,
}

/// What one sealing changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sealing {
    /// As [`Store::sealing_revision`] had it before anything was read.
    pub revision: i64,
    /// Epochs and sequences of the frames that are in the blocks now.
    pub frames: Vec<(u64, u64)>,
    pub poison: Vec<PoisonFrame>,
    /// Lists that the frames had values of, by epoch.
    pub used: Vec<(u64, Vec<u8>)>,
    pub replaced: Vec<BlockKey>,
    pub blocks: Vec<BlockRow>,
}

impl Store {
    /// Servers, of every organisation, with frames that may be sealed: those that begin before `before_us`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn servers_to_seal(&self, before_us: i64) -> Result<Vec<(OrgId, ServerId)>> {
        sqlx::query(
            "SELECT s.org_id, s.id FROM servers s WHERE EXISTS (SELECT 1 FROM metric_frames f \
             WHERE f.server_id = s.id AND f.last_us < $2 AND f.first_us < $1 AND f.in_block = 0)",
        )
        .bind(before_us)
        .bind(latest_end(before_us))
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| Ok((row.parsed("org_id")?, row.parsed("id")?)))
        .collect()
    }

    /// When the oldest of a server's frames that may be sealed begins.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_to_seal_us(&self, server: ServerId, before_us: i64) -> Result<Option<i64>> {
        sqlx::query(
            "SELECT MIN(first_us) AS first_us FROM metric_frames \
             WHERE server_id = $1 AND last_us < $3 AND first_us < $2 AND in_block = 0",
        )
        .bind(server.to_string())
        .bind(before_us)
        .bind(latest_end(before_us))
        .fetch_one(self.read())
        .await?
        .value("first_us")
    }

    /// A server's frames that begin before `end_us`, may be sealed by `before_us` and are in no block yet, oldest first,
    /// at most `limit`. One that can't be read is answered as such.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn frames_to_seal(
        &self,
        server: ServerId,
        (end_us, before_us): (i64, i64),
        limit: u32,
    ) -> Result<Vec<std::result::Result<StoredFrame, PoisonFrame>>> {
        let rows = sqlx::query(
            "SELECT epoch, seq, first_us, last_us, ticks, encoding, payload FROM metric_frames \
             WHERE server_id = $1 AND last_us < $3 AND first_us < $2 AND in_block = 0 \
             ORDER BY first_us, epoch, seq LIMIT $4",
        )
        .bind(server.to_string())
        .bind(end_us)
        .bind(latest_end(before_us))
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| {
                let (epoch, seq) =
                    (row.value::<i64>("epoch")?.cast_unsigned(), row.value::<i64>("seq")?.cast_unsigned());
                Ok(stored(row).map_err(|_| PoisonFrame { epoch, seq, reason: "row" }))
            })
            .collect()
    }

    /// How often a server was sealed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sealing_revision(&self, server: ServerId) -> Result<i64> {
        let row = sqlx::query("SELECT revision FROM metric_sealing WHERE server_id = $1")
            .bind(server.to_string())
            .fetch_optional(self.read())
            .await?;
        row.map_or(Ok(0), |row| row.value("revision"))
    }

    /// Makes the changes of one sealing, all or none. Answers whether it did: not, when the server was sealed since.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is changed.
    pub async fn seal(&self, server: ServerId, sealing: &Sealing, now_us: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        if !claim(&mut tx, server, sealing.revision).await? {
            return Ok(false);
        }
        quarantine(&mut tx, server, &sealing.poison, now_us).await?;
        let newest = newest(&mut tx, server).await?;
        let is_newest = |frame: &&(u64, u64)| newest.contains(frame);
        let gone: Vec<_> = sealing.frames.iter().filter(|frame| !is_newest(frame)).copied().collect();
        delete_frames(&mut tx, server, gone).await?;
        for (epoch, seq) in sealing.frames.iter().filter(is_newest) {
            sqlx::query("UPDATE metric_frames SET in_block = 1 WHERE server_id = $1 AND epoch = $2 AND seq = $3")
                .bind(server.to_string())
                .bind(epoch.cast_signed())
                .bind(seq.cast_signed())
                .execute(&mut *tx)
                .await?;
        }
        delete_kept(&mut tx, server, &newest).await?;
        for key in &sealing.replaced {
            delete_block(&mut tx, server, *key).await?;
        }
        for block in &sealing.blocks {
            insert_block(&mut tx, server, block).await?;
        }
        for (epoch, sha256) in &sealing.used {
            note_list_in_use(&mut tx, (server, *epoch), sha256, now_us).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// A frame is at most a minute long, but for a clock that was set: such a one waits a little longer. The index is by
/// the end.
fn latest_end(before_us: i64) -> i64 {
    before_us.saturating_add(60 * 1_000_000)
}

/// Takes the server's turn; the row is locked until the transaction ends.
pub(super) async fn claim(tx: &mut Tx, server: ServerId, revision: i64) -> Result<bool> {
    sqlx::query("INSERT INTO metric_sealing (server_id, revision) VALUES ($1, 0) ON CONFLICT DO NOTHING")
        .bind(server.to_string())
        .execute(&mut **tx)
        .await?;
    let done = sqlx::query("UPDATE metric_sealing SET revision = revision + 1 WHERE server_id = $1 AND revision = $2")
        .bind(server.to_string())
        .bind(revision)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that frames use a list which the server declared in this epoch.
pub(super) async fn note_list_in_use(
    tx: &mut Tx,
    (server, epoch): (ServerId, u64),
    sha256: &[u8],
    now_us: i64,
) -> Result<()> {
    sqlx::query(
        "UPDATE metric_declarations SET used_at_us = $4 WHERE server_id = $1 AND epoch = $2 AND list_sha256 = $3",
    )
    .bind(server.to_string())
    .bind(epoch.cast_signed())
    .bind(sha256)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Sets frames aside that nothing can be made of.
pub(super) async fn quarantine(tx: &mut Tx, server: ServerId, poison: &[PoisonFrame], now_us: i64) -> Result<()> {
    for frame in poison {
        for (sql, is_copy) in [
            (
                "INSERT INTO metric_quarantine (server_id, epoch, seq, first_us, last_us, ticks, encoding, payload, \
                 reason, quarantined_at_us) SELECT server_id, epoch, seq, first_us, last_us, ticks, encoding, payload, \
                 $4, $5 FROM metric_frames WHERE server_id = $1 AND epoch = $2 AND seq = $3 ON CONFLICT DO NOTHING",
                true,
            ),
            ("DELETE FROM metric_frames WHERE server_id = $1 AND epoch = $2 AND seq = $3", false),
        ] {
            let mut query =
                sqlx::query(sql).bind(server.to_string()).bind(frame.epoch.cast_signed()).bind(frame.seq.cast_signed());
            if is_copy {
                query = query.bind(frame.reason).bind(now_us);
            }
            query.execute(&mut **tx).await?;
        }
    }
    Ok(())
}

/// The frames with the server's newest samples, sealed or not.
async fn newest(tx: &mut Tx, server: ServerId) -> Result<Vec<(u64, u64)>> {
    sqlx::query("SELECT epoch, seq FROM metric_frames WHERE server_id = $1 ORDER BY last_us DESC LIMIT $2")
        .bind(server.to_string())
        .bind(KEPT_FRAMES)
        .fetch_all(&mut **tx)
        .await?
        .iter()
        .map(|row| Ok((row.value::<i64>("epoch")?.cast_unsigned(), row.value::<i64>("seq")?.cast_unsigned())))
        .collect()
}

/// Sequences that follow each other go in one statement: no other frame can be between them.
async fn delete_frames(tx: &mut Tx, server: ServerId, mut frames: Vec<(u64, u64)>) -> Result<()> {
    frames.sort_unstable_by_key(|(epoch, seq)| (*epoch, seq.cast_signed()));
    let follows = |one: &(u64, u64), next: &(u64, u64)| {
        one.0 == next.0 && one.1.cast_signed().checked_add(1) == Some(next.1.cast_signed())
    };
    for run in frames.chunk_by(follows) {
        let [(epoch, first), ..] = run else { continue };
        let last = run.last().map_or(*first, |(_, last)| *last);
        sqlx::query("DELETE FROM metric_frames WHERE server_id = $1 AND epoch = $2 AND seq >= $3 AND seq <= $4")
            .bind(server.to_string())
            .bind(epoch.cast_signed())
            .bind(first.cast_signed())
            .bind(last.cast_signed())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Deletes sealed frames that are no longer among the `newest`.
async fn delete_kept(tx: &mut Tx, server: ServerId, newest: &[(u64, u64)]) -> Result<()> {
    let kept = sqlx::query("SELECT epoch, seq FROM metric_frames WHERE server_id = $1 AND in_block = 1")
        .bind(server.to_string())
        .fetch_all(&mut **tx)
        .await?;
    let mut old = Vec::new();
    for row in kept {
        let frame = (row.value::<i64>("epoch")?.cast_unsigned(), row.value::<i64>("seq")?.cast_unsigned());
        if !newest.contains(&frame) {
            old.push(frame);
        }
    }
    delete_frames(tx, server, old).await
}
