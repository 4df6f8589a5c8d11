//! How full servers' disks were, hour by hour.

use muster_shared::id::{OrgId, ServerId};

use super::{Result, Store, Tx, rows::Columns as _};

impl Store {
    /// The disk use of a server from `from_hour` on, oldest first: hour since the epoch, and percent.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn disk_use(&self, org: OrgId, id: ServerId, from_hour: i64) -> Result<Vec<(i64, f64)>> {
        sqlx::query(
            "SELECT d.hour, d.percent_milli FROM disk_use d JOIN servers s ON s.id = d.server_id \
             WHERE s.org_id = $1 AND s.id = $2 AND s.deleted_at_us IS NULL AND d.hour >= $3 ORDER BY d.hour",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(from_hour)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| Ok((row.value("hour")?, row.value::<i64>("percent_milli")? as f64 / 1e3)))
        .collect()
    }

    /// Forgets disk use, of every organisation, older than `before_hour`; answers how many points.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn forget_disk_use(&self, before_hour: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM disk_use WHERE hour < $1").bind(before_hour).execute(self.write()).await?;
        Ok(done.rows_affected())
    }
}

/// An hour has one point: the first one stays.
pub(super) async fn insert(tx: &mut Tx, id: ServerId, hour: i64, percent_milli: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO disk_use (server_id, hour, percent_milli) VALUES ($1, $2, $3) \
         ON CONFLICT (server_id, hour) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(hour)
    .bind(percent_milli)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
