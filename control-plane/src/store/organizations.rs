//! Organisations.

use muster_shared::id::{OrgId, UserId};
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Result, Store, members::insert_membership, rows::Columns as _};
use crate::{
    access::Role,
    audit::Record,
    organizations::{Organization, OrganizationName},
};

impl Store {
    /// The organisation itself.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn organization(&self, org_id: OrgId) -> Result<Option<Organization>> {
        let row = sqlx::query("SELECT id, name, created_at_us FROM organizations WHERE id = $1")
            .bind(org_id.to_string())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(organization).transpose()
    }

    /// The organisations `user` is a member of, the oldest membership first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn organizations_of(&self, user: UserId) -> Result<Vec<Organization>> {
        let rows = sqlx::query(
            "SELECT o.id, o.name, o.created_at_us FROM memberships m JOIN organizations o ON o.id = m.org_id \
             WHERE m.user_id = $1 ORDER BY m.created_at_us, m.org_id LIMIT $2",
        )
        .bind(user.to_string())
        .bind(super::members::MAX_MEMBERSHIPS)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(organization).collect()
    }

    /// Makes the organisation that `record` is about, with `owner` as its owner.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn insert_organization(&self, name: &OrganizationName, owner: UserId, record: &Record) -> Result<()> {
        let act = &record.act;
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO organizations (id, name, created_at_us) VALUES ($1, $2, $3)")
            .bind(act.org_id.to_string())
            .bind(name.as_str())
            .bind(act.at_us)
            .execute(&mut *tx)
            .await?;
        insert_membership(&mut tx, act.org_id, owner, Role::Owner, act.at_us).await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Renames the organisation; answers what it is now, `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn rename_organization(&self, name: &OrganizationName, record: Record) -> Result<Option<Organization>> {
        let org_id = record.act.org_id;
        let mut tx = self.begin().await?;
        let before = sqlx::query("SELECT id, name, created_at_us FROM organizations WHERE id = $1")
            .bind(org_id.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(before) = before.as_ref().map(organization).transpose()? else { return Ok(None) };
        if before.name == name.as_str() {
            return Ok(Some(before));
        }
        sqlx::query("UPDATE organizations SET name = $2 WHERE id = $1")
            .bind(org_id.to_string())
            .bind(name.as_str())
            .execute(&mut *tx)
            .await?;
        let record = record.change(&json!({ "name": before.name }), &json!({ "name": name.as_str() }));
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(Some(Organization { name: name.to_string(), ..before }))
    }
}

fn organization(row: &AnyRow) -> Result<Organization> {
    Ok(Organization { id: row.parsed("id")?, name: row.value("name")?, created_at_us: row.value("created_at_us")? })
}
