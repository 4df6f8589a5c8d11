//! What checks found of servers' health, and when whose turn is. The checks are the control plane's own: they go over
//! every organisation's servers, and what they write names the organisation.

use muster_shared::id::{OrgId, ServerId};
use sqlx::any::AnyRow;

use super::{Result, Store, rows::Columns as _};
use crate::{
    health::{Certificate, Check, HealthRecord, Probed, SampleSeen},
    servers::HealthStatus,
};

/// A check to be stored.
#[derive(Debug, Clone)]
pub struct CheckedServer {
    pub org: OrgId,
    pub id: ServerId,
    pub now_us: i64,
    pub check: Check,
}

impl Store {
    /// The servers, of every organisation, whose turn has come by `now_us`, the longest waiting first. With
    /// `waiting_since_us`, those are left out whose agent is gone and which were not checked since: it may come back.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn servers_to_check(
        &self,
        now_us: i64,
        waiting_since_us: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(OrgId, ServerId)>> {
        sqlx::query(
            "SELECT s.org_id, s.id FROM server_health h JOIN servers s ON s.id = h.server_id \
             WHERE h.next_check_at_us <= $1 AND s.deleted_at_us IS NULL \
             AND (s.agent_status <> 'offline' OR h.checked_at_us >= $3) ORDER BY h.next_check_at_us LIMIT $2",
        )
        .bind(now_us)
        .bind(i64::from(limit))
        .bind(waiting_since_us.unwrap_or(i64::MIN))
        .fetch_all(self.read())
        .await?
        .iter()
        .map(named)
        .collect()
    }

    /// Servers, of every organisation, that were never checked.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn unchecked_servers(&self, limit: u32) -> Result<Vec<(OrgId, ServerId)>> {
        sqlx::query(
            "SELECT s.org_id, s.id FROM servers s LEFT JOIN server_health h ON h.server_id = s.id \
             WHERE h.server_id IS NULL AND s.deleted_at_us IS NULL LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?
        .iter()
        .map(named)
        .collect()
    }

