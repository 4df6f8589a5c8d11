//! Rotations of key pairs: their beginning, their end, and how they stand.
//!
//! Whoever begins, takes up or ends a rotation, or deletes a key pair, first locks the pairs' rows, the older one first, so
//! that what is looked at then stays so until the transaction ends. Foreign keys decide besides.

use muster_shared::id::{OrgId, ServerId, SshKeyPairId, SshKeyRotationId};
use sqlx::{AssertSqlSafe, any::AnyRow};

use super::{
    Result, Store, StoreError, Tx,
    rows::Columns as _,
    ssh_keys::{insert_pair, lock_pair, pair_in},
};
use crate::{
    audit::Record,
    servers::KeyPairName,
    ssh_key_rotations::{Conclusion, Rotation, RotationServer, RotationState, ServerState, Tally, conclusion},
    ssh_keys::SshKeyPair,
};

/// How starting or taking up a rotation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationStart {
    Begun(SshKeyRotationId),
    /// There is no such pair.
    Missing,
    /// The pair is being rotated, or was, already.
    Exists,
    /// A rotation that runs replaces another pair by this one, or this one's successor is being rotated itself.
    Busy,
    /// The organisation has as many pairs as it may.
    TooMany,
}

macro_rules! select_rotation {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.org_id, r.old_pair_id, r.new_pair_id, r.name, r.state, r.started_at_us, r.ended_at_us, \
             (SELECT COUNT(*) FROM ssh_key_pairs p WHERE p.id = r.old_pair_id) AS kept FROM ssh_key_rotations r ",
            $rest
        )
    };
}

impl Store {
    /// Begins to replace the pair `old` by `new`, which takes over its name; the old one is called `old_name` from now on.
    /// Every server that is entered with it gets a turn.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken.
    pub async fn start_key_rotation(
        &self,
        id: SshKeyRotationId,
        (old, old_name): (SshKeyPairId, &KeyPairName),
        (new, private_key_sealed): (&SshKeyPair, &[u8]),
        limit: u32,
        record: &Record,
    ) -> Result<RotationStart> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let mut tx = self.begin().await?;
        if !lock_pair(&mut tx, org, old).await? {
            return Ok(RotationStart::Missing);
        }
        let Some(pair) = pair_in(&mut tx, org, old).await? else { return Ok(RotationStart::Missing) };
        if is_rotated(&mut tx, org, old).await? {
            return Ok(RotationStart::Exists);
        }
        if is_running_to(&mut tx, org, old).await? {
            return Ok(RotationStart::Busy);
        }
        sqlx::query("UPDATE ssh_key_pairs SET name = $3, updated_at_us = $4 WHERE org_id = $1 AND id = $2")
            .bind(org.to_string())
            .bind(old.to_string())
            .bind(old_name.as_str())
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        if !insert_pair(&mut tx, org, new, private_key_sealed, limit).await? {
            return Ok(RotationStart::TooMany);
        }
        let begun = sqlx::query(
            "INSERT INTO ssh_key_rotations (id, org_id, old_pair_id, new_pair_id, name, old_public_key, state, \
             started_at_us) VALUES ($1, $2, $3, $4, $5, $6, 'running', $7) ON CONFLICT (old_pair_id) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(org.to_string())
        .bind(old.to_string())
        .bind(new.id.to_string())
        .bind(new.name.as_str())
        .bind(pair.public_key.as_str())
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        if begun.rows_affected() == 0 {
            return Ok(RotationStart::Exists);
        }
        adopt(&mut tx, org, id, now_us).await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(RotationStart::Begun(id))
    }

