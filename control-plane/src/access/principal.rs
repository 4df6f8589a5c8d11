//! Somebody who proved who they are, and the organisation they act in.

use std::sync::Arc;

use muster_shared::id::{OrgId, UserId};

use super::{Act, Credential, Origin, Permission, Role, Scopes};
use crate::error::{Error, ErrorKind};

/// What a user is in one organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    pub org_id: OrgId,
    pub role: Role,
}

/// What was proven, before it is known for which organisation it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub user_id: UserId,
    pub user_name: Arc<str>,
    pub credential: Credential,
    pub scopes: Scopes,
    /// Every organisation the credential is good for, the oldest membership first.
    pub memberships: Arc<[Membership]>,
    /// The organisation the user chose for this session.
    pub chosen: Option<OrgId>,
    /// Until it is changed, a password that somebody else gave is good for nothing else.
    pub must_change_password: bool,
    /// When the credential ends by itself.
    pub expires_at_us: Option<i64>,
}

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The organisation this request is about.
    pub org_id: OrgId,
    pub user_id: UserId,
    pub user_name: Arc<str>,
    pub credential: Credential,
    /// What the user is in [`Self::org_id`].
    pub role: Role,
    pub scopes: Scopes,
    /// Every organisation the credential is good for, the oldest membership first.
    pub memberships: Arc<[Membership]>,
    pub must_change_password: bool,
    /// When the credential ends by itself.
    pub expires_at_us: Option<i64>,
}

impl Proof {
    /// The caller, acting in the organisation they chose, else in the first; `None` for who is in none.
    #[must_use]
    pub fn acting(self) -> Option<Principal> {
        let chosen = self.chosen.and_then(|org| self.memberships.iter().find(|membership| membership.org_id == org));
        let Membership { org_id, role } = *chosen.or_else(|| self.memberships.first())?;
        Some(Principal {
            org_id,
            role,
            user_id: self.user_id,
            user_name: self.user_name,
            credential: self.credential,
            scopes: self.scopes,
            memberships: self.memberships,
            must_change_password: self.must_change_password,
            expires_at_us: self.expires_at_us,
        })
    }
}

impl Principal {
    /// What this caller does at `at_us`, coming from `origin`.
    #[must_use]
    pub fn act(&self, origin: Origin, at_us: i64) -> Act {
        let actor =
            super::Actor::User { id: self.user_id, name: Arc::clone(&self.user_name), credential: self.credential };
        Act { org_id: self.org_id, actor, origin, at_us }
    }

