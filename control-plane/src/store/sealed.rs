//! Every column that holds sealed values, in one list, and what is the same for all of them: finding what a key sealed
//! and exchanging it. A column that is missing here would keep an old key from ever being retired safely, so a test
//! compares the list with the schema.

use muster_shared::seal::Place;
use sqlx::AssertSqlSafe;

use super::{Result, Store, rows::Columns as _};
use crate::keyring::CONTROL;

/// A column of sealed values, and where its rows say whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedColumn {
    pub table: &'static str,
    pub column: &'static str,
    /// The column that names a row within its organisation.
    row: &'static str,
    /// The column with the organisation; `None` for what belongs to the control plane itself.
    organization: Option<&'static str>,
    /// Whether rows are read, changed and written back whole: an exchange then counts as a change, so that nobody
    /// writes back what it replaced.
    has_revision: bool,
}

const fn of_server(column: &'static str) -> SealedColumn {
    SealedColumn { table: "servers", column, row: "id", organization: Some("org_id"), has_revision: true }
}

/// Every column of sealed values there is.
pub const SEALED_COLUMNS: &[SealedColumn] = &[
    SealedColumn { table: "control_secrets", column: "sealed", row: "name", organization: None, has_revision: false },
    of_server("ssh_password_sealed"),
    of_server("ssh_private_key_sealed"),
    of_server("ssh_key_passphrase_sealed"),
    SealedColumn { table: "users", column: "totp_secret_sealed", row: "id", organization: None, has_revision: false },
    SealedColumn {
        table: "idempotency_keys",
        column: "body_sealed",
        row: "idempotency_key",
        organization: Some("org_id"),
        has_revision: false,
    },
    SealedColumn {
        table: "ssh_key_pairs",
        column: "private_key_sealed",
        row: "id",
        organization: Some("org_id"),
        has_revision: false,
    },
];

/// A sealed value and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedValue {
    pub organization: String,
    pub row: String,
    pub sealed: Vec<u8>,
}

/// A value to exchange for the same one sealed anew.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub value: SealedValue,
    pub anew: Vec<u8>,
}

impl SealedColumn {
    /// The place that `value` of this column was sealed for.
    #[must_use]
    pub fn place<'a>(&self, value: &'a SealedValue) -> Place<'a> {
        Place { organization: &value.organization, table: self.table, row: &value.row, column: self.column }
    }

    fn organization_sql(&self) -> String {
        self.organization.map_or_else(|| format!("'{CONTROL}'"), str::to_owned)
    }

    /// A condition on what the value begins with, `$1`.
    fn begins(&self, is: &str, prefix: &[u8]) -> String {
        format!("{c} IS NOT NULL AND substr({c}, 1, {length}) {is} $1", c = self.column, length = prefix.len())
    }
}

impl Store {
    /// Whether anything in the database needs the key ring.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn holds_sealed_values(&self) -> Result<bool> {
        for column in SEALED_COLUMNS {
            let sql = format!("SELECT 1 AS found FROM {} WHERE {} IS NOT NULL LIMIT 1", column.table, column.column);
            if sqlx::query(AssertSqlSafe(sql)).fetch_optional(self.read()).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many values of `column`, of every organisation, begin with `prefix`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn count_sealed_with(&self, column: &SealedColumn, prefix: &[u8]) -> Result<u64> {
        self.count_sealed(column, "=", prefix).await
    }

    /// How many values of `column`, of every organisation, begin otherwise.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn count_sealed_without(&self, column: &SealedColumn, prefix: &[u8]) -> Result<u64> {
        self.count_sealed(column, "<>", prefix).await
    }

    async fn count_sealed(&self, column: &SealedColumn, is: &str, prefix: &[u8]) -> Result<u64> {
        let sql = format!("SELECT COUNT(*) AS sealed_count FROM {} WHERE {}", column.table, column.begins(is, prefix));
        let row = sqlx::query(AssertSqlSafe(sql)).bind(prefix).fetch_one(self.read()).await?;
        row.unsigned("sealed_count")
    }

    /// Values of `column` that don't begin with `prefix`, of every organisation, in order, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn sealed_values_without(
        &self,
        column: &SealedColumn,
        prefix: &[u8],
        after: Option<&SealedValue>,
        limit: u32,
    ) -> Result<Vec<SealedValue>> {
        let organization = column.organization_sql();
        let sql = format!(
            "SELECT {organization} AS organization, {row} AS row_name, {sealed} AS sealed FROM {table} \
             WHERE {begins} AND ({organization} > $2 OR ({organization} = $2 AND {row} > $3)) \
             ORDER BY 1, 2 LIMIT $4",
            row = column.row,
            sealed = column.column,
            table = column.table,
            begins = column.begins("<>", prefix),
        );
        let (organization, row) = after.map_or(("", ""), |value| (value.organization.as_str(), value.row.as_str()));
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(prefix)
            .bind(organization)
            .bind(row)
            .bind(i64::from(limit))
            .fetch_all(self.read())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(SealedValue {
                    organization: row.value("organization")?,
                    row: row.value("row_name")?,
                    sealed: row.value("sealed")?,
                })
            })
            .collect()
    }

    /// Exchanges each value that is still the one that was read, in one transaction, and answers how many were.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn exchange_sealed(&self, column: &SealedColumn, exchanges: &[Exchange]) -> Result<u64> {
        let sql = format!(
            "UPDATE {table} SET {sealed} = $1{revision} WHERE {organization} = $2 AND {row} = $3 AND {sealed} = $4",
            table = column.table,
            sealed = column.column,
            revision = if column.has_revision { ", revision = revision + 1" } else { "" },
            organization = column.organization_sql(),
            row = column.row,
        );
        let mut tx = self.begin().await?;
        let mut done = 0;
        for Exchange { value, anew } in exchanges {
            let one = sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(anew.as_slice())
                .bind(value.organization.as_str())
                .bind(value.row.as_str())
                .bind(value.sealed.as_slice())
                .execute(&mut *tx)
                .await?;
            done += one.rows_affected();
        }
        tx.commit().await?;
        Ok(done)
    }
}
