//! Organisations, users, memberships and API tokens.

use muster_shared::id::{ApiTokenId, OrgId, UserId};

use serde_json::json;

use super::{Result, Store, rows::Columns as _};
use crate::{
    access::{Act, Credential, Principal, Role, TokenHash},
    audit::{Action, Record},
    organizations::Organization,
};

/// The organisation and owner made at the first start.
#[derive(Debug)]
pub struct FirstOwner<'a> {
    pub org_id: OrgId,
    pub org_name: &'a str,
    pub user_id: UserId,
    pub user_name: &'a str,
    pub token_id: ApiTokenId,
    pub token_hash: TokenHash,
}

impl Store {
    /// Whether the first start is over.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn has_organization(&self) -> Result<bool> {
        Ok(sqlx::query("SELECT id FROM organizations LIMIT 1").fetch_optional(self.read()).await?.is_some())
    }

    /// The organisation that was made first: the installation's own.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn first_organization(&self) -> Result<Option<OrgId>> {
        let row = sqlx::query("SELECT id FROM organizations ORDER BY created_at_us, id LIMIT 1")
            .fetch_optional(self.read())
            .await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    /// The organisation itself.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn organization(&self, org_id: OrgId) -> Result<Option<Organization>> {
        let row = sqlx::query("SELECT name, created_at_us FROM organizations WHERE id = $1")
            .bind(org_id.to_string())
            .fetch_optional(self.read())
            .await?;
        row.map(|row| {
            Ok(Organization { id: org_id, name: row.value("name")?, created_at_us: row.value("created_at_us")? })
        })
        .transpose()
    }

    /// Makes an organisation with its owner and the owner's token, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) when there is a user of that name.
    pub async fn create_first_owner(&self, owner: &FirstOwner<'_>, now_us: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO users (id, name, created_at_us) VALUES ($1, $2, $3)")
            .bind(owner.user_id.to_string())
            .bind(owner.user_name)
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO organizations (id, name, created_at_us) VALUES ($1, $2, $3)")
            .bind(owner.org_id.to_string())
            .bind(owner.org_name)
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO memberships (org_id, user_id, role, created_at_us) VALUES ($1, $2, $3, $4)")
            .bind(owner.org_id.to_string())
            .bind(owner.user_id.to_string())
            .bind(Role::Owner.as_str())
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO api_tokens (id, org_id, user_id, name, token_sha256, created_at_us) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(owner.token_id.to_string())
        .bind(owner.org_id.to_string())
        .bind(owner.user_id.to_string())
        .bind("first start")
        .bind(owner.token_hash.as_bytes())
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        let record = Record::new(
            &Act::of_system(owner.org_id, now_us),
            Action::OrganizationCreated,
            owner.org_id,
            owner.org_name,
        );
        self.append_audit(&mut tx, &record.after(json!({ "owner": owner.user_name }))).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whom a token belongs to, if it is still valid. The hash is the proof: no organisation is known before it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn principal(&self, token_hash: &TokenHash, now_us: i64) -> Result<Option<Principal>> {
        let row = sqlx::query(
            "SELECT t.id, t.org_id, t.user_id, u.name AS user_name, m.role FROM api_tokens t \
             JOIN memberships m ON m.org_id = t.org_id AND m.user_id = t.user_id JOIN users u ON u.id = t.user_id \
             WHERE t.token_sha256 = $1 AND t.revoked_at_us IS NULL \
             AND (t.expires_at_us IS NULL OR t.expires_at_us > $2)",
        )
        .bind(token_hash.as_bytes())
        .bind(now_us)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| {
            Ok(Principal {
                org_id: row.parsed("org_id")?,
                user_id: row.parsed("user_id")?,
                user_name: row.value::<&str>("user_name")?.into(),
                credential: Credential::Token(row.parsed("id")?),
                role: row.word("role", Role::parse)?,
            })
        })
        .transpose()
    }
}
