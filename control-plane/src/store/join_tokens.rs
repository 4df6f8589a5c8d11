//! Join tokens: each lets one host become one server. Only a token's hash is kept.

use muster_shared::{
    id::{JoinTokenId, OrgId, ServerId, UserId},
    policy::Family,
};
use sqlx::any::AnyRow;

use super::{Result, Store, rows::Columns as _, servers::families};
use crate::{access::TokenHash, audit::Record, servers::ServerName};

/// A join token to be kept.
#[derive(Debug)]
pub struct NewJoinToken {
    pub id: JoinTokenId,
    pub hash: TokenHash,
    /// The server the host becomes; a new one otherwise.
    pub for_server: Option<ServerId>,
    /// The new server's name; the host's own name otherwise.
    pub server_name: Option<ServerName>,
    pub allowed_families: Vec<Family>,
    pub created_by: UserId,
    pub expires_at_us: i64,
}

/// A join token as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub id: JoinTokenId,
    pub for_server: Option<ServerId>,
    pub server_name: Option<ServerName>,
    pub allowed_families: Vec<Family>,
    pub created_by: UserId,
    pub created_at_us: i64,
    pub expires_at_us: i64,
    pub used_at_us: Option<i64>,
    /// The server that the host became.
    pub used_by: Option<ServerId>,
    pub revoked_at_us: Option<i64>,
}

/// Where a join token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinTokenStatus {
    Pending,
    Used,
    Expired,
    Revoked,
}

impl JoinTokenStatus {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl JoinToken {
    /// Where it stands at `now_us`.
    #[must_use]
    pub fn status(&self, now_us: i64) -> JoinTokenStatus {
        if self.used_at_us.is_some() {
            JoinTokenStatus::Used
        } else if self.revoked_at_us.is_some() {
            JoinTokenStatus::Revoked
        } else if self.expires_at_us <= now_us {
            JoinTokenStatus::Expired
        } else {
            JoinTokenStatus::Pending
        }
    }
}

/// Join tokens in a list; older ones are not shown.
const MAX_LISTED: i64 = 1000;

impl Store {
    /// Keeps a join token; answers false when the server it is for is not the organisation's.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn insert_join_token(&self, token: &NewJoinToken, record: &Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        let families = token.allowed_families.iter().map(|family| family.as_str()).collect::<Vec<_>>().join(",");
        let done = sqlx::query(
            "INSERT INTO join_tokens (id, org_id, token_sha256, for_server_id, server_name, allowed_families, \
             created_by, created_at_us, expires_at_us) SELECT $1, o.id, $3, $4, $5, $6, $7, $8, $9 \
             FROM organizations o WHERE o.id = $2 AND ($4 IS NULL OR EXISTS (SELECT 1 FROM servers s \
             WHERE s.id = $4 AND s.org_id = $2 AND s.deleted_at_us IS NULL))",
        )
        .bind(token.id.to_string())
        .bind(record.act.org_id.to_string())
        .bind(token.hash.as_bytes())
        .bind(token.for_server.map(|id| id.to_string()))
        .bind(token.server_name.as_ref().map(ToString::to_string))
        .bind(families)
        .bind(token.created_by.to_string())
        .bind(record.act.at_us)
        .bind(token.expires_at_us)
        .execute(&mut *tx)
        .await?;
        self.commit_changed(tx, done.rows_affected() > 0, record).await
    }

    /// The organisation's join tokens, newest first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn list_join_tokens(&self, org: OrgId) -> Result<Vec<JoinToken>> {
        let rows = sqlx::query(
            "SELECT id, for_server_id, server_name, allowed_families, created_by, created_at_us, expires_at_us, \
             used_at_us, used_by_server_id, revoked_at_us FROM join_tokens \
             WHERE org_id = $1 ORDER BY created_at_us DESC, id DESC LIMIT $2",
        )
        .bind(org.to_string())
        .bind(MAX_LISTED)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(join_token).collect()
    }

    /// Revokes a join token that was not used; answers whether there is such a token, used or not.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn revoke_join_token(&self, id: JoinTokenId, record: &Record) -> Result<bool> {
        let (org, id) = (record.act.org_id.to_string(), id.to_string());
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE join_tokens SET revoked_at_us = $3 WHERE org_id = $1 AND id = $2 AND revoked_at_us IS NULL",
        )
        .bind(org.as_str())
        .bind(id.as_str())
        .bind(record.act.at_us)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 1 {
            self.append_audit(&mut tx, record).await?;
            tx.commit().await?;
            return Ok(true);
        }
        let known = sqlx::query("SELECT id FROM join_tokens WHERE org_id = $1 AND id = $2")
            .bind(org.as_str())
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        Ok(known.is_some())
    }
}

fn join_token(row: &AnyRow) -> Result<JoinToken> {
    Ok(JoinToken {
        id: row.parsed("id")?,
        for_server: row.parsed_if_any("for_server_id")?,
        server_name: row.parsed_if_any("server_name")?,
        allowed_families: families(row.value("allowed_families")?),
        created_by: row.parsed("created_by")?,
        created_at_us: row.value("created_at_us")?,
        expires_at_us: row.value("expires_at_us")?,
        used_at_us: row.value("used_at_us")?,
        used_by: row.parsed_if_any("used_by_server_id")?,
        revoked_at_us: row.value("revoked_at_us")?,
    })
}