    /// Takes up a rotation that left servers behind: they, and whoever uses the old pair by now, get another turn.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume_key_rotation(&self, rotation: &Rotation, record: &Record) -> Result<RotationStart> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let mut tx = self.begin().await?;
        for pair in [rotation.old_pair, rotation.new_pair] {
            if !lock_pair(&mut tx, org, pair).await? {
                return Ok(RotationStart::Missing);
            }
        }
        if is_running_from(&mut tx, org, rotation.new_pair).await?
            || is_running_to(&mut tx, org, rotation.old_pair).await?
        {
            return Ok(RotationStart::Busy);
        }
        let resumed = sqlx::query(
            "UPDATE ssh_key_rotations SET state = 'running', ended_at_us = NULL \
             WHERE org_id = $1 AND id = $2 AND state = 'partial' AND new_pair_id = $3",
        )
        .bind(org.to_string())
        .bind(rotation.id.to_string())
        .bind(rotation.new_pair.to_string())
        .execute(&mut *tx)
        .await?;
        if resumed.rows_affected() == 0 {
            return Ok(RotationStart::Exists);
        }
        sqlx::query(
            "UPDATE ssh_key_rotation_servers SET state = CASE state WHEN 'failed' THEN 'waiting' ELSE 'switched' END, \
             code = '', detail = '', claims = 0, updated_at_us = $3 \
             WHERE org_id = $1 AND rotation_id = $2 AND state IN ('failed', 'lingering')",
        )
        .bind(org.to_string())
        .bind(rotation.id.to_string())
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        adopt(&mut tx, org, rotation.id, now_us).await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(RotationStart::Begun(rotation.id))
    }

    /// Ends a rotation without turns to come: the old pair goes where nothing depends on it, and stays otherwise. Servers
    /// that were given the old pair meanwhile get a turn first. `record` hears how it ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn conclude_key_rotation(
        &self,
        rotation: &Rotation,
        now_us: i64,
        record: impl FnOnce(&Tally, Conclusion) -> Record,
    ) -> Result<Conclusion> {
        let org = rotation.org_id;
        let mut tx = self.begin().await?;
        for pair in [rotation.old_pair, rotation.new_pair] {
            lock_pair(&mut tx, org, pair).await?;
        }
        let running = sqlx::query(
            "UPDATE ssh_key_rotations SET state = state WHERE org_id = $1 AND id = $2 AND state = 'running'",
        )
        .bind(org.to_string())
        .bind(rotation.id.to_string())
        .execute(&mut *tx)
        .await?;
        if running.rows_affected() == 0 {
            return Ok(Conclusion::GoesOn);
        }
        if adopt(&mut tx, org, rotation.id, now_us).await? > 0 {
            tx.commit().await?;
            return Ok(Conclusion::GoesOn);
        }
        let tally = tally(&mut tx, org, rotation.id).await?;
        let recorded = recorded_with(&mut tx, org, rotation.old_pair).await?;
        let ends = conclusion(&tally, recorded);
        let state = match ends {
            Conclusion::GoesOn => return Ok(Conclusion::GoesOn),
            Conclusion::Partial => RotationState::Partial,
            Conclusion::Done => {
                match remove_old(&mut tx, rotation).await {
                    Ok(()) => {}
                    // Somebody gave the old pair to a server just now: it gets its turn.
                    Err(StoreError::Dangling(_)) => return Ok(Conclusion::GoesOn),
                    Err(error) => return Err(error),
                }
                RotationState::Done
            }
        };
        sqlx::query("UPDATE ssh_key_rotations SET state = $3, ended_at_us = $4 WHERE org_id = $1 AND id = $2")
            .bind(org.to_string())
            .bind(rotation.id.to_string())
            .bind(state.as_str())
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        self.append_audit(&mut tx, &record(&tally, ends)).await?;
        tx.commit().await?;
        Ok(ends)
    }

    /// The rotation that replaces, or brought, the pair `pair`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn key_rotation(&self, org: OrgId, pair: SshKeyPairId) -> Result<Option<Rotation>> {
        let row = sqlx::query(select_rotation!(
            "WHERE r.org_id = $1 AND (r.old_pair_id = $2 OR r.new_pair_id = $2) \
             ORDER BY CASE WHEN r.old_pair_id = $2 THEN 0 ELSE 1 END, r.started_at_us DESC, r.id DESC LIMIT 1"
        ))
        .bind(org.to_string())
        .bind(pair.to_string())
        .fetch_optional(self.read())
        .await?;
        self.with_tally(row).await
    }

    /// Whether servers must not be given the pair `pair` just now, since it is being replaced.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_key_pair_rotating(&self, org: OrgId, pair: SshKeyPairId) -> Result<bool> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS found FROM ssh_key_rotations \
             WHERE org_id = $1 AND old_pair_id = $2 AND state = 'running'",
        )
        .bind(org.to_string())
        .bind(pair.to_string())
        .fetch_one(self.read())
        .await?;
        Ok(row.unsigned("found")? > 0)
    }

    /// Every organisation's rotations that run and have no turns to come.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn key_rotations_to_conclude(&self) -> Result<Vec<Rotation>> {
        let rows = sqlx::query(select_rotation!(
            "WHERE r.state = 'running' AND NOT EXISTS (SELECT 1 FROM ssh_key_rotation_servers s \
             WHERE s.rotation_id = r.id AND s.state IN ('waiting', 'switched'))"
        ))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| rotation(row, Tally::default())).collect()
    }

    /// A page of a rotation's servers, those that changed at or after `since_us`, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn key_rotation_servers(
        &self,
        org: OrgId,
        id: SshKeyRotationId,
        since_us: i64,
        (skip, limit): (u32, u32),
    ) -> Result<Vec<RotationServer>> {
        let rows = sqlx::query(
            "SELECT s.server_id, v.name, s.state, s.step, s.code, s.detail, s.updated_at_us \
             FROM ssh_key_rotation_servers s JOIN servers v ON v.id = s.server_id \
             WHERE s.org_id = $1 AND s.rotation_id = $2 AND s.updated_at_us >= $3 \
             ORDER BY s.server_id LIMIT $4 OFFSET $5",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(since_us)
        .bind(i64::from(limit))
        .bind(i64::from(skip))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(server).collect()
    }

    async fn with_tally(&self, row: Option<AnyRow>) -> Result<Option<Rotation>> {
        let Some(row) = row else { return Ok(None) };
        let counted = sqlx::query(TALLY)
            .bind(row.value::<&str>("org_id")?)
            .bind(row.value::<&str>("id")?)
            .fetch_all(self.read())
            .await?;
        Ok(Some(rotation(&row, tally_of(&counted)?)?))
    }
}

