//! Every method of the service as its descriptor lists it: who gets in, and what the others may see.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use muster_shared::wire;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, MethodDescriptorProto};
use serde_json::json;
use tonic::Code;
use tower::ServiceExt as _;

use crate::api::{authorization::Admission, operation::admission_of_grpc_method, test_api::Api};

const FINGERPRINT: &str = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";

/// The methods and the messages they take.
pub(super) fn methods() -> Vec<(MethodDescriptorProto, DescriptorProto)> {
    let files = FileDescriptorSet::decode(wire::DESCRIPTORS).expect("descriptors");
    let services = files.file.iter().flat_map(|file| &file.service);
    let fleet = services.clone().find(|service| service.name() == "FleetService").expect("the service");
    let messages: Vec<_> = files.file.iter().flat_map(|file| &file.message_type).collect();
    let takes = |method: &MethodDescriptorProto| {
        let name = method.input_type().rsplit('.').next().unwrap_or_default();
        messages.iter().find(|message| message.name() == name).map(|message| (*message).clone()).expect("a message")
    };
    fleet.method.iter().map(|method| (method.clone(), takes(method))).collect()
}

/// A message whose fields `fields` are these texts, framed as gRPC frames it.
pub(super) fn framed(fields: &[(i32, &str)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, text) in fields {
        message.push((u8::try_from(*number).expect("a small number") << 3) | 2);
        message.push(u8::try_from(text.len()).expect("a short text"));
        message.extend(text.as_bytes());
    }
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0], length.as_slice(), message.as_slice()].concat()
}

async fn call(api: &Api, method: &str, token: Option<&str>, body: Vec<u8>) -> (Code, Vec<u8>) {
    let (code, body) = api.call_grpc(token, method, body).await;
    (code, if code == Code::Ok { body } else { Vec::new() })
}

pub(super) fn code(status: &http::HeaderValue) -> Code {
    Code::from(status.to_str().expect("digits").parse::<i32>().expect("a number"))
}

#[tokio::test]
async fn nobody_gets_in_without_a_valid_token() {
    let api = Api::open().await;
    let closed = |name: &str| admission_of_grpc_method(name) != Some(Admission::Public);
    let closed: Vec<_> = methods().into_iter().filter(|(method, _)| closed(method.name())).collect();
    assert_eq!(closed.len() + 1, methods().len(), "only asking to be signed in is anybody's");
    for (method, _) in closed {
        for token in [None, Some("mst_00"), Some(&"x".repeat(5_000)[..])] {
            let (code, _) = call(&api, method.name(), token, framed(&[])).await;
            assert_eq!(code, Code::Unauthenticated, "{}", method.name());
        }
    }
    assert_eq!(call(&api, "DropEverything", None, framed(&[])).await.0, Code::Unimplemented);
}

#[tokio::test]
async fn another_organization_s_things_are_not_there() {
    let api = Api::open().await;
    let server = api.make_server("web-1").await;
    let id = server["id"].as_str().expect("an id");
    let stranger = api.stranger().await;
    let mut walked = 0;
    for (method, message) in methods() {
        let names_one =
            |field: &&prost_types::FieldDescriptorProto| matches!(field.name(), "server" | "id" | "project" | "user");
        let Some(field) = message.field.iter().find(names_one) else { continue };
        if method.name() == "CreateJoinToken" {
            continue;
        }
        for reference in [id, "web-1"] {
            let mut fields = vec![(field.number(), reference)];
            if method.name() == "AcceptHostKey" {
                fields.push((2, FINGERPRINT));
            }
            let (code, _) = call(&api, method.name(), Some(&stranger), framed(&fields)).await;
            assert_eq!(code, Code::NotFound, "{}", method.name());
        }
        walked += 1;
    }
    assert!(walked >= 14, "{walked}");
    let (code, body) = call(&api, "CreateJoinToken", Some(&stranger), framed(&[(4, id)])).await;
    assert_eq!((code, body), (Code::NotFound, Vec::new()));
    let (code, body) = call(&api, "ListServers", Some(&stranger), framed(&[])).await;
    assert_eq!((code, body.len()), (Code::Ok, 5), "an empty list");
}

