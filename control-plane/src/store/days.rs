//! Days of samples, roll-ups included, that hours became: an index each, and its stripes.
//!
//! A day changes whole: its stripes are written under a new generation together with its index. Whoever read an index
//! before and does not find its stripes reads the index again. The server's revision is the one that sealing raises, so
//! that one who makes a day and one who seals are told apart, and the second does nothing.

use muster_shared::id::{OrgId, ServerId};

use super::{
    BlockKey, Resolution, Result, Store, StripeRow, StripesKey, StripesOf, Tx,
    blocks::{between, delete_block},
    rows::Columns as _,
    sealing::claim,
    stripes::{checksum, insert_stripes},
};

/// A stored day's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRow {
    pub resolution: Resolution,
    pub day_us: i64,
    /// The revision of the server that its stripes were written by.
    pub generation: i64,
    pub first_us: i64,
    pub last_us: i64,
    /// Values in it.
    pub samples: u64,
    pub checksum: u32,
    pub payload: Vec<u8>,
}

/// What making a day changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// As [`Store::sealing_revision`] had it before anything was read.
    pub revision: i64,
    pub day: DayRow,
    pub stripes: Vec<StripeRow>,
    /// The hours' blocks that are in it now.
    pub absorbed: Vec<BlockKey>,
}

/// A server's day that has blocks of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueDay {
    pub org: OrgId,
    pub server: ServerId,
    pub resolution: Resolution,
    pub day_us: i64,
}

impl DayRow {
    /// What its stripes are found by.
    #[must_use]
    pub fn stripes_key(&self) -> StripesKey {
        StripesKey { begin_us: self.day_us, part: 0, generation: self.generation }
    }
}

