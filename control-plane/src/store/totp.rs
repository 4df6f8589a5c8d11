//! Second factors: their sealed secrets, the last step used, and recovery codes. Whatever is good once is used up by a
//! conditional update.

use muster_shared::id::UserId;

use super::{
    Result, Store, Tx,
    members::take_member,
    users::{end_sessions, is_elsewhere},
};
use crate::{access::Role, audit::Record, users::UserChange};

impl Store {
    /// Keeps the secret of a factor that is being set up; answers false where one is on.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn begin_totp(&self, user: UserId, sealed: &[u8]) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE users SET totp_secret_sealed = $2, totp_last_step = NULL WHERE id = $1 \
             AND totp_confirmed_at_us IS NULL AND deleted_at_us IS NULL",
        )
        .bind(user.to_string())
        .bind(sealed)
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Turns the factor on whose secret is `sealed`, with `step` as the first one used; answers false where the secret is
    /// another by now.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn confirm_totp(
        &self,
        user: UserId,
        sealed: &[u8],
        step: i64,
        recovery_hashes: &[Vec<u8>],
        record: &Record,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE users SET totp_confirmed_at_us = $3, totp_last_step = $4 WHERE id = $1 \
             AND totp_secret_sealed = $2 AND totp_confirmed_at_us IS NULL",
        )
        .bind(user.to_string())
        .bind(sealed)
        .bind(record.act.at_us)
        .bind(step)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for hash in recovery_hashes {
            sqlx::query("INSERT INTO totp_recovery_codes (user_id, code_sha256) VALUES ($1, $2)")
                .bind(user.to_string())
                .bind(hash.as_slice())
                .execute(&mut *tx)
                .await?;
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Turns the factor off and forgets it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn disable_totp(&self, user: UserId, record: &Record) -> Result<()> {
        let mut tx = self.begin().await?;
        forget_totp(&mut tx, user).await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the factor of a user who lost it away, as `by` may: of a member of this organisation and of no other. Their
    /// sessions end.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn reset_totp(&self, user: UserId, by: Role, mut record: Record) -> Result<UserChange> {
        let org = record.act.org_id;
        let mut tx = self.begin().await?;
        let Some((name, role)) = take_member(&mut tx, org, user).await? else { return Ok(UserChange::NotThere) };
        if by != Role::Owner && role == Role::Owner {
            return Ok(UserChange::OwnersOnly);
        }
        if is_elsewhere(&mut tx, org, user).await? {
            return Ok(UserChange::Elsewhere);
        }
        forget_totp(&mut tx, user).await?;
        end_sessions(&mut tx, user).await?;
        record.resource.name = name;
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(UserChange::Done)
    }

    /// Uses up a step of the user's factor and all before it; answers false where it was used.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn use_totp_step(&self, user: UserId, step: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE users SET totp_last_step = $2 WHERE id = $1 AND totp_confirmed_at_us IS NOT NULL \
             AND COALESCE(totp_last_step, 0) < $2",
        )
        .bind(user.to_string())
        .bind(step)
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Uses up a recovery code; answers false where there is none such, or it was used.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn use_recovery_code(&self, user: UserId, hash: &[u8], now_us: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE totp_recovery_codes SET used_at_us = $3 WHERE user_id = $1 AND code_sha256 = $2 \
             AND used_at_us IS NULL",
        )
        .bind(user.to_string())
        .bind(hash)
        .bind(now_us)
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

async fn forget_totp(tx: &mut Tx, user: UserId) -> Result<()> {
    for statement in [
        "UPDATE users SET totp_secret_sealed = NULL, totp_confirmed_at_us = NULL, totp_last_step = NULL WHERE id = $1",
        "DELETE FROM totp_recovery_codes WHERE user_id = $1",
    ] {
        sqlx::query(statement).bind(user.to_string()).execute(&mut **tx).await?;
    }
    Ok(())
}
