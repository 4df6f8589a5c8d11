//! SSH key pairs of organisations.

use muster_shared::id::{OrgId, SshKeyPairId};
use sqlx::any::AnyRow;

use super::{Result, Store, StoreError, Tx, rows::Columns as _, ssh_key_rotations};
use crate::{
    audit::Record,
    ssh_keys::{KeyType, SshKeyPair},
};

/// How deleting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    Deleted,
    /// Servers are entered with it.
    InUse,
    /// A rotation runs from or to it, or left servers behind that still let it in.
    Rotating,
    Missing,
}

macro_rules! select_pair {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.description, p.key_type, p.public_key, p.fingerprint, p.created_at_us, \
             p.updated_at_us, (SELECT COUNT(*) FROM servers s WHERE s.ssh_key_pair_id = p.id \
             AND s.deleted_at_us IS NULL) AS used_by, (SELECT COUNT(*) FROM ssh_key_rotations r \
             WHERE r.org_id = p.org_id AND (r.old_pair_id = p.id OR r.new_pair_id = p.id)) AS rotations FROM ssh_key_pairs p WHERE p.org_id = $1 ",
            $rest
        )
    };
}

impl Store {
    /// Keeps a key pair; answers false where the organisation has `limit` already.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken.
    pub async fn insert_ssh_key_pair(
        &self,
        pair: &SshKeyPair,
        private_key_sealed: &[u8],
        limit: u32,
        record: &Record,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        if !insert_pair(&mut tx, record.act.org_id, pair, private_key_sealed, limit).await? {
            return Ok(false);
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The key pair `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ssh_key_pair(&self, org: OrgId, id: SshKeyPairId) -> Result<Option<SshKeyPair>> {
        let row = sqlx::query(select_pair!("AND p.id = $2"))
            .bind(org.to_string())
            .bind(id.to_string())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(pair).transpose()
    }

    /// A page of key pairs, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_ssh_key_pairs(&self, org: OrgId, skip: u32, limit: u32) -> Result<Vec<SshKeyPair>> {
        let rows = sqlx::query(select_pair!("ORDER BY p.created_at_us, p.id LIMIT $2 OFFSET $3"))
            .bind(org.to_string())
            .bind(i64::from(limit))
            .bind(i64::from(skip))
            .fetch_all(self.read())
            .await?;
        rows.iter().map(pair).collect()
    }

    /// The sealed private part of the key pair `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ssh_private_key(&self, org: OrgId, id: SshKeyPairId) -> Result<Option<Vec<u8>>> {
        sqlx::query("SELECT private_key_sealed FROM ssh_key_pairs WHERE org_id = $1 AND id = $2")
            .bind(org.to_string())
            .bind(id.to_string())
            .fetch_optional(self.read())
            .await?
            .map(|row| row.value("private_key_sealed"))
            .transpose()
    }

    /// Gives a key pair the name and description of `after` where it still has those of `before`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken.
    pub async fn update_ssh_key_pair(&self, before: &SshKeyPair, after: &SshKeyPair, record: &Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE ssh_key_pairs SET name = $3, description = $4, updated_at_us = $5 \
             WHERE org_id = $1 AND id = $2 AND name = $6 AND description = $7",
        )
        .bind(record.act.org_id.to_string())
        .bind(after.id.to_string())
        .bind(after.name.as_str())
        .bind(after.description.as_str())
        .bind(record.act.at_us)
        .bind(before.name.as_str())
        .bind(before.description.as_str())
        .execute(&mut *tx)
        .await?;
        self.commit_changed(tx, done.rows_affected() > 0, record).await
    }

    /// Deletes a key pair that no server is entered with. Servers that were deleted before forget it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_ssh_key_pair(&self, id: SshKeyPairId, record: &Record) -> Result<Deletion> {
        let mut tx = self.begin().await?;
        if !lock_pair(&mut tx, record.act.org_id, id).await? {
            return Ok(Deletion::Missing);
        }
        if ssh_key_rotations::holds(&mut tx, record.act.org_id, id).await? {
            return Ok(Deletion::Rotating);
        }
        ssh_key_rotations::forget(&mut tx, record.act.org_id, id).await?;
        let (org, id) = (record.act.org_id.to_string(), id.to_string());
        sqlx::query(
            "UPDATE servers SET ssh_key_pair_id = NULL, revision = revision + 1 \
             WHERE org_id = $1 AND ssh_key_pair_id = $2 AND deleted_at_us IS NOT NULL",
        )
        .bind(org.as_str())
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
        let done = sqlx::query("DELETE FROM ssh_key_pairs WHERE org_id = $1 AND id = $2")
            .bind(org.as_str())
            .bind(id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::from);
        match done {
            Ok(done) if done.rows_affected() == 0 => return Ok(Deletion::Missing),
            Ok(_) => {}
            // The reference itself decides, so that no server can slip in between looking and deleting.
            Err(StoreError::Dangling(_)) => return Ok(Deletion::InUse),
            Err(error) => return Err(error),
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(Deletion::Deleted)
    }
}

/// Makes whoever decides about the key pair `id` wait for whoever does so already; answers false where it is not there.
pub(super) async fn lock_pair(tx: &mut Tx, org: OrgId, id: SshKeyPairId) -> Result<bool> {
    let done = sqlx::query("UPDATE ssh_key_pairs SET updated_at_us = updated_at_us WHERE org_id = $1 AND id = $2")
        .bind(org.to_string())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Inserts a key pair; answers false where the organisation has `limit` already.
pub(super) async fn insert_pair(
    tx: &mut Tx,
    org: OrgId,
    pair: &SshKeyPair,
    private_key_sealed: &[u8],
    limit: u32,
) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO ssh_key_pairs (id, org_id, name, description, key_type, public_key, fingerprint, \
         private_key_sealed, created_at_us, updated_at_us) SELECT $1, o.id, $3, $4, $5, $6, $7, $8, $9, $9 \
         FROM organizations o WHERE o.id = $2 \
         AND (SELECT COUNT(*) FROM ssh_key_pairs p WHERE p.org_id = $2) < $10",
    )
    .bind(pair.id.to_string())
    .bind(org.to_string())
    .bind(pair.name.as_str())
    .bind(pair.description.as_str())
    .bind(pair.key_type.as_str())
    .bind(pair.public_key.as_str())
    .bind(pair.fingerprint.as_str())
    .bind(private_key_sealed)
    .bind(pair.created_at_us)
    .bind(i64::from(limit))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The key pair `id`, as it is within the transaction.
pub(super) async fn pair_in(tx: &mut Tx, org: OrgId, id: SshKeyPairId) -> Result<Option<SshKeyPair>> {
    let row = sqlx::query(select_pair!("AND p.id = $2"))
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(pair).transpose()
}

fn pair(row: &AnyRow) -> Result<SshKeyPair> {
    Ok(SshKeyPair {
        id: row.parsed("id")?,
        name: row.parsed("name")?,
        description: row.parsed("description")?,
        key_type: row.word("key_type", KeyType::parse)?,
        public_key: row.value("public_key")?,
        fingerprint: row.value("fingerprint")?,
        used_by: row.unsigned("used_by")?,
        has_rotation: row.unsigned("rotations")? > 0,
        created_at_us: row.value("created_at_us")?,
        updated_at_us: row.value("updated_at_us")?,
    })
}
