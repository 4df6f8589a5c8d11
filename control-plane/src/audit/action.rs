//! What can be done, as the record names it.

macro_rules! resource_types {
    ($($name:ident = $word:literal;)*) => {
        /// What an action is done to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ResourceType { $($name,)* }

        impl ResourceType {
            /// Every resource type.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

macro_rules! actions {
    ($($name:ident = $word:literal on $resource:ident;)*) => {
        /// Something done to a resource.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($name,)* }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it is done to.
            #[must_use]
            pub fn resource_type(self) -> ResourceType {
                match self { $(Self::$name => ResourceType::$resource,)* }
            }
        }
    };
}

resource_types! {
    Server = "server";
    JoinToken = "join_token";
    Command = "command";
    Organization = "organization";
    SshKeyPair = "ssh_key_pair";
    Keyring = "keyring";
    Project = "project";
    Environment = "environment";
    Member = "member";
    User = "user";
    ApiToken = "api_token";
    Session = "session";
    FleetRun = "fleet_run";
}

actions! {
    ServerCreated = "SERVER_CREATED" on Server;
    ServerUpdated = "SERVER_UPDATED" on Server;
    ServerDeleted = "SERVER_DELETED" on Server;
    ServerJoined = "SERVER_JOINED" on Server;
    ServerHostKeyRecorded = "SERVER_HOST_KEY_RECORDED" on Server;
    ServerHostKeyOffered = "SERVER_HOST_KEY_OFFERED" on Server;
    ServerHostKeyAccepted = "SERVER_HOST_KEY_ACCEPTED" on Server;
    ServerBootstrapStarted = "SERVER_BOOTSTRAP_STARTED" on Server;
    AgentRevoked = "AGENT_REVOKED" on Server;
    AgentQuarantined = "AGENT_QUARANTINED" on Server;
    AgentQuarantineReleased = "AGENT_QUARANTINE_RELEASED" on Server;
    JoinTokenCreated = "JOIN_TOKEN_CREATED" on JoinToken;
    JoinTokenRevoked = "JOIN_TOKEN_REVOKED" on JoinToken;
    CommandSubmitted = "COMMAND_SUBMITTED" on Command;
    CommandCancelled = "COMMAND_CANCELLED" on Command;
    CommandFinished = "COMMAND_FINISHED" on Command;
    ServerSshPasswordUpdated = "SERVER_SSH_PASSWORD_UPDATED" on Server;
    ServerSshKeyUpdated = "SERVER_SSH_KEY_UPDATED" on Server;
    ServerSecured = "SERVER_SECURED" on Server;
    ServerSecureFailed = "SERVER_SECURE_FAILED" on Server;
    SshKeyPairCreated = "SSH_KEY_PAIR_CREATED" on SshKeyPair;
    SshKeyPairUpdated = "SSH_KEY_PAIR_UPDATED" on SshKeyPair;
    SshKeyPairDeleted = "SSH_KEY_PAIR_DELETED" on SshKeyPair;
    SshKeyPairRotationStarted = "SSH_KEY_PAIR_ROTATION_STARTED" on SshKeyPair;
    SshKeyPairRotationResumed = "SSH_KEY_PAIR_ROTATION_RESUMED" on SshKeyPair;
    SshKeyPairRotationEnded = "SSH_KEY_PAIR_ROTATION_ENDED" on SshKeyPair;
    ServerKeyRotated = "SERVER_KEY_ROTATED" on Server;
    ServerOldKeyRemoved = "SERVER_OLD_KEY_REMOVED" on Server;
    ServerKeyRotationFailed = "SERVER_KEY_ROTATION_FAILED" on Server;
    ServerKeyRotationSkipped = "SERVER_KEY_ROTATION_SKIPPED" on Server;
    KeyringRotated = "KEYRING_ROTATED" on Keyring;
    KeyringKeyRetired = "KEYRING_KEY_RETIRED" on Keyring;
    OrganizationCreated = "ORGANIZATION_CREATED" on Organization;
    QuotaUpdated = "QUOTA_UPDATED" on Organization;
    MetricsRetentionUpdated = "METRICS_RETENTION_UPDATED" on Organization;
    ProjectCreated = "PROJECT_CREATED" on Project;
    ProjectUpdated = "PROJECT_UPDATED" on Project;
    ProjectDeleted = "PROJECT_DELETED" on Project;
    ProjectMemberAdded = "PROJECT_MEMBER_ADDED" on Project;
    ProjectMemberRemoved = "PROJECT_MEMBER_REMOVED" on Project;
    EnvironmentCreated = "ENVIRONMENT_CREATED" on Environment;
    EnvironmentUpdated = "ENVIRONMENT_UPDATED" on Environment;
    EnvironmentMoved = "ENVIRONMENT_MOVED" on Environment;
    EnvironmentDeleted = "ENVIRONMENT_DELETED" on Environment;
    OrganizationUpdated = "ORGANIZATION_UPDATED" on Organization;
    MemberAdded = "MEMBER_ADDED" on Member;
    MemberUpdated = "MEMBER_UPDATED" on Member;
    MemberRemoved = "MEMBER_REMOVED" on Member;
    UserCreated = "USER_CREATED" on User;
    UserUpdated = "USER_UPDATED" on User;
    UserDeleted = "USER_DELETED" on User;
    UserPasswordChanged = "USER_PASSWORD_CHANGED" on User;
    UserTotpEnabled = "USER_TOTP_ENABLED" on User;
    UserTotpDisabled = "USER_TOTP_DISABLED" on User;
    UserTotpReset = "USER_TOTP_RESET" on User;
    UserIdentityLinked = "USER_IDENTITY_LINKED" on User;
    ApiTokenCreated = "API_TOKEN_CREATED" on ApiToken;
    ApiTokenRevoked = "API_TOKEN_REVOKED" on ApiToken;
    SessionCreated = "SESSION_CREATED" on Session;
    SessionDenied = "SESSION_DENIED" on Session;
    SessionEnded = "SESSION_ENDED" on Session;
    FleetRunStarted = "FLEET_RUN_STARTED" on FleetRun;
    FleetRunCancelled = "FLEET_RUN_CANCELLED" on FleetRun;
    FleetRunEnded = "FLEET_RUN_ENDED" on FleetRun;
    FleetRunServerFailed = "FLEET_RUN_SERVER_FAILED" on Server;
}

impl Action {
    /// The action named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == word)
    }
}

impl ResourceType {
    /// The resource type named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(*action));
        }
        for kind in ResourceType::ALL {
            assert_eq!(ResourceType::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(Action::parse("SERVER_EATEN"), None);
    }
}
