//! How long organisations keep their samples.

use std::time::Duration;

use muster_shared::id::OrgId;
use serde_json::{Value, json};
use sqlx::any::AnyRow;

use super::{Result, Store, quota::signed, rows::Columns as _};
use crate::{
    access::Act,
    audit::{Action, Record},
    retention::Own,
};

impl Store {
    /// What `org` set itself; `None` where there is no such organisation.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn metrics_retention(&self, org: OrgId) -> Result<Option<Own>> {
        let row = sqlx::query(
            "SELECT raw_retention_seconds, minute_retention_seconds, hour_retention_seconds \
             FROM organizations WHERE id = $1",
        )
        .bind(org.to_string())
        .fetch_optional(self.read())
        .await?;
        row.as_ref().map(own).transpose()
    }

    /// Every organisation, with what it set itself.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn every_metrics_retention(&self) -> Result<Vec<(OrgId, Own)>> {
        let rows = sqlx::query(
            "SELECT id, raw_retention_seconds, minute_retention_seconds, hour_retention_seconds \
             FROM organizations ORDER BY id",
        )
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| Ok((row.parsed("id")?, own(row)?))).collect()
    }

    /// Sets what the organisation acted in keeps; answers whether there is such an organisation.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn set_metrics_retention(&self, act: &Act, after: Own) -> Result<bool> {
        let mut tx = self.begin().await?;
        // The update locks the row, so that of two at once each records what it really changed.
        let rows = sqlx::query(
            "UPDATE organizations SET name = name WHERE id = $1 \
             RETURNING name, raw_retention_seconds, minute_retention_seconds, hour_retention_seconds",
        )
        .bind(act.org_id.to_string())
        .fetch_all(&mut *tx)
        .await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let (before, name): (_, String) = (own(row)?, row.value("name")?);
        sqlx::query(
            "UPDATE organizations SET raw_retention_seconds = $2, minute_retention_seconds = $3, \
             hour_retention_seconds = $4 WHERE id = $1",
        )
        .bind(act.org_id.to_string())
        .bind(seconds(after.raw).map(signed))
        .bind(seconds(after.minutes).map(signed))
        .bind(seconds(after.hours).map(signed))
        .execute(&mut *tx)
        .await?;
        let record = Record::new(act, Action::MetricsRetentionUpdated, act.org_id, name);
        self.append_audit(&mut tx, &record.change(&shown(&before), &shown(&after))).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn own(row: &AnyRow) -> Result<Own> {
    Ok(Own {
        raw: period(row, "raw_retention_seconds")?,
        minutes: period(row, "minute_retention_seconds")?,
        hours: period(row, "hour_retention_seconds")?,
    })
}

fn period(row: &AnyRow, column: &'static str) -> Result<Option<Duration>> {
    Ok(row.unsigned_if_any(column)?.map(Duration::from_secs))
}

fn seconds(period: Option<Duration>) -> Option<u64> {
    period.map(|period| period.as_secs())
}

fn shown(own: &Own) -> Value {
    json!({
        "raw_retention_seconds": seconds(own.raw),
        "minute_retention_seconds": seconds(own.minutes),
        "hour_retention_seconds": seconds(own.hours),
    })
}