    /// Whether both the role and the credential have `permission`.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.role.allows(permission) && self.scopes.include(permission)
    }

    /// Goes on only where the role and the credential have `permission`.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], naming the permission.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        if self.may(permission) {
            return Ok(());
        }
        let word = permission.as_str();
        let detail = if self.role.allows(permission) {
            format!("this needs the permission {word}, which is not among the token's scopes")
        } else {
            format!("this needs the permission {word}; ask an owner of the organization")
        };
        Err(Error::new(ErrorKind::PermissionDenied, "permission_denied", detail))
    }

    /// Goes on only with a credential that may do all its user may: a token for a part of it must not become more by
    /// changing how its user signs in.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`].
    pub fn require_whole(&self) -> Result<(), Error> {
        match self.scopes {
            Scopes::All => Ok(()),
            Scopes::Only(_) => {
                let detail = "a token with scopes can't change its user's account: sign in, or use one without scopes";
                Err(Error::new(ErrorKind::PermissionDenied, "scoped_token", detail))
            }
        }
    }

    /// Goes on only where the caller may do all that `role` may: nobody gives away, or gets at, more than they have. For a
    /// token that is what its scopes leave of it.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`].
    pub fn require_all_of(&self, role: Role) -> Result<(), Error> {
        if Permission::ALL.iter().all(|permission| !role.allows(*permission) || self.may(*permission)) {
            return Ok(());
        }
        let detail = format!("the role {} may more than this: only who has all of it can give it", role.as_str());
        Err(Error::new(ErrorKind::PermissionDenied, "more_than_yours", detail))
    }

    /// The same caller acting in `org`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the caller is no member, as if it did not exist.
    pub fn acting_in(&self, org: OrgId) -> Result<Self, Error> {
        let membership = self.memberships.iter().find(|membership| membership.org_id == org);
        let Membership { org_id, role } = *membership.ok_or_else(|| Error::not_found("organization"))?;
        Ok(Self { org_id, role, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::id::ApiTokenId;

    use super::*;

    fn proof(memberships: &[Membership], chosen: Option<OrgId>) -> Proof {
        Proof {
            user_id: UserId::generate(),
            user_name: "ada".into(),
            credential: Credential::Token(ApiTokenId::generate()),
            scopes: Scopes::All,
            memberships: memberships.into(),
            chosen,
            must_change_password: false,
            expires_at_us: None,
        }
    }

    fn of(role: Role) -> Membership {
        Membership { org_id: OrgId::generate(), role }
    }

    #[test]
    fn the_choice_wins_over_the_first_membership() {
        let (first, second) = (of(Role::Owner), of(Role::Member));
        let acting = |memberships: &[Membership], chosen| proof(memberships, chosen).acting().map(|it| it.org_id);
        assert_eq!(acting(&[first, second], Some(second.org_id)), Some(second.org_id));
        assert_eq!(acting(&[first, second], None), Some(first.org_id));
        assert_eq!(acting(&[first, second], Some(OrgId::generate())), Some(first.org_id), "no member there any more");
        assert_eq!(acting(&[], None), None);
    }

    #[test]
    fn the_role_is_that_of_the_organisation_acted_in() {
        let (mine, theirs) = (of(Role::Owner), of(Role::Member));
        let caller = proof(&[mine, theirs], None).acting().expect("a member");
        caller.require(Permission::ServersDelete).expect("an owner");
        let there = caller.acting_in(theirs.org_id).expect("a member");
        assert_eq!(there.require(Permission::ServersDelete).expect_err("no owner").kind, ErrorKind::PermissionDenied);
        assert_eq!(caller.acting_in(OrgId::generate()).expect_err("a stranger").kind, ErrorKind::NotFound);
    }

    #[test]
    fn scopes_and_role_are_both_asked() {
        let member = of(Role::Member);
        let caller = proof(&[member], None).acting().expect("a member");
        let scoped = |permission| Principal { scopes: Scopes::only([permission]), ..caller.clone() };
        scoped(Permission::ServersView).require(Permission::ServersView).expect("both have it");
        assert!(scoped(Permission::ServersView).require(Permission::ServersList).is_err(), "the token has it not");
        assert!(scoped(Permission::ServersCreate).require(Permission::ServersCreate).is_err(), "the role has it not");
        assert!(scoped(Permission::ServersView).require_whole().is_err());
        caller.require_whole().expect("all of it");
    }

    #[test]
    fn nobody_gives_away_more_than_they_have() {
        let caller = |role| proof(&[of(role)], None).acting().expect("a member");
        for role in Role::ALL {
            caller(Role::Owner).require_all_of(role).expect("an owner has everything");
            assert_eq!(caller(Role::Admin).require_all_of(role).is_ok(), role != Role::Owner, "{role:?}");
            let scoped = Principal { scopes: Scopes::only([Permission::MembersUpdate]), ..caller(Role::Owner) };
            assert!(scoped.require_all_of(role).is_err(), "{role:?}");
        }
    }

    #[test]
    fn members_may_look_and_not_touch() {
        let member = proof(&[of(Role::Member)], None).acting().expect("a member");
        member.require(Permission::ServersView).expect("allowed");
        let error = member.require(Permission::ServersCreate).expect_err("refused");
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        assert!(error.detail.contains("org.servers.create"));
    }
}
