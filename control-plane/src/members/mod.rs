//! Members: what users are in an organisation. An organisation always has an owner, and only owners decide who is one.

use muster_shared::id::{OrgId, UserId};
use serde_json::json;

use crate::{
    access::{Act, Principal, Role},
    audit::{Action, Record},
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    store::{Store, StoreError},
    users::UserName,
};

/// A user as a member of one organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user_id: UserId,
    pub name: String,
    pub email: Option<String>,
    pub role: Role,
    pub has_password: bool,
    pub must_change_password: bool,
    pub has_totp: bool,
    pub since_us: i64,
}

/// How a change of a membership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    Done,
    NotThere,
    /// The organisation would be left without an owner.
    LastOwner,
    /// Who asked is no owner, and it is about one.
    OwnersOnly,
}

impl MemberChange {
    fn into_result(self) -> Result<(), Error> {
        match self {
            Self::Done => Ok(()),
            Self::NotThere => Err(Error::not_found("member")),
            Self::LastOwner => {
                let detail = "this is the last owner: make somebody else an owner first";
                Err(Error::new(ErrorKind::Precondition, "last_owner", detail))
            }
            Self::OwnersOnly => Err(owners_only()),
        }
    }
}

/// Goes on only where `by` may make somebody a `role`.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`].
pub fn may_give(by: &Principal, role: Role) -> Result<(), Error> {
    if role == Role::Owner && by.role != Role::Owner {
        return Err(owners_only());
    }
    by.require_all_of(role)
}

/// Who is no owner asked for something about owners.
#[must_use]
pub fn owners_only() -> Error {
    let detail = "only an owner makes, changes or removes owners";
    Error::new(ErrorKind::PermissionDenied, "owners_only", detail)
}

/// The members of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct Members {
    store: Store,
    events: Events,
}

impl Members {
    /// The members in `store`.
    #[must_use]
    pub fn new(store: Store, events: Events) -> Self {
        Self { store, events }
    }

    /// A page of the organisation's members, the oldest membership first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, org: OrgId, skip: u32, limit: u32) -> Result<Vec<Member>, Error> {
        Ok(self.store.list_members(org, skip, limit).await?)
    }

    /// The member that `reference`, an id or a name, means.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn resolve(&self, org: OrgId, reference: &str) -> Result<Member, Error> {
        let found = match (reference.parse::<UserId>(), reference.parse::<UserName>()) {
            (Ok(id), _) => self.store.member(org, id).await?,
            (Err(_), Ok(name)) => self.store.member_named(org, &name).await?,
            (Err(_), Err(_)) => None,
        };
        found.ok_or_else(|| Error::not_found("member"))
    }

    /// Makes an existing user a member, as `by` may.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: no such user; [`ErrorKind::Conflict`]: a member already; [`ErrorKind::PermissionDenied`]:
    /// only an owner makes owners.
    pub async fn add(&self, act: &Act, by: &Principal, name: &UserName, role: Role) -> Result<Member, Error> {
        may_give(by, role)?;
        let record = Record::new(act, Action::MemberAdded, "", name).after(json!({ "role": role.as_str() }));
        let added = self.store.add_member(name, role, record).await.map_err(|error| match error {
            StoreError::Conflict(_) => {
                Error::new(ErrorKind::Conflict, "already_member", "this user is a member already").because(error)
            }
            other => other.into(),
        })?;
        let user = added.ok_or_else(|| Error::not_found("user"))?;
        self.tell(act.org_id, user);
        self.get(act.org_id, user).await
    }

    /// Gives a member another role, as `by` may.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] for the last owner; [`ErrorKind::PermissionDenied`]: only an
    /// owner changes owners.
    pub async fn set_role(&self, act: &Act, by: &Principal, user: UserId, role: Role) -> Result<Member, Error> {
        may_give(by, role)?;
        let record = Record::new(act, Action::MemberUpdated, user, "");
        self.store.set_member_role(user, role, by.role, record).await?.into_result()?;
        self.tell(act.org_id, user);
        self.get(act.org_id, user).await
    }

    /// Takes a member out of the organisation, as `by` may. Tokens for it go at once; a user who is in no other
    /// organisation is deleted.
    ///
    /// # Errors
    /// As [`Self::set_role`].
    pub async fn remove(&self, act: &Act, by: Role, user: UserId) -> Result<(), Error> {
        let record = Record::new(act, Action::MemberRemoved, user, "");
        let org = record.act.org_id;
        self.store.remove_member(user, by, record).await?.into_result()?;
        self.tell(org, user);
        Ok(())
    }

    fn tell(&self, org: OrgId, user: UserId) {
        self.events.publish(org, None, EventKind::MemberChanged(user));
    }

    async fn get(&self, org: OrgId, user: UserId) -> Result<Member, Error> {
        self.store.member(org, user).await?.ok_or_else(|| Error::not_found("member"))
    }
}
