//! API tokens. Only their hash is kept.

use muster_shared::id::{ApiTokenId, OrgId, UserId};
use sqlx::any::AnyRow;

use super::{Result, Store, rows::Columns as _};
use crate::{
    access::{Credential, Membership, Proof, Role, Scopes, TokenHash, USED_EVERY_US},
    api_tokens::{ApiToken, MAX_TOKENS},
    audit::Record,
};

impl Store {
    /// What a token proves, if it is still valid, and when it was used last. The hash is the proof: no organisation is
    /// known before it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn token_proof(&self, token_hash: &TokenHash, now_us: i64) -> Result<Option<(Proof, Option<i64>)>> {
        let row = sqlx::query(
            "SELECT t.id, t.org_id, t.user_id, t.scopes, t.expires_at_us, t.last_used_at_us, u.name AS user_name, \
             m.role FROM api_tokens t \
             JOIN memberships m ON m.org_id = t.org_id AND m.user_id = t.user_id JOIN users u ON u.id = t.user_id \
             WHERE t.token_sha256 = $1 AND t.revoked_at_us IS NULL \
             AND (t.expires_at_us IS NULL OR t.expires_at_us > $2)",
        )
        .bind(token_hash.as_bytes())
        .bind(now_us)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| {
            let membership = Membership { org_id: row.parsed("org_id")?, role: row.word("role", Role::parse)? };
            let proof = Proof {
                user_id: row.parsed("user_id")?,
                user_name: row.value::<&str>("user_name")?.into(),
                credential: Credential::Token(row.parsed("id")?),
                scopes: Scopes::of_kept(row.value("scopes")?),
                memberships: [membership].into(),
                chosen: None,
                must_change_password: false,
                expires_at_us: row.value("expires_at_us")?,
            };
            Ok((proof, row.value("last_used_at_us")?))
        })
        .transpose()
    }

    /// Keeps a token for `user`; answers false where the user has [`MAX_TOKENS`] for the organisation already.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn insert_api_token(
        &self,
        user: UserId,
        token: &ApiToken,
        hash: &TokenHash,
        record: &Record,
    ) -> Result<bool> {
        let org = record.act.org_id;
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO api_tokens (id, org_id, user_id, name, token_sha256, scopes, created_at_us, expires_at_us) \
             SELECT $1, m.org_id, m.user_id, $4, $5, $6, $7, $8 FROM memberships m \
             WHERE m.org_id = $2 AND m.user_id = $3 AND (SELECT COUNT(*) FROM api_tokens t \
             WHERE t.org_id = $2 AND t.user_id = $3 AND t.revoked_at_us IS NULL \
             AND (t.expires_at_us IS NULL OR t.expires_at_us > $7)) < $9",
        )
        .bind(token.id.to_string())
        .bind(org.to_string())
        .bind(user.to_string())
        .bind(token.name.as_str())
        .bind(hash.as_bytes())
        .bind(token.scopes.to_kept())
        .bind(token.created_at_us)
        .bind(token.expires_at_us)
        .bind(MAX_TOKENS)
        .execute(&mut *tx)
        .await?;
        self.commit_changed(tx, done.rows_affected() > 0, record).await
    }

    /// The tokens of `user` for the organisation that are not revoked, newest first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn list_api_tokens(&self, org: OrgId, user: UserId) -> Result<Vec<ApiToken>> {
        let rows = sqlx::query(
            "SELECT id, name, scopes, created_at_us, expires_at_us, last_used_at_us FROM api_tokens \
             WHERE org_id = $1 AND user_id = $2 AND revoked_at_us IS NULL \
             ORDER BY created_at_us DESC, id DESC LIMIT $3",
        )
        .bind(org.to_string())
        .bind(user.to_string())
        .bind(2 * MAX_TOKENS)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(api_token).collect()
    }

    /// Revokes a token of `user`; answers whether there was one to revoke.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn revoke_api_token(&self, user: UserId, id: ApiTokenId, record: Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query(
            "UPDATE api_tokens SET revoked_at_us = $4 WHERE org_id = $1 AND user_id = $2 AND id = $3 \
             AND revoked_at_us IS NULL RETURNING name",
        )
        .bind(record.act.org_id.to_string())
        .bind(user.to_string())
        .bind(id.to_string())
        .bind(record.act.at_us)
        .fetch_all(&mut *tx)
        .await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let mut record = record;
        record.resource.name = row.value("name")?;
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The token was used at `now_us`. Replicas that say so within the same minute write once.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn touch_api_token(&self, id: ApiTokenId, now_us: i64) -> Result<()> {
        sqlx::query("UPDATE api_tokens SET last_used_at_us = $2 WHERE id = $1 AND COALESCE(last_used_at_us, 0) <= $3")
            .bind(id.to_string())
            .bind(now_us)
            .bind(now_us.saturating_sub(USED_EVERY_US))
            .execute(self.write())
            .await?;
        Ok(())
    }
}

fn api_token(row: &AnyRow) -> Result<ApiToken> {
    Ok(ApiToken {
        id: row.parsed("id")?,
        name: row.parsed("name")?,
        scopes: Scopes::of_kept(row.value("scopes")?),
        created_at_us: row.value("created_at_us")?,
        expires_at_us: row.value("expires_at_us")?,
        last_used_at_us: row.value("last_used_at_us")?,
    })
}