impl Store {
    /// A server's days of `resolution` that begin from the first to the last moment of `range_us`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn days(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        range_us: (i64, i64),
    ) -> Result<Vec<DayRow>> {
        between(
            "SELECT d.day_us, d.generation, d.first_us, d.last_us, d.samples, d.checksum, d.payload FROM metric_days d \
             JOIN servers s ON s.id = d.server_id WHERE s.org_id = $1 AND d.server_id = $2 AND d.resolution = $3 \
             AND d.day_us >= $4 AND d.day_us <= $5 ORDER BY d.day_us",
            whose,
            resolution,
            range_us,
        )
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| {
            Ok(DayRow {
                resolution,
                day_us: row.value("day_us")?,
                generation: row.value("generation")?,
                first_us: row.value("first_us")?,
                last_us: row.value("last_us")?,
                samples: row.unsigned("samples")?,
                checksum: checksum(row.value("checksum")?),
                payload: row.value("payload")?,
            })
        })
        .collect()
    }

    /// When the first sample of a server's days of `resolution` was; `None` where it has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_day_us(&self, org: OrgId, server: ServerId, resolution: Resolution) -> Result<Option<i64>> {
        sqlx::query(
            "SELECT MIN(d.first_us) AS first_us FROM metric_days d JOIN servers s ON s.id = d.server_id \
             WHERE s.org_id = $1 AND d.server_id = $2 AND d.resolution = $3",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(resolution.seconds())
        .fetch_one(self.read())
        .await?
        .value("first_us")
    }

    /// Days, of every organisation, that were over at `before_us` and have hours which can be put into them, the oldest
    /// first. Those of which anything is known to be damaged stay as they are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn days_to_compact(&self, before_us: i64) -> Result<Vec<DueDay>> {
        // Days are as long as `Resolution::DAY_US`.
        let rows = sqlx::query(
            "SELECT DISTINCT due.org_id, due.server_id, due.resolution, due.day_us FROM \
             (SELECT s.org_id, b.server_id, b.resolution, b.window_us - b.window_us % 86400000000 AS day_us \
             FROM metric_blocks b JOIN servers s ON s.id = b.server_id WHERE b.resolution IN (1, 60) \
             AND b.window_us >= 0 AND b.window_us < $1 AND b.damaged_at_us IS NULL) due \
             WHERE NOT EXISTS (SELECT 1 FROM metric_days d WHERE d.server_id = due.server_id \
             AND d.resolution = due.resolution AND d.day_us = due.day_us AND d.damaged_at_us IS NOT NULL) \
             ORDER BY due.day_us, due.server_id, due.resolution",
        )
        .bind(before_us.div_euclid(Resolution::DAY_US).saturating_mul(Resolution::DAY_US))
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| {
                let resolution = if row.value::<i64>("resolution")? == Resolution::Second.seconds() {
                    Resolution::Second
                } else {
                    Resolution::Minute
                };
                let (org, server) = (row.parsed("org_id")?, row.parsed("server_id")?);
                Ok(DueDay { org, server, resolution, day_us: row.value("day_us")? })
            })
            .collect()
    }

    /// Puts a day in the place of what it was made of, all or nothing. Answers whether it did: not, when the server was
    /// sealed or another of its days was made since.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is changed.
    pub async fn compact(&self, server: ServerId, compaction: &Compaction) -> Result<bool> {
        let mut tx = self.begin().await?;
        if !claim(&mut tx, server, compaction.revision).await? {
            return Ok(false);
        }
        for key in &compaction.absorbed {
            delete_block(&mut tx, server, *key).await?;
        }
        let day = &compaction.day;
        delete_day(&mut tx, server, (day.resolution, day.day_us)).await?;
        insert_day(&mut tx, server, day).await?;
        insert_stripes(&mut tx, StripesOf::Days, (server, day.resolution), &compaction.stripes).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Remembers that something of a day, as this generation wrote it, is damaged; answers whether that was not known yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_damaged_day(
        &self,
        (org, server): (OrgId, ServerId),
        (resolution, day_us, generation): (Resolution, i64, i64),
        now_us: i64,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE metric_days SET damaged_at_us = $4 WHERE server_id = $1 AND resolution = $2 AND day_us = $3 \
             AND generation = $6 AND damaged_at_us IS NULL \
             AND EXISTS (SELECT 1 FROM servers s WHERE s.id = $1 AND s.org_id = $5)",
        )
        .bind(server.to_string())
        .bind(resolution.seconds())
        .bind(day_us)
        .bind(now_us)
        .bind(org.to_string())
        .bind(generation)
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes up to `limit` days of `resolution` of an organisation that were over at `before_us`. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_days(&self, org: OrgId, resolution: Resolution, before_us: i64, limit: u32) -> Result<u64> {
        let mut tx = self.begin().await?;
        let old = sqlx::query(
            "SELECT d.server_id, d.day_us FROM metric_days d JOIN servers s ON s.id = d.server_id \
             WHERE d.resolution = $1 AND d.day_us < $2 AND s.org_id = $3 ORDER BY d.day_us LIMIT $4",
        )
        .bind(resolution.seconds())
        .bind(before_us.saturating_sub(Resolution::DAY_US))
        .bind(org.to_string())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        for row in &old {
            delete_day(&mut tx, row.parsed("server_id")?, (resolution, row.value("day_us")?)).await?;
        }
        tx.commit().await?;
        Ok(old.len() as u64)
    }
}

async fn delete_day(tx: &mut Tx, server: ServerId, (resolution, day_us): (Resolution, i64)) -> Result<()> {
    for sql in [
        "DELETE FROM metric_day_stripes WHERE server_id = $1 AND resolution = $2 AND day_us = $3",
        "DELETE FROM metric_days WHERE server_id = $1 AND resolution = $2 AND day_us = $3",
    ] {
        sqlx::query(sql).bind(server.to_string()).bind(resolution.seconds()).bind(day_us).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn insert_day(tx: &mut Tx, server: ServerId, day: &DayRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO metric_days (server_id, resolution, day_us, generation, first_us, last_us, samples, checksum, \
         payload) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(server.to_string())
    .bind(day.resolution.seconds())
    .bind(day.day_us)
    .bind(day.generation)
    .bind(day.first_us)
    .bind(day.last_us)
    .bind(day.samples.cast_signed())
    .bind(i64::from(day.checksum))
    .bind(&day.payload[..])
    .execute(&mut **tx)
    .await?;
    Ok(())
}
