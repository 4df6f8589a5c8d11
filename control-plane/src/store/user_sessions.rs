//! Browsers' sessions. Only the hash of what the browser holds is kept; a session that ended is gone.

use std::sync::Arc;

use muster_shared::id::{OrgId, UserId, UserSessionId};
use sqlx::any::AnyRow;

use super::{Result, Store, members::MAX_MEMBERSHIPS, rows::Columns as _};
use crate::{
    access::{Credential, Membership, Proof, Role, Scopes, TokenHash, USED_EVERY_US},
    audit::Record,
    user_sessions::{MAX_SESSIONS, UserSession},
};

impl Store {
    /// What a session proves, if it is not over, and when it was used last. The hash is the proof: no organisation is
    /// known before it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn session_proof(
        &self,
        hash: &TokenHash,
        now_us: i64,
        idle_since_us: i64,
    ) -> Result<Option<(Proof, Option<i64>)>> {
        let rows = sqlx::query(
            "SELECT s.id, s.user_id, s.org_id AS chosen, s.last_used_at_us, s.expires_at_us, u.name AS user_name, \
             u.must_change_password, m.org_id, m.role FROM user_sessions s JOIN users u ON u.id = s.user_id \
             JOIN memberships m ON m.user_id = s.user_id WHERE s.token_sha256 = $1 AND s.expires_at_us > $2 \
             AND s.last_used_at_us > $3 AND u.deleted_at_us IS NULL ORDER BY m.created_at_us, m.org_id LIMIT $4",
        )
        .bind(hash.as_bytes())
        .bind(now_us)
        .bind(idle_since_us)
        .bind(MAX_MEMBERSHIPS)
        .fetch_all(self.read())
        .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let membership =
            |row: &AnyRow| Ok(Membership { org_id: row.parsed("org_id")?, role: row.word("role", Role::parse)? });
        let proof = Proof {
            user_id: row.parsed("user_id")?,
            user_name: row.value::<&str>("user_name")?.into(),
            credential: Credential::Session(row.parsed("id")?),
            scopes: Scopes::All,
            memberships: rows.iter().map(membership).collect::<Result<Arc<[_]>>>()?,
            chosen: row.parsed_if_any("chosen")?,
            must_change_password: row.value::<i64>("must_change_password")? != 0,
            expires_at_us: Some(row.value("expires_at_us")?),
        };
        Ok(Some((proof, Some(row.value("last_used_at_us")?))))
    }

    /// Keeps a new session of `user`, and takes the oldest beyond [`MAX_SESSIONS`] and those that expired away.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn insert_user_session(
        &self,
        user: UserId,
        session: &UserSession,
        hash: &TokenHash,
        records: &[Record],
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO user_sessions (id, user_id, token_sha256, created_at_us, last_used_at_us, expires_at_us, \
             source_address, user_agent) VALUES ($1, $2, $3, $4, $4, $5, $6, $7)",
        )
        .bind(session.id.to_string())
        .bind(user.to_string())
        .bind(hash.as_bytes())
        .bind(session.created_at_us)
        .bind(session.expires_at_us)
        .bind(session.source_address.as_str())
        .bind(session.user_agent.as_str())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM user_sessions WHERE user_id = $1 AND (expires_at_us <= $2 OR id NOT IN \
             (SELECT id FROM user_sessions WHERE user_id = $1 ORDER BY created_at_us DESC, id DESC LIMIT $3))",
        )
        .bind(user.to_string())
        .bind(session.created_at_us)
        .bind(MAX_SESSIONS)
        .execute(&mut *tx)
        .await?;
        for record in records {
            self.append_audit(&mut tx, record).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The sessions of `user` that are not over, newest first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn list_user_sessions(&self, user: UserId, now_us: i64, idle_since_us: i64) -> Result<Vec<UserSession>> {
        let rows = sqlx::query(
            "SELECT * FROM user_sessions WHERE user_id = $1 AND expires_at_us > $2 AND last_used_at_us > $3 \
             ORDER BY created_at_us DESC, id DESC LIMIT $4",
        )
        .bind(user.to_string())
        .bind(now_us)
        .bind(idle_since_us)
        .bind(MAX_SESSIONS)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(user_session).collect()
    }

    /// Ends a session of `user`; answers whether there was one.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn end_user_session(&self, user: UserId, id: UserSessionId, record: &Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM user_sessions WHERE user_id = $1 AND id = $2")
            .bind(user.to_string())
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        self.commit_changed(tx, done.rows_affected() > 0, record).await
    }

    /// Remembers where the user chose to act in this session.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn choose_organization(&self, user: UserId, id: UserSessionId, org: OrgId) -> Result<()> {
        sqlx::query("UPDATE user_sessions SET org_id = $3 WHERE user_id = $1 AND id = $2")
            .bind(user.to_string())
            .bind(id.to_string())
            .bind(org.to_string())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The session was used at `now_us`. Replicas that say so within the same minute write once.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn touch_user_session(&self, id: UserSessionId, now_us: i64) -> Result<()> {
        sqlx::query("UPDATE user_sessions SET last_used_at_us = $2 WHERE id = $1 AND last_used_at_us <= $3")
            .bind(id.to_string())
            .bind(now_us)
            .bind(now_us.saturating_sub(USED_EVERY_US))
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The organisations `user` is a member of, the oldest membership first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn memberships_of(&self, user: UserId) -> Result<Vec<Membership>> {
        let rows = sqlx::query(
            "SELECT org_id, role FROM memberships WHERE user_id = $1 ORDER BY created_at_us, org_id LIMIT $2",
        )
        .bind(user.to_string())
        .bind(MAX_MEMBERSHIPS)
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| Ok(Membership { org_id: row.parsed("org_id")?, role: row.word("role", Role::parse)? }))
            .collect()
    }
}

fn user_session(row: &AnyRow) -> Result<UserSession> {
    Ok(UserSession {
        id: row.parsed("id")?,
        created_at_us: row.value("created_at_us")?,
        last_used_at_us: row.value("last_used_at_us")?,
        expires_at_us: row.value("expires_at_us")?,
        source_address: row.value("source_address")?,
        user_agent: row.value("user_agent")?,
    })
}
