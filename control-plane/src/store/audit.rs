//! The audit record's rows. Appending is the last step of the transaction that makes the change: taking the chain's
//! end is what makes two of them wait for each other, so it is held for as short as can be.

use muster_shared::id::{OrgId, ServerId};
use sqlx::any::AnyRow;

use super::{Result, Store, StoreError, Tx, rows::Columns as _};
use crate::audit::{AuditSigner, Entry, GENESIS, Hash, Head, Record};

/// Entries read at once when a whole chain is walked.
const CHAIN_PAGE: i64 = 1000;

/// Which entries to list, newest first. `None` means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    pub action: Option<String>,
    pub actor_id: Option<String>,
    /// Entries about the server and about the commands that it carries out or is the target of.
    pub server: Option<ServerId>,
    pub from_us: Option<i64>,
    /// Exclusive.
    pub to_us: Option<i64>,
    pub skip: u32,
    pub limit: u32,
}

/// A query for a page of entries, with one more condition.
macro_rules! select_audit {
    ($condition:literal) => {
        concat!(
            "SELECT * FROM audit_entries WHERE org_id = $1 AND ($2 IS NULL OR resource_type = $2) \
             AND ($3 IS NULL OR resource_id = $3) AND ($4 IS NULL OR action = $4) AND ($5 IS NULL OR actor_id = $5) \
             AND at_us >= $6 AND at_us < $7 ",
            $condition,
            "ORDER BY seq DESC LIMIT $8 OFFSET $9"
        )
    };
}

impl Store {
    /// A page of the organisation's entries, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_audit(&self, org: OrgId, filter: &AuditFilter) -> Result<Vec<Entry>> {
        // Two texts, so that each finds its index: a server's entries are looked up by the server and its commands.
        let query = match filter.server {
            Some(_) => sqlx::query(select_audit!(
                "AND seq IN (SELECT a.seq FROM audit_entries a WHERE a.org_id = $1 AND a.resource_type = 'server' \
                 AND a.resource_id = $10 \
                 UNION ALL SELECT a.seq FROM commands c JOIN audit_entries a ON a.org_id = $1 \
                 AND a.resource_type = 'command' AND a.resource_id = c.id WHERE c.org_id = $1 AND c.server_id = $10 \
                 UNION ALL SELECT a.seq FROM commands c JOIN audit_entries a ON a.org_id = $1 \
                 AND a.resource_type = 'command' AND a.resource_id = c.id WHERE c.org_id = $1 \
                 AND c.target_server_id = $10) "
            )),
            None => sqlx::query(select_audit!("")),
        };
        let query = query
            .bind(org.to_string())
            .bind(filter.resource_type.clone())
            .bind(filter.resource_id.clone())
            .bind(filter.action.clone())
            .bind(filter.actor_id.clone())
            .bind(filter.from_us.unwrap_or(i64::MIN))
            .bind(filter.to_us.unwrap_or(i64::MAX))
            .bind(i64::from(filter.limit))
            .bind(i64::from(filter.skip));
        let query = match filter.server {
            Some(server) => query.bind(server.to_string()),
            None => query,
        };
        query.fetch_all(self.read()).await?.iter().map(entry).collect()
    }

    /// The next entries of the organisation's chain after the number `after_seq`, in order; none at its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_chain(&self, org: OrgId, after_seq: u64) -> Result<Vec<Entry>> {
        let rows = sqlx::query("SELECT * FROM audit_entries WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(org.to_string())
            .bind(i64::try_from(after_seq).unwrap_or(i64::MAX))
            .bind(CHAIN_PAGE)
            .fetch_all(self.read())
            .await?;
        rows.iter().map(entry).collect()
    }

    /// The end of the organisation's chain and the signature under it; `None` before the first entry.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_head(&self, org: OrgId) -> Result<Option<(Head, Vec<u8>)>> {
        let row = sqlx::query("SELECT seq, hash, signature FROM audit_heads WHERE org_id = $1")
            .bind(org.to_string())
            .fetch_optional(self.read())
            .await?;
        row.map(|row| {
            let head = Head { org_id: org, seq: row.unsigned("seq")?, hash: hash(&row, "hash")? };
            Ok((head, row.value("signature")?))
        })
        .transpose()
    }

    /// Puts `record` on record by itself, where what it tells of is no row of the database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_audit(&self, record: &Record) -> Result<()> {
        let mut tx = self.begin().await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends a transaction that changes something or nothing: what `changed` goes on record and is committed, and nothing
    /// else. Answers whether it did.
    pub(super) async fn commit_changed(&self, mut tx: Tx, changed: bool, record: &Record) -> Result<bool> {
        if changed {
            self.append_audit(&mut tx, record).await?;
            tx.commit().await?;
        }
        Ok(changed)
    }

    /// Appends `record` to its organisation's chain, as the last step before the commit.
    pub(super) async fn append_audit(&self, tx: &mut Tx, record: &Record) -> Result<()> {
        append(tx, self.audit_signer()?, record).await
    }
}

