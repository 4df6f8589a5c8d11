//! The work of single servers in fleet runs: begun by a conditional update with a lease, and ended once.

use muster_shared::id::{CommandId, FleetRunId, OrgId};
use sqlx::any::AnyRow;

use super::{Dialect, Result, Store, fleet_runs, rows::Columns as _};
use crate::{
    audit::Record,
    fleet_runs::{RunState, ServerOutcome, Work},
};

/// Candidates looked at for one claim: so many others may take one at the same moment.
const CANDIDATES: i64 = 16;

impl Store {
    /// Claims one server's work of any organisation: one that is under way and whose lease lapsed, or one that may begin.
    /// It begins only while its run runs, its wave has come, and no more servers have failed than may. `None` where there
    /// is nothing to be had now.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn claim_fleet_work(&self, lease: &str, now_us: i64, expires_at_us: i64) -> Result<Option<Work>> {
        let rows = sqlx::query(
            "SELECT s.run_id, s.org_id, s.server_id, s.command_id, s.confirmation_id, v.name, r.task, r.dry_run, \
             r.created_by, r.created_by_name, r.created_with FROM fleet_run_servers s \
             JOIN fleet_runs r ON r.id = s.run_id JOIN servers v ON v.id = s.server_id \
             WHERE r.ended_at_us IS NULL AND ((s.state = 'running' AND s.lease_expires_at_us <= $1) \
             OR (s.state = 'waiting' AND r.state = 'running' AND s.wave <= r.wave)) \
             ORDER BY s.run_id, s.wave, s.server_id LIMIT $2",
        )
        .bind(now_us)
        .bind(CANDIDATES)
        .fetch_all(self.read())
        .await?;
        for row in &rows {
            let work = work(row, lease)?;
            if self.take_fleet_work(&work, now_us, expires_at_us).await? {
                return Ok(Some(work));
            }
        }
        Ok(None)
    }

    async fn take_fleet_work(&self, work: &Work, now_us: i64, expires_at_us: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        // Whoever stops the run waits, or has stopped it.
        let state = fleet_runs::lock_run(&mut tx, work.org, work.run).await?;
        let may_begin = i64::from(state == Some(RunState::Running));
        let done = sqlx::query(
            "UPDATE fleet_run_servers SET state = 'running', lease = $4, lease_expires_at_us = $5, command_id = $6, \
             confirmation_id = $7, updated_at_us = $8 WHERE org_id = $1 AND run_id = $2 AND server_id = $3 \
             AND ((state = 'running' AND command_id = $6 AND lease_expires_at_us <= $8) OR (state = 'waiting' AND $9 = 1 \
             AND wave <= (SELECT r.wave FROM fleet_runs r WHERE r.id = $2) \
             AND (SELECT COUNT(*) FROM fleet_run_servers f WHERE f.run_id = $2 AND f.state = 'failed') \
             <= (SELECT r.max_failures FROM fleet_runs r WHERE r.id = $2)))",
        )
        .bind(work.org.to_string())
        .bind(work.run.to_string())
        .bind(work.server.to_string())
        .bind(work.lease.as_str())
        .bind(expires_at_us)
        .bind(work.command.to_string())
        .bind(work.confirmation.to_string())
        .bind(now_us)
        .bind(may_begin)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps work for longer; answers false where it is another's by now.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn renew_fleet_work(&self, work: &Work, expires_at_us: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE fleet_run_servers SET lease_expires_at_us = $5 \
             WHERE org_id = $1 AND run_id = $2 AND server_id = $3 AND lease = $4",
        )
        .bind(work.org.to_string())
        .bind(work.run.to_string())
        .bind(work.server.to_string())
        .bind(work.lease.as_str())
        .bind(expires_at_us)
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends a server's work, on record where it failed; answers false where it is another's by now.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn settle_fleet_work(
        &self,
        work: &Work,
        state: ServerOutcome,
        (code, detail): (&str, &str),
        now_us: i64,
        record: Option<&Record>,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE fleet_run_servers SET state = $5, code = $6, detail = $7, lease = NULL, \
             lease_expires_at_us = NULL, updated_at_us = $8 \
             WHERE org_id = $1 AND run_id = $2 AND server_id = $3 AND lease = $4",
        )
        .bind(work.org.to_string())
        .bind(work.run.to_string())
        .bind(work.server.to_string())
        .bind(work.lease.as_str())
        .bind(state.as_str())
        .bind(code)
        .bind(detail)
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(record) = record {
            self.append_audit(&mut tx, record).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The commands of a run that are under way.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn fleet_commands_under_way(&self, org: OrgId, run: FleetRunId) -> Result<Vec<CommandId>> {
        let rows = sqlx::query(
            "SELECT command_id FROM fleet_run_servers WHERE org_id = $1 AND run_id = $2 AND state = 'running'",
        )
        .bind(org.to_string())
        .bind(run.to_string())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| row.parsed("command_id")).collect()
    }

    /// Frees all work where the database has no other control plane than this one, which just started: whoever held it is
    /// gone.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn free_fleet_work(&self) -> Result<()> {
        if self.dialect() == Dialect::Sqlite {
            sqlx::query("UPDATE fleet_run_servers SET lease = NULL, lease_expires_at_us = 0 WHERE state = 'running'")
                .execute(self.write())
                .await?;
        }
        Ok(())
    }
}

/// Work that was begun keeps its commands; new work gets their ids now.
fn work(row: &AnyRow, lease: &str) -> Result<Work> {
    Ok(Work {
        run: row.parsed("run_id")?,
        org: row.parsed("org_id")?,
        server: row.parsed("server_id")?,
        server_name: row.value("name")?,
        lease: lease.to_owned(),
        task: fleet_runs::task(row)?,
        dry_run: row.unsigned("dry_run")? == 1,
        created_by: row.parsed("created_by")?,
        created_by_name: row.value("created_by_name")?,
        created_with: row.value("created_with")?,
        command: row.parsed_if_any("command_id")?.unwrap_or_else(CommandId::generate),
        confirmation: row.parsed_if_any("confirmation_id")?.unwrap_or_else(CommandId::generate),
    })
}
