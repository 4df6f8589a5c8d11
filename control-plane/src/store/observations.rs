//! What was seen of a server: its facts, its preflight report, how connecting to it went.

use muster_shared::id::{OrgId, ServerId};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{
    Result, Store, Tx, containers, environments::observe, hardening::keep_hardening, power::keep_places,
    rows::Columns as _,
};
use crate::{
    access::Act,
    audit::{Action, Record},
    filter::facts_id,
    servers::{ConnectionRecord, FactsKept, FactsRow, Fingerprint, PreflightRecord, SudoMode},
};

impl Store {
    /// The facts document and when it was collected.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn facts(&self, org: OrgId, id: ServerId) -> Result<Option<(Vec<u8>, i64)>> {
        let row = sqlx::query(
            "SELECT f.json, f.collected_at_us FROM server_facts f JOIN servers s ON s.id = f.server_id \
             WHERE s.org_id = $1 AND s.id = $2 AND s.deleted_at_us IS NULL",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(self.read())
        .await?;
        row.map(|row| Ok((row.value("json")?, row.value("collected_at_us")?))).transpose()
    }

    /// Keeps a facts document, and of it what lists and filters need, unless a younger one is there.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_facts(&self, facts: &FactsRow) -> Result<FactsKept> {
        let mut tx = self.begin().await?;
        let kept = keep_facts(&mut tx, facts).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// The last preflight report, as JSON.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn preflight(&self, org: OrgId, id: ServerId) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT p.json FROM server_preflights p JOIN servers s ON s.id = p.server_id \
             WHERE s.org_id = $1 AND s.id = $2 AND s.deleted_at_us IS NULL",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(self.read())
        .await?;
        row.map(|row| row.value("json")).transpose()
    }

    /// Keeps a preflight report unless a younger one is there, and answers whether it was kept.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_preflight(
        &self,
        org: OrgId,
        id: ServerId,
        json: &str,
        record: PreflightRecord,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE servers SET preflight_verdict = $4, preflight_at_us = $3 \
             WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL \
             AND (preflight_at_us IS NULL OR preflight_at_us <= $3)",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(record.checked_at_us)
        .bind(record.verdict.as_str())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO server_preflights (server_id, json, checked_at_us) VALUES ($1, $2, $3) \
             ON CONFLICT (server_id) DO UPDATE SET json = excluded.json, checked_at_us = excluded.checked_at_us",
        )
        .bind(id.to_string())
        .bind(json)
        .bind(record.checked_at_us)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Records how an attempt over SSH ended, unless a younger one is there; answers whether it ended in another way
    /// than the last.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_connection(&self, org: OrgId, id: ServerId, record: &ConnectionRecord) -> Result<bool> {
        let same = sqlx::query(
            "UPDATE servers SET connection_at_us = $3 WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL \
             AND connection_outcome = $4 AND connection_detail = $5 AND connection_at_us <= $3",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(record.at_us)
        .bind(record.outcome.as_str())
        .bind(record.detail.as_str())
        .execute(self.write())
        .await?;
        if same.rows_affected() == 1 {
            return Ok(false);
        }
        let changed = sqlx::query(
            "UPDATE servers SET connection_outcome = $4, connection_detail = $5, connection_at_us = $3 \
             WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL \
             AND (connection_at_us IS NULL OR connection_at_us <= $3)",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(record.at_us)
        .bind(record.outcome.as_str())
        .bind(record.detail.as_str())
        .execute(self.write())
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// Replaces sudo mode `auto` by the one that was found to work.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_sudo_mode(&self, org: OrgId, id: ServerId, mode: SudoMode, now_us: i64) -> Result<()> {
        sqlx::query(
            "UPDATE servers SET ssh_sudo_mode = $3, updated_at_us = $4 \
             WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL AND ssh_sudo_mode = 'auto'",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(mode.as_str())
        .bind(now_us)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Records the host key of a first contact; answers whether there was none before.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_host_key(&self, act: &Act, id: ServerId, key: &Fingerprint) -> Result<bool> {
        let (org, mut tx) = (act.org_id, self.begin().await?);
        let done = sqlx::query(
            "UPDATE servers SET ssh_host_key_fingerprint = $3, updated_at_us = $4, revision = revision + 1 \
             WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL AND ssh_host_key_fingerprint IS NULL",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(key.as_str())
        .bind(act.at_us)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let record = Record::new(act, Action::ServerHostKeyRecorded, id, server_name(&mut tx, org, id).await?);
        let record = record.after(json!({ "ssh_host_key_fingerprint": key.as_str() }));
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Records another host key than the accepted one, for a person to compare; answers whether it is news.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn offer_host_key(&self, act: &Act, id: ServerId, key: &Fingerprint) -> Result<bool> {
        let (org, mut tx) = (act.org_id, self.begin().await?);
        let done = sqlx::query(
            "UPDATE servers SET ssh_host_key_offered = $3, updated_at_us = $4 \
             WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL AND COALESCE(ssh_host_key_offered, '') <> $3",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(key.as_str())
        .bind(act.at_us)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let record = Record::new(act, Action::ServerHostKeyOffered, id, server_name(&mut tx, org, id).await?);
        let record = record.after(json!({ "ssh_host_key_offered": key.as_str() }));
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Makes `key` the accepted host key; answers whether there is such a server.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn accept_host_key(&self, id: ServerId, key: &Fingerprint, record: &Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE servers SET ssh_host_key_fingerprint = $3, ssh_host_key_offered = NULL, updated_at_us = $4, \
             revision = revision + 1 WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL",
        )
        .bind(record.act.org_id.to_string())
        .bind(id.to_string())
        .bind(key.as_str())
        .bind(record.act.at_us)
        .execute(&mut *tx)
        .await?;
        self.commit_changed(tx, done.rows_affected() > 0, record).await
    }
}

pub(super) async fn keep_facts(tx: &mut Tx, facts: &FactsRow) -> Result<FactsKept> {
    let sha256 = digest(&SHA256, &facts.json).as_ref().to_vec();
    let detected = &facts.detected;
    let done = sqlx::query(
        "UPDATE servers SET facts_sha256 = $4, facts_collected_at_us = $3, detected_hostname = $5, os_type = $6, \
         os_version = $7, os_arch = $8, docker_status = $9, docker_version = $10, detected_cpu_cores = $11, \
         detected_memory_bytes = $12, data_disk_bytes = $13, data_disk_available_bytes = $14, updated_at_us = $15, \
         filter_facts = $16, filter_facts_id = $17 WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL \
         AND (facts_collected_at_us IS NULL OR facts_collected_at_us <= $3)",
    )
    .bind(facts.org.to_string())
    .bind(facts.server.to_string())
    .bind(facts.collected_at_us)
    .bind(sha256.as_slice())
    .bind(detected.hostname.as_deref())
    .bind(detected.os_type.as_deref())
    .bind(detected.os_version.as_deref())
    .bind(detected.os_arch.as_deref())
    .bind(detected.docker_status.as_deref())
    .bind(detected.docker_version.as_deref())
    .bind(signed(detected.cpu_cores))
    .bind(signed(detected.memory_bytes))
    .bind(signed(detected.disk_bytes))
    .bind(signed(detected.disk_available_bytes))
    .bind(facts.now_us)
    .bind(facts.filter_lines.as_str())
    .bind(facts_id(&facts.filter_lines))
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(FactsKept::Older);
    }
    sqlx::query(
        "INSERT INTO server_facts (server_id, json, sha256, collected_at_us, stored_at_us) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (server_id) DO UPDATE SET json = excluded.json, \
         sha256 = excluded.sha256, collected_at_us = excluded.collected_at_us, \
         stored_at_us = excluded.stored_at_us",
    )
    .bind(facts.server.to_string())
    .bind(facts.json.as_slice())
    .bind(sha256.as_slice())
    .bind(facts.collected_at_us)
    .bind(facts.now_us)
    .execute(&mut **tx)
    .await?;
    keep_places(tx, facts.org, facts.server, &facts.places).await?;
    containers::keep(tx, facts.server, &facts.docker).await?;
    observe(tx, facts.org, facts.server, &facts.docker, facts.collected_at_us).await?;
    let moves = keep_hardening(tx, facts.org, facts.server, &facts.hardening, facts.collected_at_us).await?;
    Ok(if moves { FactsKept::HardeningMoved } else { FactsKept::Kept })
}

fn signed(value: Option<u64>) -> Option<i64> {
    value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}

/// What a server is called, for the record.
pub(super) async fn server_name(tx: &mut Tx, org: OrgId, id: ServerId) -> Result<String> {
    let row = sqlx::query("SELECT name FROM servers WHERE org_id = $1 AND id = $2")
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map_or_else(|| Ok(String::new()), |row| row.value("name"))
}
