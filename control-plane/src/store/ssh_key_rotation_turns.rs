//! The turns of servers in a rotation: claimed by a conditional update with a lease, kept by renewing it, and ended once.
//! Nothing is written for a turn whose lease is another's by now.

use muster_shared::id::OrgId;
use sqlx::any::AnyRow;

use super::{Dialect, Result, Store, rows::Columns as _};
use crate::{
    audit::Record,
    servers::ServerRow,
    ssh_key_rotations::{ServerState, Turn},
};

/// How switching a server's record to the new key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    Done,
    /// Somebody else changed the server.
    Changed,
    /// The turn is another's by now.
    Lost,
}

/// Candidates looked at for one claim: so many others may take one at the same moment.
const CANDIDATES: i64 = 16;

impl Store {
    /// Claims the turn of one server of any organisation, those first that had fewest. `None` where none is to be had
    /// now.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn claim_key_turn(&self, lease: &str, now_us: i64, expires_at_us: i64) -> Result<Option<Turn>> {
        let rows = sqlx::query(
            "SELECT s.rotation_id, s.org_id, s.server_id, s.state, s.claims, r.old_pair_id, r.new_pair_id, \
             r.old_public_key, v.name FROM ssh_key_rotation_servers s JOIN ssh_key_rotations r ON r.id = s.rotation_id \
             JOIN servers v ON v.id = s.server_id \
             WHERE r.state = 'running' AND s.state IN ('waiting', 'switched') \
             AND (s.lease_expires_at_us IS NULL OR s.lease_expires_at_us <= $1) \
             ORDER BY s.claims, s.rotation_id, s.server_id LIMIT $2",
        )
        .bind(now_us)
        .bind(CANDIDATES)
        .fetch_all(self.read())
        .await?;
        for row in &rows {
            let turn = turn(row, lease)?;
            let claimed = sqlx::query(
                "UPDATE ssh_key_rotation_servers SET lease = $4, lease_expires_at_us = $5, claims = claims + 1, \
                 updated_at_us = $6 WHERE org_id = $1 AND rotation_id = $2 AND server_id = $3 AND state = $7 \
                 AND claims = $8 AND (lease_expires_at_us IS NULL OR lease_expires_at_us <= $6)",
            )
            .bind(turn.org.to_string())
            .bind(turn.rotation.to_string())
            .bind(turn.server.to_string())
            .bind(lease)
            .bind(expires_at_us)
            .bind(now_us)
            .bind(turn.state.as_str())
            .bind(i64::from(turn.claims) - 1)
            .execute(self.write())
            .await?;
            if claimed.rows_affected() > 0 {
                return Ok(Some(turn));
            }
        }
        Ok(None)
    }

    /// Keeps a turn for longer and says what is being done in it; answers false where it is another's by now.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn renew_key_turn(&self, turn: &Turn, step: &str, now_us: i64, expires_at_us: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE ssh_key_rotation_servers SET step = $5, lease_expires_at_us = $6, updated_at_us = $7 \
             WHERE org_id = $1 AND rotation_id = $2 AND server_id = $3 AND lease = $4",
        )
        .bind(turn.org.to_string())
        .bind(turn.rotation.to_string())
        .bind(turn.server.to_string())
        .bind(turn.lease.as_str())
        .bind(step)
        .bind(expires_at_us)
        .bind(now_us)
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives a turn back, to be claimed from `not_before_us` on; `counts` where it shall count as one of the server's.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn give_back_key_turn(&self, turn: &Turn, not_before_us: i64, counts: bool) -> Result<()> {
        sqlx::query(
            "UPDATE ssh_key_rotation_servers SET lease = NULL, step = NULL, lease_expires_at_us = $5, \
             claims = claims - $6 WHERE org_id = $1 AND rotation_id = $2 AND server_id = $3 AND lease = $4",
        )
        .bind(turn.org.to_string())
        .bind(turn.rotation.to_string())
        .bind(turn.server.to_string())
        .bind(turn.lease.as_str())
        .bind(not_before_us)
        .bind(i64::from(!counts))
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Ends a turn with where its server stands now, on record; answers false where it is another's by now.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn settle_key_turn(
        &self,
        turn: &Turn,
        state: ServerState,
        (code, detail): (&str, &str),
        record: &Record,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE ssh_key_rotation_servers SET state = $5, code = $6, detail = $7, step = NULL, lease = NULL, \
             lease_expires_at_us = NULL, updated_at_us = $8 \
             WHERE org_id = $1 AND rotation_id = $2 AND server_id = $3 AND lease = $4",
        )
        .bind(turn.org.to_string())
        .bind(turn.rotation.to_string())
        .bind(turn.server.to_string())
        .bind(turn.lease.as_str())
        .bind(state.as_str())
        .bind(code)
        .bind(detail)
        .bind(record.act.at_us)
        .execute(&mut *tx)
        .await?;
        self.commit_changed(tx, done.rows_affected() > 0, record).await
    }

    /// Makes `row` the server's record, while the turn is held and where nobody changed the server since it was read.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn switch_to_new_key(&self, turn: &Turn, row: &ServerRow, record: &Record) -> Result<Switched> {
        let mut tx = self.begin().await?;
        let held = sqlx::query(
            "UPDATE ssh_key_rotation_servers SET state = 'switched', updated_at_us = $5 \
             WHERE org_id = $1 AND rotation_id = $2 AND server_id = $3 AND lease = $4",
        )
        .bind(turn.org.to_string())
        .bind(turn.rotation.to_string())
        .bind(turn.server.to_string())
        .bind(turn.lease.as_str())
        .bind(record.act.at_us)
        .execute(&mut *tx)
        .await?;
        if held.rows_affected() == 0 {
            return Ok(Switched::Lost);
        }
        if !self.update_server_in(&mut tx, row, record).await? {
            return Ok(Switched::Changed);
        }
        tx.commit().await?;
        Ok(Switched::Done)
    }

    /// Frees every turn where the database has no other control plane than this one, which just started: whoever held
    /// them is gone.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn free_key_turns(&self) -> Result<()> {
        if self.dialect() == Dialect::Sqlite {
            sqlx::query(
                "UPDATE ssh_key_rotation_servers SET lease = NULL, lease_expires_at_us = NULL WHERE lease <> ''",
            )
            .execute(self.write())
            .await?;
        }
        Ok(())
    }
}

fn turn(row: &AnyRow, lease: &str) -> Result<Turn> {
    Ok(Turn {
        rotation: row.parsed("rotation_id")?,
        org: row.parsed::<OrgId>("org_id")?,
        server: row.parsed("server_id")?,
        server_name: row.value("name")?,
        state: row.word("state", ServerState::parse)?,
        claims: u32::try_from(row.unsigned("claims")?).unwrap_or(u32::MAX).saturating_add(1),
        lease: lease.to_owned(),
        old_pair: row.parsed("old_pair_id")?,
        new_pair: row.parsed("new_pair_id")?,
        old_public_key: row.value("old_public_key")?,
    })
}
