//! Who may do what, for every method of the service as its descriptor lists it: each role, in the organisation that owns the
//! things asked for and in another one. A method without a row in [`row`] fails.

use axum::body::Body;
use futures_util::future::join_all;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use prost_types::{DescriptorProto, MethodDescriptorProto};
use tonic::Code;
use tower::ServiceExt as _;

use super::{
    status::ERROR_CODE,
    tests::{code, framed, methods},
};
use crate::{
    access::Role,
    api::{
        authorization::Admission,
        operation::admission_of_grpc_method,
        test_world::{FINGERPRINT, NOBODY, TOKEN_SHA256, World},
    },
};

/// The texts to send to a method, by their fields' names, so that only the caller's rights decide; ids are those of the
/// world's organisation.
fn row<'a>(world: &'a World, method: &str) -> Option<Vec<(&'static str, &'a str)>> {
    let World { organization, server, project, environment, join_token, key_pair, user, api_token, .. } = world;
    Some(match method {
        "ListServers"
        | "CreateServer"
        | "WatchEvents"
        | "ListJoinTokens"
        | "ListAudit"
        | "ExportAudit"
        | "VerifyAudit"
        | "ListSshKeyPairs"
        | "GetKeyring"
        | "RotateKeyring"
        | "ListProjects"
        | "GetQuota"
        | "GetMetricsRetention"
        | "SetMetricsRetention"
        | "SetQuota"
        | "GetMe"
        | "ListOrganizations"
        | "ListMembers"
        | "ListUsers"
        | "ListApiTokens"
        | "QuerySeries"
        | "ListFleetRuns"
        | "CreateFleetRun" => {
            vec![]
        }
        "CreateSshKeyPair" | "CreateProject" | "CreateOrganization" | "CreateUser" | "CreateApiToken" => {
            vec![("name", "another")]
        }
        "GetServer" | "UpdateServer" | "TestConnection" | "Bootstrap" | "RunPreflight" | "RefreshFacts"
        | "GetSummary" | "WatchServer" | "GetStats" | "CreateJoinToken" | "RebootServer" | "StopServer"
        | "StartServer" | "ListCommands" | "RevokeAgent" | "ReleaseQuarantine" | "DeleteServer" | "SecureServer"
        | "GetServerMetrics" | "GetMonitoringUrl" | "ListMetrics" | "GetHardening" => {
            vec![("server", server)]
        }
        "FixServer" => vec![("server", server), ("actions", "start_docker")],
        "Harden" => vec![("server", server), ("mode", "plan")],
        "WatchSeries" => vec![("server", server), ("metrics", "host_load1")],
        "GetContainerMetrics" => vec![("server", server), ("container", "canary")],
        "AcceptHostKey" => vec![("server", server), ("fingerprint", FINGERPRINT)],
        "SetSshPassword" => vec![("server", server), ("ssh_password", "x")],
        "SetSshKey" => vec![("server", server), ("ssh_private_key", "x")],
        "RevokeJoinToken" => vec![("id", join_token)],
        "GetCommand" | "WatchCommand" | "CancelCommand" | "GetFleetRun" | "WatchFleetRun" | "CancelFleetRun" => {
            vec![("id", NOBODY)]
        }
        "GetSshKeyPair"
        | "UpdateSshKeyPair"
        | "DeleteSshKeyPair"
        | "RotateSshKeyPair"
        | "GetSshKeyRotation"
        | "WatchSshKeyRotation" => vec![("id", key_pair)],
        "RetireKeyringKey" => vec![("key_id", "k1")],
        "GetProject" | "UpdateProject" | "DeleteProject" | "ListProjectMembers" | "ListEnvironments" => {
            vec![("project", project)]
        }
        "AddProjectMember" | "RemoveProjectMember" => vec![("project", project), ("user_id", user)],
        "CreateEnvironment" => vec![("project", project), ("name", "another")],
        "GetEnvironment" | "UpdateEnvironment" | "DeleteEnvironment" => {
            vec![("project", project), ("environment", environment)]
        }
        "MigrateEnvironments" => vec![("server", server), ("target", NOBODY), ("environment_ids", environment)],
        "GetOrganization" | "UpdateOrganization" => vec![("id", organization)],
        "AddMember" => vec![("name", "nobody"), ("role", "member")],
        "UpdateMember" => vec![("user", user), ("role", "member")],
        "RemoveMember" | "GetUser" | "UpdateUser" | "ResetUserTotp" | "DeleteUser" => vec![("user", user)],
        "BeginLogin" => vec![("name", "another"), ("token_sha256", TOKEN_SHA256)],
        "GetLoginRequest" | "ApproveLogin" => vec![("request", "made-up")],
        "RevokeApiToken" => vec![("id", api_token)],
        _ => return None,
    })
}

