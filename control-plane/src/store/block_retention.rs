//! Blocks, quarantined frames and declarations that are no longer kept.

use muster_shared::id::{OrgId, ServerId};

use super::{BlockKey, Resolution, Result, Store, blocks::delete_block, rows::Columns as _};

impl Store {
    /// Deletes up to `limit` blocks of `resolution` of an organisation whose windows were over at `before_us`: a window
    /// goes whole. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn forget_blocks(&self, org: OrgId, resolution: Resolution, before_us: i64, limit: u32) -> Result<u64> {
        let mut tx = self.begin().await?;
        let old = sqlx::query(
            "SELECT b.server_id, b.window_us, b.part FROM metric_blocks b JOIN servers s ON s.id = b.server_id \
             WHERE b.resolution = $1 AND b.window_us < $2 AND s.org_id = $3 ORDER BY b.window_us LIMIT $4",
        )
        .bind(resolution.seconds())
        .bind(before_us.saturating_sub(resolution.window_us()))
        .bind(org.to_string())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        for row in &old {
            let key = BlockKey { resolution, window_us: row.value("window_us")?, part: row.value("part")? };
            delete_block(&mut tx, row.parsed("server_id")?, key).await?;
        }
        tx.commit().await?;
        Ok(old.len() as u64)
    }

    /// Deletes an organisation's quarantined frames, and those kept after sealing or forwarding, with no sample since
    /// `before_us`. Frames that are nowhere else are never touched. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn forget_frames(&self, org: OrgId, before_us: i64) -> Result<u64> {
        let mut deleted = 0;
        for sql in [
            "DELETE FROM metric_quarantine WHERE last_us < $2 AND quarantined_at_us < $2 \
             AND server_id IN (SELECT id FROM servers WHERE org_id = $1)",
            "DELETE FROM metric_frames WHERE (in_block = 1 OR forwarding = 2) AND last_us < $2 \
             AND server_id IN (SELECT id FROM servers WHERE org_id = $1)",
        ] {
            let done = sqlx::query(sql).bind(org.to_string()).bind(before_us).execute(self.write()).await?;
            deleted += done.rows_affected();
        }
        Ok(deleted)
    }

    /// How many frames of a server are quarantined.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn quarantined_frames(&self, org: OrgId, server: ServerId) -> Result<u64> {
        sqlx::query(
            "SELECT COUNT(*) AS frames FROM metric_quarantine q JOIN servers s ON s.id = q.server_id \
             WHERE s.org_id = $1 AND s.id = $2",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .fetch_one(self.read())
        .await?
        .unsigned("frames")
    }

    /// Forgets what hosts declared and nothing used since `unused_since_us`, by `now_us`: of epochs that no frame is left
    /// of, and of containers unless frames of back then are still to be sealed; then lists that nobody declares. Answers
    /// how many declarations went.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn forget_declarations(&self, now_us: i64, unused_since_us: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE metric_declarations SET used_at_us = $1 WHERE used_at_us = 0")
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        let mut deleted = sqlx::query(
            "DELETE FROM metric_declarations WHERE used_at_us > 0 AND used_at_us < $1 AND NOT EXISTS \
             (SELECT 1 FROM metric_frames f WHERE f.server_id = metric_declarations.server_id \
             AND f.epoch = metric_declarations.epoch \
             AND (metric_declarations.is_passing = 0 OR (f.in_block = 0 AND f.last_us < $1)))",
        )
        .bind(unused_since_us)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        deleted += sqlx::query(
            "DELETE FROM metric_series WHERE NOT EXISTS (SELECT 1 FROM metric_frames f \
             WHERE f.server_id = metric_series.server_id AND f.epoch = metric_series.epoch) \
             AND EXISTS (SELECT 1 FROM servers s WHERE s.id = metric_series.server_id AND s.agent_status <> 'online')",
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if deleted > 0 {
            sqlx::query(
                "DELETE FROM declaration_lists WHERE NOT EXISTS \
                 (SELECT 1 FROM metric_declarations d WHERE d.list_sha256 = declaration_lists.sha256)",
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(deleted)
    }
}
