//! Something done: by whom, for which organisation, from where and when. A noun that changes anything takes an [`Act`],
//! so that what it changes can't go without its record.

use std::{net::IpAddr, sync::Arc};

use muster_shared::id::{ApiTokenId, OrgId, ServerId, UserId, UserSessionId};

/// How a user proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Token(ApiTokenId),
    Session(UserSessionId),
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person, or a program with a person's token.
    User { id: UserId, name: Arc<str>, credential: Credential },
    /// A host, by its certificate or its join token.
    Host(Option<ServerId>),
    /// The control plane by itself.
    System,
    /// Somebody who did not prove who they are.
    Stranger,
}

/// Where a request came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub address: Option<IpAddr>,
    /// The request's id, as its answer and the log carry it.
    pub request_id: Option<Arc<str>>,
}

/// Something done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub org_id: OrgId,
    pub actor: Actor,
    pub origin: Origin,
    pub at_us: i64,
}

impl Act {
    /// What the control plane does by itself for `org_id`.
    #[must_use]
    pub fn of_system(org_id: OrgId, at_us: i64) -> Self {
        Self { org_id, actor: Actor::System, origin: Origin::default(), at_us }
    }

    /// The user behind it; `None` for hosts, strangers and the control plane itself.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        match &self.actor {
            Actor::User { id, .. } => Some(*id),
            Actor::Host(_) | Actor::System | Actor::Stranger => None,
        }
    }

    /// The same done for another organisation.
    #[must_use]
    pub fn within(&self, org_id: OrgId) -> Self {
        Self { org_id, ..self.clone() }
    }

    /// The same act, later: a run that goes on does more in its caller's name.
    #[must_use]
    pub fn at(&self, at_us: i64) -> Self {
        Self { at_us, ..self.clone() }
    }
}
