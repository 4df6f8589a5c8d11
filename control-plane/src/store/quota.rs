//! Limits and what is in use. Whoever adds to what counts locks the organisation's row first, looks, then writes: so
//! callers at once take turns, on both databases.

use muster_shared::id::OrgId;
use serde_json::{Value, json};
use sqlx::{AnyConnection, any::AnyRow};

use super::{Result, Store, StoreError, Tx, rows::Columns as _};
use crate::{
    access::Act,
    audit::{Action, Record},
    environments::placement::sizes,
    quota::{Amounts, Exceeded, Limits, LimitsPatch, Resource, Standing, admit, admit_unsized, number},
    servers::{Detected, Resources, Server},
};

impl Store {
    /// How `org` stands; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn quota(&self, org_id: OrgId) -> Result<Option<Standing>> {
        let mut connection = self.read().acquire().await?;
        let row = sqlx::query(
            "SELECT total_cpu_quota_milli, total_ram_quota_mb_milli, total_disk_quota_gb_milli \
             FROM organizations WHERE id = $1",
        )
        .bind(org_id.to_string())
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let limits = limits(&row)?;
        let servers = used_by_servers(&mut connection, org_id).await?;
        let environments = used_by_environments(&mut connection, org_id).await?;
        Ok(Some(Standing { org_id, limits, servers, environments }))
    }

    /// Changes limits; answers whether there is such an organisation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_quota(&self, act: &Act, patch: &LimitsPatch) -> Result<bool> {
        let mut tx = self.begin().await?;
        let Some((before, name)) = lock_row(&mut tx, act.org_id).await? else { return Ok(false) };
        let after = Limits {
            cpu_milli: patch.cpu_milli.unwrap_or(before.cpu_milli),
            ram_mb_milli: patch.ram_mb_milli.unwrap_or(before.ram_mb_milli),
            disk_gb_milli: patch.disk_gb_milli.unwrap_or(before.disk_gb_milli),
        };
        sqlx::query(
            "UPDATE organizations SET total_cpu_quota_milli = $2, total_ram_quota_mb_milli = $3, \
             total_disk_quota_gb_milli = $4 WHERE id = $1",
        )
        .bind(act.org_id.to_string())
        .bind(after.cpu_milli.map(signed))
        .bind(after.ram_mb_milli.map(signed))
        .bind(after.disk_gb_milli.map(signed))
        .execute(&mut *tx)
        .await?;
        let record = Record::new(act, Action::QuotaUpdated, act.org_id, name).change(&shown(&before), &shown(&after));
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Locks the organisation's quota until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut Tx, org: OrgId) -> Result<Limits> {
    let locked = lock_row(tx, org).await?;
    locked.map(|(limits, _)| limits).ok_or(StoreError::Unreadable { column: "org_id" })
}

async fn lock_row(tx: &mut Tx, org: OrgId) -> Result<Option<(Limits, String)>> {
    let rows = sqlx::query(
        "UPDATE organizations SET name = name WHERE id = $1 \
         RETURNING name, total_cpu_quota_milli, total_ram_quota_mb_milli, total_disk_quota_gb_milli",
    )
    .bind(org.to_string())
    .fetch_all(&mut **tx)
    .await?;
    rows.first().map(|row| Ok((limits(row)?, row.value("name")?))).transpose()
}

/// Lets a server of the declared size in, or not; where nothing is declared, something must be left.
pub(super) async fn admit_server(tx: &mut Tx, org: OrgId, declared: &Resources) -> Result<()> {
    let limits = lock(tx, org).await?;
    let used = used_by_servers(tx, org).await?;
    let added = sizes(declared, &Detected::default()).amounts();
    admit_unsized(&limits, &used, &added).map_err(StoreError::OverQuota)
}

/// Lets a server grow to the declared size, or not.
pub(super) async fn admit_growth(tx: &mut Tx, server: &Server, declared: &Resources) -> Result<()> {
    if server.declared == *declared {
        return Ok(());
    }
    let limits = lock(tx, server.org_id).await?;
    let size = |declared| sizes(declared, &server.detected).amounts();
    let grown = size(declared).minus(&size(&server.declared));
    let used = used_by_servers(tx, server.org_id).await?;
    admit(&limits, &used, &grown).map_err(StoreError::OverQuota)
}

/// What the organisation's servers have: what is declared, else what was found. The same as
/// [`sizes`](crate::environments::placement::sizes) of each.
async fn used_by_servers(connection: &mut AnyConnection, org: OrgId) -> Result<Amounts> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(COALESCE(cpu_cores_milli, detected_cpu_cores * 1000)), 0) AS BIGINT) AS cpu, \
         CAST(COALESCE(SUM(COALESCE(memory_gb_milli * 1024, detected_memory_bytes / 1048576 * 1000)), 0) AS BIGINT) \
         AS ram, \
         CAST(COALESCE(SUM(COALESCE(disk_gb_milli, data_disk_bytes / 1000000)), 0) AS BIGINT) AS disk \
         FROM servers WHERE org_id = $1 AND deleted_at_us IS NULL",
    )
    .bind(org.to_string())
    .fetch_one(connection)
    .await?;
    amounts(&row)
}

/// What the organisation's active environments count for.
pub(super) async fn used_by_environments(connection: &mut AnyConnection, org: OrgId) -> Result<Amounts> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(counted_cpu_milli), 0) AS BIGINT) AS cpu, \
         CAST(COALESCE(SUM(counted_ram_mb_milli), 0) AS BIGINT) AS ram, \
         CAST(COALESCE(SUM(counted_disk_gb_milli), 0) AS BIGINT) AS disk \
         FROM environments WHERE org_id = $1 AND deleted_at_us IS NULL",
    )
    .bind(org.to_string())
    .fetch_one(connection)
    .await?;
    amounts(&row)
}

/// The columns `cpu`, `ram` and `disk` of a sum.
pub(super) fn amounts(row: &AnyRow) -> Result<Amounts> {
    Ok(Amounts {
        cpu_milli: row.unsigned("cpu")?,
        ram_mb_milli: row.unsigned("ram")?,
        disk_gb_milli: row.unsigned("disk")?,
    })
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn limits(row: &AnyRow) -> Result<Limits> {
    Ok(Limits {
        cpu_milli: row.unsigned_if_any("total_cpu_quota_milli")?,
        ram_mb_milli: row.unsigned_if_any("total_ram_quota_mb_milli")?,
        disk_gb_milli: row.unsigned_if_any("total_disk_quota_gb_milli")?,
    })
}

fn shown(limits: &Limits) -> Value {
    let shown = |resource| limits.of(resource).map(number);
    json!({
        "total_cpu_quota": shown(Resource::Cpu),
        "total_ram_quota_mb": shown(Resource::Ram),
        "total_disk_quota_gb": shown(Resource::Disk),
    })
}

impl From<Exceeded> for StoreError {
    fn from(exceeded: Exceeded) -> Self {
        Self::OverQuota(exceeded)
    }
}