/// What a call answered: its code, the error's word, and the bytes of what is no stream.
struct Answered {
    code: Code,
    word: String,
    bytes: Vec<u8>,
}

impl Answered {
    fn is_denied(&self) -> bool {
        self.code == Code::PermissionDenied && self.word == "permission_denied"
    }
}

async fn ask(
    world: &World,
    token: &str,
    (method, message): &(MethodDescriptorProto, DescriptorProto),
    organization: Option<&str>,
) -> Answered {
    let name = method.name();
    let row = row(world, name).unwrap_or_else(|| panic!("no row for {name}"));
    let number = |field: &str| {
        let found = message.field.iter().find(|known| known.name() == field);
        found.unwrap_or_else(|| panic!("{name} has no field {field}")).number()
    };
    let fields: Vec<_> = row.iter().map(|(field, text)| (number(field), *text)).collect();
    let request = Request::builder()
        .method("POST")
        .uri(format!("http://fleet.example.com:8443/muster.v1.FleetService/{name}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"));
    let request = organization.into_iter().fold(request, |request, id| request.header("x-organization-id", id));
    let request = request.body(Body::from(framed(&fields))).expect("a request");
    let response = world.api.router.clone().oneshot(request).await.expect("an answer");
    let answered = |trailers: &HeaderMap, bytes| {
        let word = trailers.get(ERROR_CODE).and_then(|word| word.to_str().ok()).unwrap_or_default().to_owned();
        trailers.get("grpc-status").map(|status| Answered { code: code(status), word, bytes })
    };
    if let Some(refused) = answered(response.headers(), Vec::new()) {
        return refused;
    }
    if method.server_streaming() {
        return Answered { code: Code::Ok, word: String::new(), bytes: Vec::new() };
    }
    let collected = response.into_body().collect().await.expect("a body");
    let trailers = collected.trailers().cloned().expect("a status");
    answered(&trailers, collected.to_bytes().to_vec()).expect("a status")
}

async fn walk_as(role: Role) {
    let world = World::new().await;
    let token = world.token(&world.api.owner, "caller", role).await;
    for method in &methods() {
        let name = method.0.name();
        let answered = ask(&world, &token, method, None).await;
        let may = match admission_of_grpc_method(name).unwrap_or_else(|| panic!("{name} is not in the table")) {
            Admission::Guarded(operation) => role.allows(operation.permission()),
            Admission::SignedIn | Admission::Public => true,
        };
        assert_ne!(answered.code, Code::Unauthenticated, "{name} as {role:?}");
        assert_eq!(!answered.is_denied(), may, "{name} as {role:?}: {:?} {}", answered.code, answered.word);
        assert!(!matches!(answered.code, Code::Internal | Code::Unknown), "{name} as {role:?}");
    }
}

#[tokio::test]
async fn in_its_own_organization_a_role_may_call_what_its_permissions_say() {
    join_all(Role::ALL.into_iter().map(walk_as)).await;
}

#[tokio::test]
async fn in_another_organization_no_role_sees_or_changes_anything_over_grpc() {
    let world = World::new().await;
    let stranger = world.api.stranger().await;
    let mut callers = vec![(Role::Owner, stranger.clone())];
    for role in Role::ALL {
        callers.push((role, world.token(&stranger, &format!("stranger-{}", role.as_str()), role).await));
    }
    let before = world.changes().await;
    let methods = methods();
    for (role, token) in &callers {
        for method in &methods {
            let name = method.0.name();
            let names_a_thing = row(&world, name).is_some_and(|row| row.iter().any(|(field, _)| *field != "name"));
            for organization in [None, Some(world.organization.as_str())] {
                let answered = ask(&world, token, method, organization).await;
                let place = format!("{name} as {role:?} in {organization:?}: {:?} {}", answered.code, answered.word);
                let text = String::from_utf8_lossy(&answered.bytes);
                for secret in world.secrets() {
                    assert!(!text.contains(secret), "{secret} leaks from {place}");
                }
                let is_closed = admission_of_grpc_method(name) != Some(Admission::Public);
                if is_closed && (names_a_thing || organization.is_some()) {
                    assert!(matches!(answered.code, Code::NotFound | Code::PermissionDenied), "{place}");
                }
            }
        }
    }
    assert_eq!(world.changes().await, before, "something was changed from outside");
    println!("{} methods x {} callers of another organization: 0 leaks", methods.len(), callers.len());
}
