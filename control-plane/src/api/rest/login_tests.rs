//! Logins and key pairs over REST: what does not work changes nothing, and what is secret is shown once.

use http::StatusCode;
use serde_json::{Value, json};

use super::tests::code;
use crate::api::test_api::Api;

#[tokio::test]
async fn a_login_that_does_not_work_changes_nothing() {
    let api = Api::open().await;
    let body = json!({ "name": "web-1", "ipv4_address": "127.0.0.1", "ssh_password": "correct horse" });
    let (status, made) = api.call("POST", "/api/v1/vms", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let id = made["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let org = made["organization_id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let kept = async || {
        let row = api.app.store.server_row(org, id).await.expect("read").expect("there");
        (row.auth, row.revision, api.call("GET", "/api/v1/vms/web-1", &Value::Null).await.1)
    };
    let before = kept().await;
    // Addresses of the control plane itself are not dialled, so no login can work there.
    let body = json!({ "ssh_password": "another" });
    let (status, refused) = api.call("PUT", "/api/v1/vms/web-1/ssh-password", &body).await;
    assert_eq!((status, code(&refused)), (StatusCode::CONFLICT, "failed"), "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.starts_with("nothing was changed")), "{refused}");
    let pem = include_str!("../../ssh/fixtures/ed25519-openssh.pem");
    let body = json!({ "ssh_private_key": pem, "test_connection": true });
    let (status, refused) = api.call("PUT", "/api/v1/vms/web-1/ssh-key", &body).await;
    assert_eq!((status, code(&refused)), (StatusCode::CONFLICT, "failed"), "{refused}");
    for (body, expected) in [
        (json!({}), "no_ssh_credentials"),
        (json!({ "ssh_private_key": "no key" }), "ssh_key_unreadable"),
        (json!({ "ssh_private_key": pem, "ssh_key_pair_id": made["id"] }), "contradiction"),
    ] {
        let (status, refused) = api.call("PUT", "/api/v1/vms/web-1/ssh-key", &body).await;
        assert_eq!((status, code(&refused)), (StatusCode::UNPROCESSABLE_ENTITY, expected), "{refused}");
    }
    assert_eq!(kept().await, before);
    let body = json!({ "ssh_private_key": pem, "test_connection": false });
    let (status, changed) = api.call("PUT", "/api/v1/vms/web-1/ssh-key", &body).await;
    assert_eq!((status, &changed["ssh_auth_method"]), (StatusCode::OK, &json!("ssh_key")), "{changed}");
}

#[tokio::test]
async fn a_key_pair_is_shown_once_and_used_by_its_id() {
    let api = Api::open().await;
    let org = api.make_server("web-1").await["organization_id"].as_str().expect("an id").to_owned();
    let keys = format!("/api/v1/organizations/{org}/ssh-keys");
    let body = json!({
        "name": "production-servers", "description": "Key for all production servers", "key_type": "ed25519"
    });
    let (status, made) = api.call("POST", &keys, &body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert!(made["public_key"].as_str().is_some_and(|key| key.starts_with("ssh-ed25519 AAAA")), "{made}");
    assert!(made["fingerprint"].as_str().is_some_and(|print| print.starts_with("SHA256:")), "{made}");
    let private = made["private_key"].as_str().expect("shown once");
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    let body = json!({ "name": "web-2", "ipv4_address": "203.0.113.11", "ssh_key_pair_id": made["id"] });
    let (status, server) = api.call("POST", "/api/v1/vms", &body).await;
    assert_eq!((status, &server["ssh_key_pair_id"]), (StatusCode::CREATED, &made["id"]), "{server}");
    assert_eq!(server["ssh_auth_method"], "ssh_key");
    let one = format!("{keys}/{}", made["id"].as_str().expect("an id"));
    let (_, shown) = api.call("GET", &one, &Value::Null).await;
    assert_eq!((&shown["used_by"], &shown["age_days"], &shown["rotation_due"]), (&json!(1), &json!(0), &json!(false)));
    assert_eq!((shown.get("private_key"), &shown["fingerprint"]), (None, &made["fingerprint"]));
    assert_eq!(shown["has_rotation"], false);
    let (status, refused) = api.call("DELETE", &one, &Value::Null).await;
    assert_eq!((status, code(&refused)), (StatusCode::CONFLICT, "key_pair_in_use"));
    let (status, _) = api
        .call(
            "PUT",
            "/api/v1/vms/web-2/ssh-password",
            &json!({
                "ssh_password": "another", "test_connection": false
            }),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(api.call("PATCH", &one, &json!({ "name": "old" })).await.1["name"], "old");
    assert_eq!(api.call("DELETE", &one, &Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(api.call("GET", &keys, &Value::Null).await.1, json!([]));
    let body = json!({ "name": "x", "private_key": include_str!("../../ssh/fixtures/rsa-pkcs1.pem") });
    let (status, refused) = api.call("POST", &keys, &body).await;
    assert_eq!((status, code(&refused)), (StatusCode::UNPROCESSABLE_ENTITY, "ssh_key_weak"), "{refused}");
}