    /// Stores checks and the disk use they saw, in one transaction. What a check did not see stays as it was, and a
    /// younger check stays altogether.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_checks(&self, checked: &[CheckedServer]) -> Result<()> {
        if checked.is_empty() {
            return Ok(());
        }
        // In the order in which every transaction of many servers takes their rows.
        let mut checked: Vec<_> = checked.iter().collect();
        checked.sort_by_key(|server| server.id);
        let mut tx = self.begin().await?;
        for server in checked {
            let Check { health, seen, disk_use, .. } = &server.check;
            let evidence = serde_json::to_string(&health.evidence).unwrap_or_default();
            let sample = seen.sample;
            let done = sqlx::query(
                "INSERT INTO server_health (server_id, status, reason, evidence, since_us, checked_at_us, \
                 next_check_at_us, sample_arrived_at_us, sample_looked_at_us, sample_disk_percent_milli, \
                 certificate_not_before_us, certificate_not_after_us, disk_use_hour) \
                 SELECT id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM servers \
                 WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL \
                 ON CONFLICT (server_id) DO UPDATE SET status = excluded.status, reason = excluded.reason, \
                 evidence = excluded.evidence, since_us = excluded.since_us, \
                 checked_at_us = excluded.checked_at_us, next_check_at_us = excluded.next_check_at_us, \
                 sample_arrived_at_us = COALESCE(excluded.sample_arrived_at_us, server_health.sample_arrived_at_us), \
                 sample_looked_at_us = COALESCE(excluded.sample_looked_at_us, server_health.sample_looked_at_us), \
                 sample_disk_percent_milli = CASE WHEN excluded.sample_arrived_at_us IS NULL \
                 THEN server_health.sample_disk_percent_milli ELSE excluded.sample_disk_percent_milli END, \
                 certificate_not_before_us = \
                 COALESCE(excluded.certificate_not_before_us, server_health.certificate_not_before_us), \
                 certificate_not_after_us = \
                 COALESCE(excluded.certificate_not_after_us, server_health.certificate_not_after_us), \
                 disk_use_hour = COALESCE(excluded.disk_use_hour, server_health.disk_use_hour) \
                 WHERE server_health.checked_at_us <= excluded.checked_at_us",
            )
            .bind(server.org.to_string())
            .bind(server.id.to_string())
            .bind(health.status.as_str())
            .bind(health.reason.as_str())
            .bind(evidence)
            .bind(health.since_us)
            .bind(server.now_us)
            .bind(health.next_check_at_us)
            .bind(sample.map(|sample| sample.arrived_at_us))
            .bind(sample.map(|sample| sample.looked_at_us))
            .bind(sample.and_then(|sample| sample.disk_usage_percent).map(thousandths))
            .bind(seen.certificate.map(|certificate| certificate.not_before_us))
            .bind(seen.certificate.map(|certificate| certificate.not_after_us))
            .bind(disk_use.map(|(hour, _)| hour))
            .execute(&mut *tx)
            .await?;
            if let (Some((hour, percent)), 1) = (disk_use, done.rows_affected()) {
                super::disk_use::insert(&mut tx, server.id, *hour, thousandths(*percent)).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Takes the next attempt over SSH for this process, where its time still stands as it was read: `expected_us`.
    /// Answers whether it is ours; nobody else's before `until_us`, unless the server's revision becomes another.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn claim_probe(
        &self,
        org: OrgId,
        id: ServerId,
        revision: i64,
        (expected_us, until_us): (Option<i64>, i64),
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE server_health SET next_probe_at_us = $4, probe_revision = $5 WHERE server_id = $2 \
             AND COALESCE(next_probe_at_us, -1) = $3 \
             AND EXISTS (SELECT 1 FROM servers WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL)",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(expected_us.unwrap_or(-1))
        .bind(until_us)
        .bind(revision)
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Records an attempt over SSH that nobody asked for, and makes the server's turn no later than the next one.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_probe(&self, org: OrgId, id: ServerId, probed: &Probed) -> Result<()> {
        sqlx::query(
            "UPDATE server_health SET probe_failures = $3, probe_revision = $4, next_probe_at_us = $5, \
             probe_looked_at_us = $6, next_check_at_us = \
             CASE WHEN next_check_at_us > $5 THEN $5 ELSE next_check_at_us END WHERE server_id = $2 \
             AND EXISTS (SELECT 1 FROM servers WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL)",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(i64::from(probed.failures))
        .bind(probed.revision)
        .bind(probed.next_at_us)
        .bind(probed.looked_at_us)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// The youngest certificate of a server's agent; `None` where it has none that is not revoked.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn youngest_certificate(&self, org: OrgId, id: ServerId) -> Result<Option<Certificate>> {
        let row = sqlx::query(
            "SELECT not_before_us, not_after_us FROM certificates \
             WHERE server_id = $2 AND org_id = $1 AND revoked_at_us IS NULL ORDER BY not_after_us DESC LIMIT 1",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(self.read())
        .await?;
        row.map(|row| {
            Ok(Certificate { not_before_us: row.value("not_before_us")?, not_after_us: row.value("not_after_us")? })
        })
        .transpose()
    }

    /// Forgets the checks of servers, of every organisation, that were deleted.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn forget_checks_of_deleted(&self) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM server_health WHERE server_id IN (SELECT id FROM servers WHERE deleted_at_us IS NOT NULL)",
        )
        .execute(self.write())
        .await?;
        Ok(done.rows_affected())
    }
}

fn named(row: &AnyRow) -> Result<(OrgId, ServerId)> {
    Ok((row.parsed("org_id")?, row.parsed("id")?))
}

fn thousandths(percent: f64) -> i64 {
    (percent * 1000.0).round() as i64
}

/// The health in a row of servers; `None` before the first check.
pub(super) fn health_record(row: &AnyRow) -> Result<Option<HealthRecord>> {
    let Some(checked_at_us) = row.value("health_checked_at_us")? else { return Ok(None) };
    let arrived: Option<i64> = row.value("sample_arrived_at_us")?;
    let looked: Option<i64> = row.value("sample_looked_at_us")?;
    let percent: Option<i64> = row.value("sample_disk_percent_milli")?;
    let not_before: Option<i64> = row.value("certificate_not_before_us")?;
    let not_after: Option<i64> = row.value("certificate_not_after_us")?;
    let sample = arrived.zip(looked).map(|(arrived_at_us, looked_at_us)| SampleSeen {
        arrived_at_us,
        looked_at_us,
        disk_usage_percent: percent.map(|milli| milli as f64 / 1e3),
    });
    Ok(Some(HealthRecord {
        status: row.word("health_status", HealthStatus::parse)?,
        reason: row.value("health_reason")?,
        since_us: row.value("health_since_us")?,
        checked_at_us,
        next_check_at_us: row.value("next_check_at_us")?,
        sample,
        certificate: not_before
            .zip(not_after)
            .map(|(not_before_us, not_after_us)| Certificate { not_before_us, not_after_us }),
        probe: Probed {
            failures: u32::try_from(row.unsigned("probe_failures")?).unwrap_or(u32::MAX),
            revision: row.value("probe_revision")?,
            next_at_us: row.value("next_probe_at_us")?,
            looked_at_us: row.value("probe_looked_at_us")?,
        },
        disk_use_hour: row.value("disk_use_hour")?,
    }))
}