#[tokio::test]
async fn a_call_acts_in_the_organization_its_metadata_names() {
    let api = Api::open().await;
    let org = api.app.access.authenticate(&api.owner, api.app.clock.now_us()).await.expect("the owner").org_id;
    for (named, expected) in [
        (org.to_string(), Code::Ok),
        (muster_shared::id::OrgId::generate().to_string(), Code::NotFound),
        ("Acme".to_owned(), Code::NotFound),
    ] {
        for method in ["ListServers", "ListMembers", "GetMe", "ListApiTokens"] {
            let request = Request::builder()
                .method("POST")
                .uri(format!("http://fleet.example.com/muster.v1.FleetService/{method}"))
                .header("content-type", "application/grpc")
                .header("authorization", format!("Bearer {}", api.owner))
                .header("x-organization-id", &named)
                .body(Body::from(framed(&[])));
            let response = api.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
            let status = match response.headers().get("grpc-status").cloned() {
                Some(status) => status,
                None => {
                    let collected = response.into_body().collect().await.expect("a body");
                    collected.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned().expect("a status")
                }
            };
            assert_eq!(code(&status), expected, "{method} in {named}");
        }
    }
}

#[tokio::test]
async fn people_over_grpc_read_like_people_over_rest() {
    let api = Api::open().await;
    let user = framed(&[(1, "ada"), (2, "ada@example.com"), (3, "for the first time"), (4, "admin")]);
    let (status, body) = call(&api, "CreateUser", Some(&api.owner), user).await;
    assert_eq!(status, Code::Ok);
    let grpc = crate::api::model::user::User::from(wire::User::decode(&body[5..]).expect("a user"));
    let (_, rest) = api.call("GET", "/api/v1/users/ada", &json!(null)).await;
    assert_eq!(serde_json::to_value(grpc).expect("JSON"), rest);
    let (status, body) =
        call(&api, "CreateApiToken", Some(&api.owner), framed(&[(1, "t"), (3, "org.servers.list")])).await;
    assert_eq!(status, Code::Ok);
    let token = wire::CreateApiTokenResponse::decode(&body[5..]).expect("a token").token;
    assert_eq!(call(&api, "ListServers", Some(&token), framed(&[])).await.0, Code::Ok);
    assert_eq!(call(&api, "ListUsers", Some(&token), framed(&[])).await.0, Code::PermissionDenied);
    let (status, _) = call(&api, "UpdateMember", Some(&api.owner), framed(&[(1, "ada"), (2, "member")])).await;
    assert_eq!(status, Code::Ok);
    assert_eq!(call(&api, "DeleteUser", Some(&api.owner), framed(&[(1, "ada")])).await.0, Code::Ok);
    assert_eq!(call(&api, "GetUser", Some(&api.owner), framed(&[(1, "ada")])).await.0, Code::NotFound);
}

#[tokio::test]
async fn rest_and_grpc_show_the_same_server() {
    let api = Api::open().await;
    let rest = api.make_server("web-1").await;
    let (code, body) = call(&api, "GetServer", Some(&api.owner), framed(&[(1, "web-1")])).await;
    assert_eq!(code, Code::Ok);
    let grpc = wire::Server::decode(&body[5..]).expect("a server");
    let grpc = serde_json::to_value(crate::api::model::server::Vm::from(grpc)).expect("JSON");
    assert_eq!(grpc, rest);
}

#[tokio::test]
async fn reflection_and_health_answer_everybody() {
    let api = Api::open().await;
    for service in ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"] {
        let request = Request::builder()
            .method("POST")
            .uri(format!("/{service}/ServerReflectionInfo"))
            .header("content-type", "application/grpc")
            // list_services = 7
            .body(Body::from(framed(&[(7, "*")])));
        let response = api.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("muster.v1.FleetService") && text.contains("grpc.health.v1.Health"), "{service}");
        assert!(!text.contains("LinkService"), "the agents' services are not everybody's business");
    }
    let request = Request::builder()
        .method("POST")
        .uri("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(Body::from(framed(&[(1, "muster.v1.FleetService")])));
    let response = api.router.clone().oneshot(request.expect("a request")).await.expect("an answer");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    // HealthCheckResponse { status: SERVING }
    assert_eq!(&body[5..], [8, 1]);
    assert_eq!(api.call("GET", "/healthz", &json!(null)).await.0, http::StatusCode::OK);
}