async fn append(tx: &mut Tx, signer: &AuditSigner, record: &Record) -> Result<()> {
    let org = record.act.org_id.to_string();
    sqlx::query("INSERT INTO audit_heads (org_id, seq, hash, signature) VALUES ($1, 0, $2, $2) ON CONFLICT DO NOTHING")
        .bind(org.as_str())
        .bind(GENESIS.as_slice())
        .execute(&mut **tx)
        .await?;
    let rows = sqlx::query("UPDATE audit_heads SET seq = seq + 1 WHERE org_id = $1 RETURNING seq, hash")
        .bind(org.as_str())
        .fetch_all(&mut **tx)
        .await?;
    let row = rows.first().ok_or(StoreError::Unreadable { column: "seq" })?;
    let entry = Entry::following(record, row.unsigned("seq")?, hash(row, "hash")?);
    insert(tx, &entry).await?;
    let head = entry.head();
    sqlx::query("UPDATE audit_heads SET hash = $2, signature = $3 WHERE org_id = $1")
        .bind(org.as_str())
        .bind(head.hash.as_slice())
        .bind(signer.sign(&head))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn insert(tx: &mut Tx, entry: &Entry) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit_entries (org_id, seq, at_us, actor_kind, actor_id, actor_name, credential, \
         source_address, request_id, action, resource_type, resource_id, resource_name, before_json, after_json, \
         previous_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(entry.org_id.to_string())
    .bind(i64::try_from(entry.seq).unwrap_or(i64::MAX))
    .bind(entry.at_us)
    .bind(entry.actor_kind.as_str())
    .bind(entry.actor_id.as_str())
    .bind(entry.actor_name.as_str())
    .bind(entry.credential.as_str())
    .bind(entry.source_address.as_str())
    .bind(entry.request_id.as_str())
    .bind(entry.action.as_str())
    .bind(entry.resource_type.as_str())
    .bind(entry.resource_id.as_str())
    .bind(entry.resource_name.as_str())
    .bind(entry.before.as_str())
    .bind(entry.after.as_str())
    .bind(entry.previous_hash.as_slice())
    .bind(entry.hash.as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn hash(row: &AnyRow, column: &'static str) -> Result<Hash> {
    row.value::<&[u8]>(column)?.try_into().map_err(|_| StoreError::Unreadable { column })
}

fn entry(row: &AnyRow) -> Result<Entry> {
    Ok(Entry {
        org_id: row.parsed("org_id")?,
        seq: row.unsigned("seq")?,
        at_us: row.value("at_us")?,
        actor_kind: row.value("actor_kind")?,
        actor_id: row.value("actor_id")?,
        actor_name: row.value("actor_name")?,
        credential: row.value("credential")?,
        source_address: row.value("source_address")?,
        request_id: row.value("request_id")?,
        action: row.value("action")?,
        resource_type: row.value("resource_type")?,
        resource_id: row.value("resource_id")?,
        resource_name: row.value("resource_name")?,
        before: row.value("before_json")?,
        after: row.value("after_json")?,
        previous_hash: hash(row, "previous_hash")?,
        hash: hash(row, "hash")?,
    })
}
