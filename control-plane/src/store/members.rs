//! Memberships: what each user is in each organisation.
//!
//! Whoever changes an organisation's memberships first takes its row, so that changes wait for each other: two owners who
//! demote each other at once can't both see the other one still there.

use muster_shared::id::{OrgId, UserId};
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Result, Store, Tx, rows::Columns as _, users::delete_user};
use crate::{
    access::Role,
    audit::Record,
    members::{Member, MemberChange},
    users::UserName,
};

/// Organisations one user is asked about at most.
pub(super) const MAX_MEMBERSHIPS: i64 = 1000;

const MEMBER: &str = "SELECT u.id, u.name, u.email, u.password_hash, u.must_change_password, u.totp_confirmed_at_us, \
                      m.role, m.created_at_us FROM memberships m JOIN users u ON u.id = m.user_id";

impl Store {
    /// A page of the organisation's members, the oldest membership first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn list_members(&self, org: OrgId, skip: u32, limit: u32) -> Result<Vec<Member>> {
        let query = sqlx::AssertSqlSafe(format!(
            "{MEMBER} WHERE m.org_id = $1 ORDER BY m.created_at_us, m.user_id LIMIT $2 OFFSET $3"
        ));
        let rows = sqlx::query(query)
            .bind(org.to_string())
            .bind(i64::from(limit))
            .bind(i64::from(skip))
            .fetch_all(self.read())
            .await?;
        rows.iter().map(member).collect()
    }

    /// The member `user` of the organisation.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn member(&self, org: OrgId, user: UserId) -> Result<Option<Member>> {
        let query = sqlx::AssertSqlSafe(format!("{MEMBER} WHERE m.org_id = $1 AND m.user_id = $2"));
        let row = sqlx::query(query).bind(org.to_string()).bind(user.to_string()).fetch_optional(self.read()).await?;
        row.as_ref().map(member).transpose()
    }

    /// The member called `name`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn member_named(&self, org: OrgId, name: &UserName) -> Result<Option<Member>> {
        let query = sqlx::AssertSqlSafe(format!("{MEMBER} WHERE m.org_id = $1 AND u.name = $2"));
        let row = sqlx::query(query).bind(org.to_string()).bind(name.as_str()).fetch_optional(self.read()).await?;
        row.as_ref().map(member).transpose()
    }

    /// Makes the user called `name` a member; answers who that is, `None` where there is no such user.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) where the user is a member already.
    pub async fn add_member(&self, name: &UserName, role: Role, record: Record) -> Result<Option<UserId>> {
        let act = &record.act;
        let mut tx = self.begin().await?;
        let row = sqlx::query("SELECT id FROM users WHERE name = $1 AND deleted_at_us IS NULL")
            .bind(name.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let user = row.parsed("id")?;
        insert_membership(&mut tx, act.org_id, user, role, act.at_us).await?;
        let mut record = record;
        record.resource.id = user.to_string();
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(Some(user))
    }

    /// Gives a member another role, as `by` may.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn set_member_role(&self, user: UserId, role: Role, by: Role, record: Record) -> Result<MemberChange> {
        let org = record.act.org_id;
        let mut tx = self.begin().await?;
        let Some((name, was)) = take_member(&mut tx, org, user).await? else { return Ok(MemberChange::NotThere) };
        if by != Role::Owner && [was, role].contains(&Role::Owner) {
            return Ok(MemberChange::OwnersOnly);
        }
        if was == role {
            return Ok(MemberChange::Done);
        }
        let done = sqlx::query(
            "UPDATE memberships SET role = $3 WHERE org_id = $1 AND user_id = $2 AND (role <> $4 OR EXISTS \
             (SELECT 1 FROM memberships o WHERE o.org_id = $1 AND o.user_id <> $2 AND o.role = $4))",
        )
        .bind(org.to_string())
        .bind(user.to_string())
        .bind(role.as_str())
        .bind(Role::Owner.as_str())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(MemberChange::LastOwner);
        }
        let mut record = record.change(&json!({ "role": was.as_str() }), &json!({ "role": role.as_str() }));
        record.resource.name = name;
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(MemberChange::Done)
    }

    /// Takes a user out of the organisation, as `by` may, with the tokens for it. Who is in no organisation any more is
    /// deleted: nobody could look after them.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn remove_member(&self, user: UserId, by: Role, record: Record) -> Result<MemberChange> {
        let act = &record.act;
        let org = act.org_id;
        let mut tx = self.begin().await?;
        let Some((name, was)) = take_member(&mut tx, org, user).await? else { return Ok(MemberChange::NotThere) };
        if by != Role::Owner && was == Role::Owner {
            return Ok(MemberChange::OwnersOnly);
        }
        sqlx::query("DELETE FROM api_tokens WHERE org_id = $1 AND user_id = $2")
            .bind(org.to_string())
            .bind(user.to_string())
            .execute(&mut *tx)
            .await?;
        let done = sqlx::query(
            "DELETE FROM memberships WHERE org_id = $1 AND user_id = $2 AND (role <> $3 OR EXISTS \
             (SELECT 1 FROM memberships o WHERE o.org_id = $1 AND o.user_id <> $2 AND o.role = $3))",
        )
        .bind(org.to_string())
        .bind(user.to_string())
        .bind(Role::Owner.as_str())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(MemberChange::LastOwner);
        }
        let left = sqlx::query("SELECT org_id FROM memberships WHERE user_id = $1 LIMIT 1")
            .bind(user.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        if left.is_none() {
            delete_user(&mut tx, user, act.at_us).await?;
        }
        let mut record = record.before(json!({ "role": was.as_str() }));
        record.resource.name = name;
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(MemberChange::Done)
    }
}

/// Takes the organisation's memberships for this transaction, and reads one of them: the user's name and role.
pub(super) async fn take_member(tx: &mut Tx, org: OrgId, user: UserId) -> Result<Option<(String, Role)>> {
    sqlx::query("UPDATE organizations SET members_revision = members_revision + 1 WHERE id = $1")
        .bind(org.to_string())
        .execute(&mut **tx)
        .await?;
    let row = sqlx::query(
        "SELECT u.name, m.role FROM memberships m JOIN users u ON u.id = m.user_id \
         WHERE m.org_id = $1 AND m.user_id = $2",
    )
    .bind(org.to_string())
    .bind(user.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Ok((row.value("name")?, row.word("role", Role::parse)?))).transpose()
}

pub(super) async fn insert_membership(tx: &mut Tx, org: OrgId, user: UserId, role: Role, at_us: i64) -> Result<()> {
    sqlx::query("INSERT INTO memberships (org_id, user_id, role, created_at_us) VALUES ($1, $2, $3, $4)")
        .bind(org.to_string())
        .bind(user.to_string())
        .bind(role.as_str())
        .bind(at_us)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn member(row: &AnyRow) -> Result<Member> {
    Ok(Member {
        user_id: row.parsed("id")?,
        name: row.value("name")?,
        email: row.value("email")?,
        role: row.word("role", Role::parse)?,
        has_password: row.value::<Option<&str>>("password_hash")?.is_some(),
        must_change_password: row.value::<i64>("must_change_password")? != 0,
        has_totp: row.value::<Option<i64>>("totp_confirmed_at_us")?.is_some(),
        since_us: row.value("created_at_us")?,
    })
}
