//! The control plane's own sealed secrets: its certificate authority's key, the key that signs commands.

use super::{Result, Store, rows::Columns as _};

impl Store {
    /// The sealed secret `name`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn control_secret(&self, name: &str) -> Result<Option<Vec<u8>>> {
        sqlx::query("SELECT sealed FROM control_secrets WHERE name = $1")
            .bind(name)
            .fetch_optional(self.read())
            .await?
            .map(|row| row.value("sealed"))
            .transpose()
    }

    /// Keeps `sealed` as `name` unless there is one, and answers the one kept.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn keep_control_secret(&self, name: &str, sealed: &[u8], now_us: i64) -> Result<Vec<u8>> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO control_secrets (name, sealed, created_at_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(sealed)
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        let row =
            sqlx::query("SELECT sealed FROM control_secrets WHERE name = $1").bind(name).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        row.value("sealed")
    }
}
