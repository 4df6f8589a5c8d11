//! Users. They stand above organisations, so whatever an organisation does to one of them asks for the membership too.

use muster_shared::id::{OrgId, UserId};
use serde_json::json;
use sqlx::any::AnyRow;

use super::{
    Result, Store, Tx,
    members::{insert_membership, take_member},
    oidc::{delete_identities, insert_identity},
    rows::Columns as _,
};
use crate::{
    access::Role,
    audit::Record,
    users::{Account, Email, NewUser, PasswordHash, UserChange, UserPatch},
};

/// Every account there is; conditions go on with `AND`.
pub(super) const ACCOUNT: &str = "SELECT u.id, u.name, u.email, u.password_hash, u.must_change_password, \
                                  u.totp_secret_sealed, u.totp_confirmed_at_us FROM users u \
                                  WHERE u.deleted_at_us IS NULL";

impl Store {
    /// The user `id` as they sign in.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn account(&self, id: UserId) -> Result<Option<Account>> {
        let query = sqlx::AssertSqlSafe(format!("{ACCOUNT} AND u.id = $1"));
        let row = sqlx::query(query).bind(id.to_string()).fetch_optional(self.read()).await?;
        row.as_ref().map(account).transpose()
    }

    /// The user called `name`, which is only about to be proven.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn account_named(&self, name: &str) -> Result<Option<Account>> {
        let query = sqlx::AssertSqlSafe(format!("{ACCOUNT} AND u.name = $1"));
        let row = sqlx::query(query).bind(name).fetch_optional(self.read()).await?;
        row.as_ref().map(account).transpose()
    }

    /// Makes a user who is a member of the organisation.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) where the name or e-mail address is somebody's.
    pub async fn insert_user(&self, user: &NewUser, record: &Record) -> Result<()> {
        let act = &record.act;
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO users (id, name, email, password_hash, must_change_password, created_at_us) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(user.id.to_string())
        .bind(user.name.as_str())
        .bind(user.email.as_ref().map(Email::to_string))
        .bind(user.password.as_ref().map(|password| password.as_str().to_owned()))
        .bind(i64::from(user.must_change_password))
        .bind(act.at_us)
        .execute(&mut *tx)
        .await?;
        insert_membership(&mut tx, act.org_id, user.id, user.role, act.at_us).await?;
        if let Some(identity) = &user.identity {
            insert_identity(&mut tx, user.id, identity, act.at_us).await?;
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Changes a user who is a member of this organisation and of no other, as `by` may.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) where the name or e-mail address is somebody's.
    pub async fn update_user(&self, id: UserId, patch: &UserPatch, by: Role, record: Record) -> Result<UserChange> {
        let org = record.act.org_id;
        let mut tx = self.begin().await?;
        let Some((was_name, role)) = take_member(&mut tx, org, id).await? else { return Ok(UserChange::NotThere) };
        if by != Role::Owner && role == Role::Owner {
            return Ok(UserChange::OwnersOnly);
        }
        if is_elsewhere(&mut tx, org, id).await? {
            return Ok(UserChange::Elsewhere);
        }
        let query = sqlx::AssertSqlSafe(format!("{ACCOUNT} AND u.id = $1"));
        let row = sqlx::query(query).bind(id.to_string()).fetch_one(&mut *tx).await?;
        let was = account(&row)?;
        let name = patch.name.as_ref().map_or(was_name.as_str(), |name| name.as_str());
        let email =
            patch.email.as_ref().map_or_else(|| was.email.clone(), |email| email.as_ref().map(Email::to_string));
        sqlx::query("UPDATE users SET name = $2, email = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(name)
            .bind(email.as_deref())
            .execute(&mut *tx)
            .await?;
        if let Some(password) = &patch.password {
            write_password(&mut tx, id, password, true).await?;
            end_sessions(&mut tx, id).await?;
        }
        let password = |is_new: bool| if is_new { "changed" } else { "kept" };
        let mut record = record.change(
            &json!({ "name": was_name, "email": was.email, "password": "kept" }),
            &json!({ "name": name, "email": email, "password": password(patch.password.is_some()) }),
        );
        record.resource.name = was_name;
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(UserChange::Done)
    }

    /// Gives a user the password they chose, if the one kept is still `was`; every session but the one named ends.
    /// Answers whether it was.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn change_password(
        &self,
        id: UserId,
        was: Option<&PasswordHash>,
        password: &PasswordHash,
        keep_session: Option<&str>,
        record: &Record,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE users SET password_hash = $2, must_change_password = 0 WHERE id = $1 AND deleted_at_us IS NULL \
             AND COALESCE(password_hash, '') = $3",
        )
        .bind(id.to_string())
        .bind(password.as_str())
        .bind(was.map(PasswordHash::as_str).unwrap_or_default())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM user_sessions WHERE user_id = $1 AND id <> $2")
            .bind(id.to_string())
            .bind(keep_session.unwrap_or_default())
            .execute(&mut *tx)
            .await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(true)
    }
}

pub(super) async fn is_elsewhere(tx: &mut Tx, org: OrgId, user: UserId) -> Result<bool> {
    let row = sqlx::query("SELECT org_id FROM memberships WHERE user_id = $1 AND org_id <> $2 LIMIT 1")
        .bind(user.to_string())
        .bind(org.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.is_some())
}

async fn write_password(tx: &mut Tx, user: UserId, password: &PasswordHash, must_change: bool) -> Result<()> {
    sqlx::query("UPDATE users SET password_hash = $2, must_change_password = $3 WHERE id = $1")
        .bind(user.to_string())
        .bind(password.as_str())
        .bind(i64::from(must_change))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn end_sessions(tx: &mut Tx, user: UserId) -> Result<()> {
    sqlx::query("DELETE FROM user_sessions WHERE user_id = $1").bind(user.to_string()).execute(&mut **tx).await?;
    Ok(())
}

/// Ends a user. The row stays, since commands and records name it; the name and everything to sign in with go.
pub(super) async fn delete_user(tx: &mut Tx, user: UserId, at_us: i64) -> Result<()> {
    end_sessions(tx, user).await?;
    delete_identities(tx, user).await?;
    sqlx::query("DELETE FROM totp_recovery_codes WHERE user_id = $1").bind(user.to_string()).execute(&mut **tx).await?;
    sqlx::query(
        "UPDATE users SET name = name || ' ' || id, email = NULL, password_hash = NULL, totp_secret_sealed = NULL, \
         totp_confirmed_at_us = NULL, totp_last_step = NULL, deleted_at_us = $2 WHERE id = $1",
    )
    .bind(user.to_string())
    .bind(at_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) fn account(row: &AnyRow) -> Result<Account> {
    Ok(Account {
        id: row.parsed("id")?,
        name: row.value::<&str>("name")?.into(),
        email: row.value("email")?,
        password: row.parsed_if_any("password_hash")?,
        must_change_password: row.value::<i64>("must_change_password")? != 0,
        totp_secret_sealed: row.value("totp_secret_sealed")?,
        has_totp: row.value::<Option<i64>>("totp_confirmed_at_us")?.is_some(),
    })
}
