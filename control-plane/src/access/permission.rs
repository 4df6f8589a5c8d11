//! Who may do what. Deny by default: a role has the permissions whose row names it, and no other.

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $word:literal for $($role:ident)+;)*) => {
        /// Something that may be allowed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $($(#[$doc])* $name,)*
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The permission's word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The roles that have it.
            #[must_use]
            pub fn roles(self) -> &'static [Role] {
                match self {
                    $(Self::$name => &[$(Role::$role,)+],)*
                }
            }
        }
    };
}

permissions! {
    ServersList = "org.servers.list" for Owner Admin Member ProjectAdmin ProjectMember;
    ServersView = "org.servers.view" for Owner Admin Member ProjectAdmin ProjectMember;
    ServersCreate = "org.servers.create" for Owner Admin;
    ServersUpdate = "org.servers.update" for Owner Admin;
    ServersDelete = "org.servers.delete" for Owner;
    ServersTest = "org.servers.test" for Owner Admin;
    ServersPreflight = "org.servers.preflight" for Owner Admin;
    ServersSecure = "org.servers.secure" for Owner Admin;
    MonitoringView = "org.monitoring.view" for Owner Admin Member;
    JoinTokensList = "org.join_tokens.list" for Owner Admin;
    JoinTokensCreate = "org.join_tokens.create" for Owner Admin;
    JoinTokensRevoke = "org.join_tokens.revoke" for Owner Admin;
    CommandsList = "org.commands.list" for Owner Admin Member;
    CommandsView = "org.commands.view" for Owner Admin Member;
    CommandsCancel = "org.commands.cancel" for Owner Admin;
    SshKeysList = "org.ssh_keys.list" for Owner Admin;
    SshKeysCreate = "org.ssh_keys.create" for Owner Admin;
    SshKeysUpdate = "org.ssh_keys.update" for Owner Admin;
    SshKeysDelete = "org.ssh_keys.delete" for Owner Admin;
    KeyringView = "org.keyring.view" for Owner;
    KeyringRotate = "org.keyring.rotate" for Owner;
    AuditView = "org.audit.view" for Owner Admin;
    /// The two project roles see the projects they belong to, and no other.
    ProjectsList = "org.projects.list" for Owner Admin Member ProjectAdmin ProjectMember;
    ProjectsView = "org.projects.view" for Owner Admin Member ProjectAdmin ProjectMember;
    ProjectsCreate = "org.projects.create" for Owner Admin;
    ProjectsUpdate = "org.projects.update" for Owner Admin;
    ProjectsDelete = "org.projects.delete" for Owner Admin;
    /// Who belongs to a project: whoever could change that could see any project.
    ProjectsMembers = "org.projects.members" for Owner Admin;
    EnvironmentsList = "org.environments.list" for Owner Admin Member ProjectAdmin ProjectMember;
    EnvironmentsView = "org.environments.view" for Owner Admin Member ProjectAdmin ProjectMember;
    EnvironmentsCreate = "org.environments.create" for Owner Admin;
    /// Changing and moving, within the quota; a project admin those of the projects it belongs to.
    EnvironmentsUpdate = "org.environments.update" for Owner Admin ProjectAdmin;
    EnvironmentsDelete = "org.environments.delete" for Owner Admin;
    QuotaView = "org.quota.view" for Owner Admin Member;
    QuotaUpdate = "org.quota.update" for Owner;
    MetricsRetentionView = "org.metrics_retention.view" for Owner Admin Member;
    /// A shorter period deletes samples for good.
    MetricsRetentionUpdate = "org.metrics_retention.update" for Owner;
    OrganizationView = "org.view" for Owner Admin Member ProjectAdmin ProjectMember;
    OrganizationUpdate = "org.update" for Owner Admin;
    OrganizationCreate = "org.create" for Owner;
    MembersList = "org.members.list" for Owner Admin Member;
    MembersAdd = "org.members.add" for Owner Admin;
    MembersUpdate = "org.members.update" for Owner Admin;
    MembersRemove = "org.members.remove" for Owner Admin;
    UsersList = "org.users.list" for Owner Admin;
    UsersView = "org.users.view" for Owner Admin;
    UsersCreate = "org.users.create" for Owner Admin;
    UsersUpdate = "org.users.update" for Owner Admin;
    UsersDelete = "org.users.delete" for Owner Admin;
}

impl Permission {
    /// The permission named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == word)
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
        permission.roles().contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nine server permissions and five roles as users were promised them.
    #[test]
    fn server_permissions_are_mapped_as_published() {
        let server: Vec<_> = Permission::ALL
            .iter()
            .filter(|permission| {
                let word = permission.as_str();
                word.starts_with("org.servers.") || word == "org.monitoring.view"
            })
            .collect();
        assert_eq!(server.len(), 9);
        let held = |role: Role| {
            server.iter().filter(|permission| role.allows(***permission)).map(|it| it.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(held(Role::Owner).len(), 9);
        assert_eq!(held(Role::Admin).len(), 8);
        assert!(!Role::Admin.allows(Permission::ServersDelete));
        assert_eq!(held(Role::Member), ["org.servers.list", "org.servers.view", "org.monitoring.view"]);
        for role in [Role::ProjectAdmin, Role::ProjectMember] {
            assert_eq!(held(role), ["org.servers.list", "org.servers.view"]);
        }
    }

    #[test]
    fn owners_may_do_everything_and_words_are_unique() {
        let mut words: Vec<_> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
        assert!(Permission::ALL.iter().all(|permission| Role::Owner.allows(*permission)));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Permission::ALL.len());
    }

    #[test]
    fn words_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse(""), None);
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(*permission));
        }
    }
}
