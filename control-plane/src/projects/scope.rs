//! Which projects somebody may see.

use muster_shared::id::UserId;

use crate::access::{Principal, Role};

/// Which of an organisation's projects, and of their environments, somebody may see and act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Organization,
    /// Those that the user belongs to.
    MemberOf(UserId),
}

impl Scope {
    /// What `caller` may see: the two project roles are bound to the projects they belong to.
    #[must_use]
    pub fn of(caller: &Principal) -> Self {
        match caller.role {
            Role::Owner | Role::Admin | Role::Member => Self::Organization,
            Role::ProjectAdmin | Role::ProjectMember => Self::MemberOf(caller.user_id),
        }
    }

    /// The user to whose projects it is bound; empty where it is not.
    pub(crate) fn user_text(self) -> String {
        match self {
            Self::Organization => String::new(),
            Self::MemberOf(user) => user.to_string(),
        }
    }
}
