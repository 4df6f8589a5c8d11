//! Who may do what. Deny by default: a role has the permissions listed for it and no other.

/// Something that may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    ServersList,
    ServersView,
    ServersCreate,
    ServersUpdate,
    ServersDelete,
    ServersTest,
    ServersPreflight,
    ServersSecure,
    MonitoringView,
    JoinTokensList,
    JoinTokensCreate,
    JoinTokensRevoke,
    CommandsList,
    CommandsView,
    CommandsCancel,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 15] = [
        Self::ServersList,
        Self::ServersView,
        Self::ServersCreate,
        Self::ServersUpdate,
        Self::ServersDelete,
        Self::ServersTest,
        Self::ServersPreflight,
        Self::ServersSecure,
        Self::MonitoringView,
        Self::JoinTokensList,
        Self::JoinTokensCreate,
        Self::JoinTokensRevoke,
        Self::CommandsList,
        Self::CommandsView,
        Self::CommandsCancel,
    ];

    /// The permission's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServersList => "org.servers.list",
            Self::ServersView => "org.servers.view",
            Self::ServersCreate => "org.servers.create",
            Self::ServersUpdate => "org.servers.update",
            Self::ServersDelete => "org.servers.delete",
            Self::ServersTest => "org.servers.test",
            Self::ServersPreflight => "org.servers.preflight",
            Self::ServersSecure => "org.servers.secure",
            Self::MonitoringView => "org.monitoring.view",
            Self::JoinTokensList => "org.join_tokens.list",
            Self::JoinTokensCreate => "org.join_tokens.create",
            Self::JoinTokensRevoke => "org.join_tokens.revoke",
            Self::CommandsList => "org.commands.list",
            Self::CommandsView => "org.commands.view",
            Self::CommandsCancel => "org.commands.cancel",
        }
    }
}

/// What a user is in an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Owner,
    Admin,
    Member,
    ProjectAdmin,
    ProjectMember,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::Member, Self::ProjectAdmin, Self::ProjectMember];

    /// The role's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::ProjectAdmin => "project_admin",
            Self::ProjectMember => "project_member",
        }
    }

    /// The role named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether the role has `permission`.
    #[must_use]
    pub fn allows(self, permission: Permission) -> bool {
        use Permission::{CommandsList, CommandsView, MonitoringView, ServersDelete, ServersList, ServersView};
        match self {
            Self::Owner => true,
            Self::Admin => permission != ServersDelete,
            Self::Member => {
                matches!(permission, ServersList | ServersView | MonitoringView | CommandsList | CommandsView)
            }
            Self::ProjectAdmin | Self::ProjectMember => matches!(permission, ServersList | ServersView),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_their_permissions_and_no_other() {
        let count = |role: Role| Permission::ALL.into_iter().filter(|permission| role.allows(*permission)).count();
        assert_eq!(Role::ALL.map(count), [15, 14, 5, 2, 2]);
        assert!(!Role::Admin.allows(Permission::ServersDelete));
        assert!(!Role::Member.allows(Permission::ServersTest));
    }

    #[test]
    fn words_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse(""), None);
    }
}
