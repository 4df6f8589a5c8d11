//! The first start: an organisation, its owner, and the owner's API token.

use muster_shared::id::{ApiTokenId, OrgId, UserId};

use serde_json::json;

use super::{Result, Store, members::insert_membership, rows::Columns as _};
use crate::{
    access::{Act, Role, TokenHash},
    audit::{Action, Record},
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
        insert_membership(&mut tx, owner.org_id, owner.user_id, Role::Owner, now_us).await?;
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
}
