//! Projects and who belongs to them.

use muster_shared::id::{OrgId, ProjectId, UserId};
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Result, Store, Tx, rows::Columns as _};
use crate::{
    access::{Act, Role},
    audit::{Action, Record},
    projects::{Project, ProjectMember, ProjectPatch, Scope, Slug},
};

/// How deleting a project ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectDeletion {
    Deleted,
    Gone,
    HasEnvironments(u32),
}

/// `$1` is the organisation, `$2` the user to whose projects the caller is bound.
macro_rules! select_project {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.org_id, p.name, p.slug, p.description, p.odoo_version, p.created_at_us, p.updated_at_us, \
             (SELECT COUNT(*) FROM environments e WHERE e.project_id = p.id AND e.deleted_at_us IS NULL) \
             AS environment_count FROM projects p WHERE p.org_id = $1 AND p.deleted_at_us IS NULL \
             AND ($2 = '' OR EXISTS (SELECT 1 FROM project_members m \
             WHERE m.org_id = p.org_id AND m.project_id = p.id AND m.user_id = $2)) ",
            $rest
        )
    };
}

impl Store {
    /// The project `id`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn project(&self, org: OrgId, scope: Scope, id: ProjectId) -> Result<Option<Project>> {
        let row = sqlx::query(select_project!("AND p.id = $3"))
            .bind(org.to_string())
            .bind(scope.user_text())
            .bind(id.to_string())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(project).transpose()
    }

    /// The project with `slug`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn project_with_slug(&self, org: OrgId, scope: Scope, slug: &Slug) -> Result<Option<Project>> {
        let row = sqlx::query(select_project!("AND p.slug = $3"))
            .bind(org.to_string())
            .bind(scope.user_text())
            .bind(slug.as_str())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(project).transpose()
    }

    /// A page of projects, oldest first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn list_projects(&self, org: OrgId, scope: Scope, skip: u32, limit: u32) -> Result<Vec<Project>> {
        sqlx::query(select_project!("ORDER BY p.created_at_us, p.id LIMIT $3 OFFSET $4"))
            .bind(org.to_string())
            .bind(scope.user_text())
            .bind(i64::from(limit))
            .bind(i64::from(skip))
            .fetch_all(self.read())
            .await?
            .iter()
            .map(project)
            .collect()
    }

    /// Makes a project.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) when the slug is taken.
    pub async fn insert_project(&self, project: &Project, record: &Record) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO projects (id, org_id, name, slug, description, odoo_version, created_at_us, updated_at_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        )
        .bind(project.id.to_string())
        .bind(record.act.org_id.to_string())
        .bind(project.name.as_str())
        .bind(project.slug.as_str())
        .bind(project.description.as_str())
        .bind(project.odoo_version.as_str())
        .bind(record.act.at_us)
        .execute(&mut *tx)
        .await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Changes what `patch` names; answers the project as it is then, `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) when the slug is taken.
    pub async fn update_project(&self, act: &Act, id: ProjectId, patch: &ProjectPatch) -> Result<Option<Project>> {
        let mut tx = self.begin().await?;
        let Some(before) = locked(&mut tx, act.org_id, id).await? else { return Ok(None) };
        let after = before.patched(patch, act.at_us);
        sqlx::query(
            "UPDATE projects SET name = $3, slug = $4, description = $5, odoo_version = $6, updated_at_us = $7 \
             WHERE org_id = $1 AND id = $2",
        )
        .bind(act.org_id.to_string())
        .bind(id.to_string())
        .bind(after.name.as_str())
        .bind(after.slug.as_str())
        .bind(after.description.as_str())
        .bind(after.odoo_version.as_str())
        .bind(act.at_us)
        .execute(&mut *tx)
        .await?;
        let record = Record::new(act, Action::ProjectUpdated, id, &before.name).change(&before.shown(), &after.shown());
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(Some(after))
    }

    /// Deletes a project without environments.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn delete_project(&self, act: &Act, id: ProjectId) -> Result<ProjectDeletion> {
        let mut tx = self.begin().await?;
        let Some(before) = locked(&mut tx, act.org_id, id).await? else { return Ok(ProjectDeletion::Gone) };
        if before.environment_count > 0 {
            return Ok(ProjectDeletion::HasEnvironments(before.environment_count));
        }
        sqlx::query("UPDATE projects SET deleted_at_us = $3, updated_at_us = $3 WHERE org_id = $1 AND id = $2")
            .bind(act.org_id.to_string())
            .bind(id.to_string())
            .bind(act.at_us)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM project_members WHERE org_id = $1 AND project_id = $2")
            .bind(act.org_id.to_string())
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        let record = Record::new(act, Action::ProjectDeleted, id, &before.name).before(before.shown());
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(ProjectDeletion::Deleted)
    }

    /// Who belongs to a project, by name.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn project_members(&self, org: OrgId, id: ProjectId) -> Result<Vec<ProjectMember>> {
        let rows = sqlx::query(
            "SELECT u.id, u.name, o.role, m.created_at_us FROM project_members m JOIN users u ON u.id = m.user_id \
             JOIN memberships o ON o.org_id = m.org_id AND o.user_id = m.user_id \
             WHERE m.org_id = $1 AND m.project_id = $2 ORDER BY u.name",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ProjectMember {
                    user_id: row.parsed("id")?,
                    user_name: row.value("name")?,
                    role: row.word("role", Role::parse)?,
                    added_at_us: row.value("created_at_us")?,
                })
            })
            .collect()
    }

    /// Lets a user belong to a project; answers whether the organisation has such a user and project.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn add_project_member(&self, act: &Act, project: &Project, user: UserId) -> Result<bool> {
        let mut tx = self.begin().await?;
        if locked(&mut tx, act.org_id, project.id).await?.is_none() {
            return Ok(false);
        }
        let member = sqlx::query("SELECT user_id FROM memberships WHERE org_id = $1 AND user_id = $2")
            .bind(act.org_id.to_string())
            .bind(user.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        if member.is_none() {
            return Ok(false);
        }
        let done = sqlx::query(
            "INSERT INTO project_members (org_id, project_id, user_id, created_at_us) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(act.org_id.to_string())
        .bind(project.id.to_string())
        .bind(user.to_string())
        .bind(act.at_us)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() > 0 {
            self.append_audit(&mut tx, &membership(act, Action::ProjectMemberAdded, project, user)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a user's belonging to a project; answers whether there was one.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn remove_project_member(&self, act: &Act, project: &Project, user: UserId) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM project_members WHERE org_id = $1 AND project_id = $2 AND user_id = $3")
            .bind(act.org_id.to_string())
            .bind(project.id.to_string())
            .bind(user.to_string())
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.append_audit(&mut tx, &membership(act, Action::ProjectMemberRemoved, project, user)).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn membership(act: &Act, action: Action, project: &Project, user: UserId) -> Record {
    Record::new(act, action, project.id, &project.name).after(json!({ "user_id": user.to_string() }))
}

/// The project, its row locked until the transaction ends.
pub(super) async fn locked(tx: &mut Tx, org: OrgId, id: ProjectId) -> Result<Option<Project>> {
    sqlx::query("UPDATE projects SET updated_at_us = updated_at_us WHERE org_id = $1 AND id = $2")
        .bind(org.to_string())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    let row = sqlx::query(select_project!("AND p.id = $3"))
        .bind(org.to_string())
        .bind("")
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(project).transpose()
}

fn project(row: &AnyRow) -> Result<Project> {
    Ok(Project {
        id: row.parsed("id")?,
        org_id: row.parsed("org_id")?,
        name: row.parsed("name")?,
        slug: row.parsed("slug")?,
        description: row.parsed("description")?,
        odoo_version: row.parsed("odoo_version")?,
        environment_count: u32::try_from(row.unsigned("environment_count")?).unwrap_or(u32::MAX),
        created_at_us: row.value("created_at_us")?,
        updated_at_us: row.value("updated_at_us")?,
    })
}
