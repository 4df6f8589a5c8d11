//! The one authorisation table: what can be asked, and the permission it needs. REST routes name an operation; gRPC
//! methods are found by their name. Whatever is not in this table can't be asked.

use super::authorization::Admission;
use crate::access::Permission;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident => $permission:ident,)*) => {
        /// Something that can be asked. The names of those that gRPC offers are its methods' names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What the caller must be allowed.
            #[must_use]
            pub fn permission(self) -> Permission {
                match self {
                    $(Self::$name => Permission::$permission,)*
                }
            }

            /// The operation's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    ListServers => ServersList,
    GetServer => ServersView,
    CreateServer => ServersCreate,
    UpdateServer => ServersUpdate,
    DeleteServer => ServersDelete,
    TestConnection => ServersTest,
    AcceptHostKey => ServersUpdate,
    Bootstrap => ServersUpdate,
    RunPreflight => ServersPreflight,
    FixServer => ServersUpdate,
    RefreshFacts => ServersTest,
    GetSummary => MonitoringView,
    /// Its figures need [`Permission::MonitoringView`] besides.
    WatchServer => ServersView,
    GetServerMetrics => MonitoringView,
    GetContainerMetrics => MonitoringView,
    /// The link may do what [`Permission::ServersView`] allows as well.
    GetMonitoringUrl => MonitoringView,
    ListMetrics => MonitoringView,
    QuerySeries => MonitoringView,
    WatchSeries => MonitoringView,
    /// Its figures and forecast need [`Permission::MonitoringView`] besides.
    GetStats => ServersView,
    /// Each event needs the permission of its kind besides.
    WatchEvents => ServersView,
    CreateJoinToken => JoinTokensCreate,
    ListJoinTokens => JoinTokensList,
    RevokeJoinToken => JoinTokensRevoke,
    RebootServer => ServersUpdate,
    StopServer => ServersUpdate,
    StartServer => ServersUpdate,
    GetHardening => ServersView,
    /// The host's own policy must allow it besides.
    Harden => ServersSecure,
    GetCommand => CommandsView,
    WatchCommand => CommandsView,
    ListCommands => CommandsList,
    /// What its task needs for one server besides.
    CreateFleetRun => ServersPreflight,
    ListFleetRuns => CommandsList,
    GetFleetRun => CommandsView,
    WatchFleetRun => CommandsView,
    CancelFleetRun => CommandsCancel,
    CancelCommand => CommandsCancel,
    SecureServer => ServersSecure,
    RevokeAgent => ServersSecure,
    ReleaseQuarantine => ServersSecure,
    SetSshPassword => ServersUpdate,
    SetSshKey => ServersUpdate,
    CreateSshKeyPair => SshKeysCreate,
    ListSshKeyPairs => SshKeysList,
    GetSshKeyPair => SshKeysList,
    UpdateSshKeyPair => SshKeysUpdate,
    DeleteSshKeyPair => SshKeysDelete,
    /// It makes a key pair as well: [`Permission::SshKeysCreate`] besides.
    RotateSshKeyPair => ServersSecure,
    GetSshKeyRotation => SshKeysList,
    WatchSshKeyRotation => SshKeysList,
    GetKeyring => KeyringView,
    RotateKeyring => KeyringRotate,
    RetireKeyringKey => KeyringRotate,
    ListProjects => ProjectsList,
    GetProject => ProjectsView,
    CreateProject => ProjectsCreate,
    UpdateProject => ProjectsUpdate,
    DeleteProject => ProjectsDelete,
    ListProjectMembers => ProjectsMembers,
    AddProjectMember => ProjectsMembers,
    RemoveProjectMember => ProjectsMembers,
    ListEnvironments => EnvironmentsList,
    GetEnvironment => EnvironmentsView,
    CreateEnvironment => EnvironmentsCreate,
    /// Moving one too.
    UpdateEnvironment => EnvironmentsUpdate,
    DeleteEnvironment => EnvironmentsDelete,
    MigrateEnvironments => EnvironmentsUpdate,
    GetQuota => QuotaView,
    SetQuota => QuotaUpdate,
    GetMetricsRetention => MetricsRetentionView,
    SetMetricsRetention => MetricsRetentionUpdate,
    ReadOwnMetrics => MonitoringView,
    ExportMetrics => MonitoringView,
    ListAudit => AuditView,
    ExportAudit => AuditView,
    VerifyAudit => AuditView,
    GetOrganization => OrganizationView,
    UpdateOrganization => OrganizationUpdate,
    CreateOrganization => OrganizationCreate,
    ListMembers => MembersList,
    AddMember => MembersAdd,
    UpdateMember => MembersUpdate,
    RemoveMember => MembersRemove,
    ListUsers => UsersList,
    GetUser => UsersView,
    CreateUser => UsersCreate,
    UpdateUser => UsersUpdate,
    ResetUserTotp => UsersUpdate,
    DeleteUser => UsersDelete,
}

/// The gRPC methods that every user may call: they are about the caller.
const SIGNED_IN_METHODS: [&str; 7] = [
    "GetMe",
    "ListOrganizations",
    "ListApiTokens",
    "CreateApiToken",
    "RevokeApiToken",
    "GetLoginRequest",
    "ApproveLogin",
];

/// The gRPC methods that anybody may call: they give nothing away.
const PUBLIC_METHODS: [&str; 1] = ["BeginLogin"];

/// Who may call a gRPC method of `muster.v1.FleetService`; `None` for a method there is not.
#[must_use]
pub fn admission_of_grpc_method(method: &str) -> Option<Admission> {
    if SIGNED_IN_METHODS.contains(&method) {
        return Some(Admission::SignedIn);
    }
    if PUBLIC_METHODS.contains(&method) {
        return Some(Admission::Public);
    }
    Operation::of_grpc_method(method).map(Admission::Guarded)
}

impl Operation {
    /// The operation behind a gRPC method of `muster.v1.FleetService`.
    #[must_use]
    pub fn of_grpc_method(method: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.name() == method)
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::wire;
    use prost::Message as _;

    use super::*;

    /// Prometheus asks for these, and asks over HTTP alone.
    const OVER_REST_ALONE: [Operation; 2] = [Operation::ReadOwnMetrics, Operation::ExportMetrics];

    #[test]
    fn whatever_can_be_asked_over_rest_can_be_asked_over_grpc() {
        let files = prost_types::FileDescriptorSet::decode(wire::DESCRIPTORS).expect("descriptors");
        let services = files.file.iter().flat_map(|file| &file.service);
        let methods: Vec<_> = services.flat_map(|service| &service.method).map(|method| method.name()).collect();
        for operation in Operation::ALL.iter().filter(|operation| !OVER_REST_ALONE.contains(operation)) {
            assert!(methods.contains(&operation.name()), "{} is no method", operation.name());
        }
    }

    #[test]
    fn every_grpc_method_has_an_operation() {
        let files = prost_types::FileDescriptorSet::decode(wire::DESCRIPTORS).expect("descriptors");
        let services = files.file.iter().flat_map(|file| &file.service);
        let fleet = services.clone().find(|service| service.name() == "FleetService").expect("the service");
        assert!(fleet.method.len() >= 19);
        for method in &fleet.method {
            assert!(admission_of_grpc_method(method.name()).is_some(), "{} has no permission", method.name());
        }
    }
}