/// Whether the pair `id` must stay: a rotation from or to it runs, or one left servers behind that still let it in.
pub(super) async fn holds(tx: &mut Tx, org: OrgId, id: SshKeyPairId) -> Result<bool> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS found FROM ssh_key_rotations r WHERE r.org_id = $1 AND ((r.state = 'running' \
         AND (r.old_pair_id = $2 OR r.new_pair_id = $2)) OR (r.old_pair_id = $2 AND EXISTS (SELECT 1 \
         FROM ssh_key_rotation_servers s JOIN servers v ON v.id = s.server_id WHERE s.rotation_id = r.id \
         AND s.state = 'lingering' AND v.deleted_at_us IS NULL)))",
    )
    .bind(org.to_string())
    .bind(id.to_string())
    .fetch_one(&mut **tx)
    .await?;
    Ok(row.unsigned("found")? > 0)
}

/// Forgets rotations from or to the pair `id`, which is about to go; none of them runs.
pub(super) async fn forget(tx: &mut Tx, org: OrgId, id: SshKeyPairId) -> Result<()> {
    for statement in [
        "DELETE FROM ssh_key_rotation_servers WHERE org_id = $1 AND rotation_id IN (SELECT r.id \
         FROM ssh_key_rotations r WHERE r.org_id = $1 AND (r.old_pair_id = $2 OR r.new_pair_id = $2))",
        "DELETE FROM ssh_key_rotations WHERE org_id = $1 AND (old_pair_id = $2 OR new_pair_id = $2)",
    ] {
        sqlx::query(statement).bind(org.to_string()).bind(id.to_string()).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Gives a turn to every server that is recorded with the old pair and has none to come, unless its last one failed.
async fn adopt(tx: &mut Tx, org: OrgId, id: SshKeyRotationId, now_us: i64) -> Result<u64> {
    let done = sqlx::query(
        "INSERT INTO ssh_key_rotation_servers (rotation_id, server_id, org_id, state, code, detail, claims, \
         updated_at_us) SELECT r.id, s.id, s.org_id, 'waiting', '', '', 0, $3 FROM ssh_key_rotations r \
         JOIN servers s ON s.org_id = r.org_id AND s.ssh_key_pair_id = r.old_pair_id AND s.deleted_at_us IS NULL \
         WHERE r.org_id = $1 AND r.id = $2 \
         ON CONFLICT (rotation_id, server_id) DO UPDATE SET state = 'waiting', code = '', detail = '', \
         updated_at_us = $3 WHERE ssh_key_rotation_servers.state IN ('rotated', 'lingering', 'skipped')",
    )
    .bind(org.to_string())
    .bind(id.to_string())
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// Removes the old pair; rotations that once brought it now brought its successor.
async fn remove_old(tx: &mut Tx, rotation: &Rotation) -> Result<()> {
    let org = rotation.org_id.to_string();
    sqlx::query("UPDATE ssh_key_rotations SET new_pair_id = $3 WHERE org_id = $1 AND new_pair_id = $2")
        .bind(org.as_str())
        .bind(rotation.old_pair.to_string())
        .bind(rotation.new_pair.to_string())
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM ssh_key_pairs WHERE org_id = $1 AND id = $2")
        .bind(org.as_str())
        .bind(rotation.old_pair.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn is_running_to(tx: &mut Tx, org: OrgId, pair: SshKeyPairId) -> Result<bool> {
    is_found(tx, "WHERE org_id = $1 AND new_pair_id = $2 AND state = 'running'", org, pair).await
}

async fn is_running_from(tx: &mut Tx, org: OrgId, pair: SshKeyPairId) -> Result<bool> {
    is_found(tx, "WHERE org_id = $1 AND old_pair_id = $2 AND state = 'running'", org, pair).await
}

async fn is_rotated(tx: &mut Tx, org: OrgId, pair: SshKeyPairId) -> Result<bool> {
    is_found(tx, "WHERE org_id = $1 AND old_pair_id = $2", org, pair).await
}

async fn is_found(tx: &mut Tx, condition: &'static str, org: OrgId, pair: SshKeyPairId) -> Result<bool> {
    let sql = format!("SELECT COUNT(*) AS found FROM ssh_key_rotations {condition}");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(org.to_string()).bind(pair.to_string()).fetch_one(&mut **tx).await?;
    Ok(row.unsigned("found")? > 0)
}

/// Servers recorded with the pair, deleted ones included: their records can be recovered.
async fn recorded_with(tx: &mut Tx, org: OrgId, pair: SshKeyPairId) -> Result<u64> {
    let row = sqlx::query("SELECT COUNT(*) AS found FROM servers WHERE org_id = $1 AND ssh_key_pair_id = $2")
        .bind(org.to_string())
        .bind(pair.to_string())
        .fetch_one(&mut **tx)
        .await?;
    row.unsigned("found")
}

const TALLY: &str = "SELECT state, COUNT(*) AS found FROM ssh_key_rotation_servers \
                     WHERE org_id = $1 AND rotation_id = $2 GROUP BY state";

async fn tally(tx: &mut Tx, org: OrgId, id: SshKeyRotationId) -> Result<Tally> {
    let rows = sqlx::query(TALLY).bind(org.to_string()).bind(id.to_string()).fetch_all(&mut **tx).await?;
    tally_of(&rows)
}

fn tally_of(rows: &[AnyRow]) -> Result<Tally> {
    let mut tally = Tally::default();
    for row in rows {
        let counted = match row.word("state", ServerState::parse)? {
            ServerState::Waiting | ServerState::Switched => &mut tally.open,
            ServerState::Rotated => &mut tally.rotated,
            ServerState::Failed => &mut tally.failed,
            ServerState::Lingering => &mut tally.lingering,
            ServerState::Skipped => &mut tally.skipped,
        };
        *counted += row.unsigned("found")?;
    }
    Ok(tally)
}

fn rotation(row: &AnyRow, tally: Tally) -> Result<Rotation> {
    Ok(Rotation {
        id: row.parsed("id")?,
        org_id: row.parsed("org_id")?,
        old_pair: row.parsed("old_pair_id")?,
        new_pair: row.parsed("new_pair_id")?,
        name: row.value("name")?,
        state: row.word("state", RotationState::parse)?,
        started_at_us: row.value("started_at_us")?,
        ended_at_us: row.value("ended_at_us")?,
        tally,
        old_pair_kept: row.unsigned("kept")? > 0,
    })
}

fn server(row: &AnyRow) -> Result<RotationServer> {
    Ok(RotationServer {
        server: row.parsed::<ServerId>("server_id")?,
        name: row.value("name")?,
        state: row.word("state", ServerState::parse)?,
        step: row.value("step")?,
        code: row.value("code")?,
        detail: row.value("detail")?,
        updated_at_us: row.value("updated_at_us")?,
    })
}
