//! Users as OpenID providers know them, and the attempts to sign in that came back already.

use muster_shared::id::UserId;

use super::{
    Result, Store, Tx,
    users::{ACCOUNT, account},
};
use crate::{
    audit::Record,
    oidc::Identity,
    users::{Account, Email},
};

impl Store {
    /// Takes the attempt whose state has this hash; answers false where it was taken before. It is remembered until
    /// `ends_at_us`, when it is over by itself, and what is over at `now_us` is forgotten.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn use_oidc_attempt(&self, state_hash: &[u8], ends_at_us: i64, now_us: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM oidc_attempts WHERE ends_at_us <= $1").bind(now_us).execute(&mut *tx).await?;
        let done = sqlx::query(
            "INSERT INTO oidc_attempts (state_sha256, ends_at_us) VALUES ($1, $2) ON CONFLICT (state_sha256) DO NOTHING",
        )
        .bind(state_hash)
        .bind(ends_at_us)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// The user whom a provider knows so. Its word is the proof: no organisation is known before it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn account_of_identity(&self, identity: &Identity) -> Result<Option<Account>> {
        let query = sqlx::AssertSqlSafe(format!(
            "{ACCOUNT} AND u.id = (SELECT user_id FROM oidc_identities WHERE issuer = $1 AND subject = $2)"
        ));
        let row = sqlx::query(query)
            .bind(identity.issuer.as_str())
            .bind(identity.subject.as_str())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(account).transpose()
    }

    /// The user with this address, which a provider has proven.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn account_with_email(&self, email: &Email) -> Result<Option<Account>> {
        let query = sqlx::AssertSqlSafe(format!("{ACCOUNT} AND u.email = $1"));
        let row = sqlx::query(query).bind(email.to_string()).fetch_optional(self.read()).await?;
        row.as_ref().map(account).transpose()
    }

    /// From now on the provider's `identity` is `user`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) where it is another's, or the user has another one there.
    pub async fn link_identity(&self, user: UserId, identity: &Identity, at_us: i64, records: &[Record]) -> Result<()> {
        let mut tx = self.begin().await?;
        insert_identity(&mut tx, user, identity, at_us).await?;
        for record in records {
            self.append_audit(&mut tx, record).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

pub(super) async fn insert_identity(tx: &mut Tx, user: UserId, identity: &Identity, at_us: i64) -> Result<()> {
    sqlx::query("INSERT INTO oidc_identities (issuer, subject, user_id, created_at_us) VALUES ($1, $2, $3, $4)")
        .bind(identity.issuer.as_str())
        .bind(identity.subject.as_str())
        .bind(user.to_string())
        .bind(at_us)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn delete_identities(tx: &mut Tx, user: UserId) -> Result<()> {
    sqlx::query("DELETE FROM oidc_identities WHERE user_id = $1").bind(user.to_string()).execute(&mut **tx).await?;
    Ok(())
}
