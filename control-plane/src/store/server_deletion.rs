//! Deleting a server: its row stays, with its secrets sealed, for who must recover it.

use muster_shared::id::ServerId;

use super::{Result, Store, certificates::revoke_certificates, quota::lock, rows::Columns as _};
use crate::audit::Record;

/// Most environments that a refusal names.
const MAX_NAMED: usize = 20;

/// How deleting a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerDeletion {
    Deleted,
    Gone,
    /// So many active environments are on it, the first of them called so.
    HoldsEnvironments {
        count: usize,
        names: Vec<String>,
    },
}

impl Store {
    /// Deletes a server without active environments: its name is free, what it counted for is released, inactive
    /// environments have no server any more, and its agent's identity is refused from now on.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn delete_server(&self, id: ServerId, record: &Record) -> Result<ServerDeletion> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let mut tx = self.begin().await?;
        // Placing an environment locks the same row, so that none arrives while the server goes.
        lock(&mut tx, org).await?;
        let holds = sqlx::query(
            "SELECT p.slug, e.name FROM environments e JOIN projects p ON p.id = e.project_id WHERE e.org_id = $1 \
             AND e.server_id = $2 AND e.is_active = 1 AND e.deleted_at_us IS NULL ORDER BY e.created_at_us, e.id",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await?;
        if !holds.is_empty() {
            let name = |row| Ok(format!("{}/{}", value(row, "slug")?, value(row, "name")?));
            let names = holds.iter().take(MAX_NAMED).map(name).collect::<Result<_>>()?;
            return Ok(ServerDeletion::HoldsEnvironments { count: holds.len(), names });
        }
        let done = sqlx::query(
            "UPDATE servers SET status = 'deleted', deleted_at_us = $3, updated_at_us = $3, revision = revision + 1, \
             agent_status = CASE WHEN agent_status = 'none' THEN 'none' ELSE 'retired' END \
             WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(ServerDeletion::Gone);
        }
        revoke_certificates(&mut tx, id, "retired", now_us).await?;
        for statement in [
            "UPDATE environments SET server_id = NULL WHERE org_id = $1 AND server_id = $2",
            // The key that made it may make its successor.
            "DELETE FROM idempotency_keys WHERE org_id = $1 AND server_id = $2",
        ] {
            sqlx::query(statement).bind(org.to_string()).bind(id.to_string()).execute(&mut *tx).await?;
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(ServerDeletion::Deleted)
    }
}

fn value<'r>(row: &'r sqlx::any::AnyRow, column: &'static str) -> Result<&'r str> {
    row.value(column)
}
