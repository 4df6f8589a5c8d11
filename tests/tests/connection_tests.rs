//! `test-connection` and preflight over SSH, as a caller of the REST API meets them, against a real server without an
//! agent.

use anyhow::{Context as _, Result};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
    ssh_server::{Accepts, SshServer},
    wait,
};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

struct Stage {
    control_plane: ControlPlane,
    server: LabServer,
}

impl Stage {
    async fn set(release: Release) -> Result<Self> {
        let network = Network::create().await?;
        let server = LabServer::start(&network, release, Variant::Plain).await?;
        server.set_password("root", PASSWORD).await?;
        server.add_user("deploy", PASSWORD, Sudo::WithPassword).await?;
        server.add_user("guest", PASSWORD, Sudo::No).await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        Ok(Self { control_plane, server })
    }

    fn connection(&self, more: Value) -> Value {
        let mut body = json!({
            "name": "lab", "ipv4_address": self.server.address().to_string(), "ssh_username": "root",
            "ssh_password": PASSWORD,
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body
    }

    async fn tested(&self, more: Value) -> Result<Value> {
        self.control_plane.rest().post("/api/v1/vms/test-connection", &self.connection(more)).await
    }

    async fn saved(&self, more: Value) -> Result<String> {
        let vm = self.control_plane.rest().post("/api/v1/vms", &self.connection(more)).await?;
        Ok(vm["id"].as_str().context("an id")?.to_owned())
    }

    async fn tested_saved(&self, id: &str) -> Result<Value> {
        self.control_plane.rest().post(&format!("/api/v1/vms/{id}/test-connection"), &Value::Null).await
    }

    async fn replace_host_keys(&self) -> Result<()> {
        self.server.paste("rm /etc/ssh/ssh_host_*; ssh-keygen -A").await?;
        self.server.run(&["systemctl", "restart", "ssh"]).await.map(drop)
    }

    async fn left_behind(&self) -> Result<String> {
        self.server.run(&["find", "/tmp", "/var/tmp", "/root", "/home", "-name", "muster*"]).await
    }
}

#[tokio::test]
async fn a_test_before_saving_shows_the_host_and_leaves_nothing() -> Result<()> {
    let stage = Stage::set(Release::Bookworm).await?;
    let tested = stage.tested(json!({})).await?;
    assert_eq!(tested["status"], "success", "{tested}");
    assert_eq!(tested["message"], "Connection successful");
    assert_eq!(tested["vm_id"], Value::Null);
    assert_eq!(tested["host_key_fingerprint"], stage.server.host_key_fingerprint().await?);
    let detected = &tested["detected"];
    assert_eq!(detected["hostname"], stage.server.name());
    assert_eq!(detected["os_version"], stage.server.release().version());
    assert_eq!((&detected["is_root"], &detected["ssh_sudo_mode"]), (&json!(true), &json!("none")));
    assert_eq!(detected["docker_status"], "not_installed");
    for size in ["cpu_cores", "memory_gb", "disk_gb"] {
        assert!(detected[size].as_f64().is_some_and(|size| size > 0.0), "{size}: {detected}");
    }

    let tested = stage.tested(json!({ "ssh_username": "deploy" })).await?;
    let detected = &tested["detected"];
    assert_eq!((&detected["is_root"], &detected["sudo_available"]), (&json!(false), &json!(true)), "{tested}");
    assert_eq!(detected["ssh_sudo_mode"], "sudo");

    let tested = stage.tested(json!({ "ssh_username": "guest" })).await?;
    assert_eq!((&tested["status"], &tested["detected"]["sudo_available"]), (&json!("success"), &json!(false)));
    assert!(tested["remedy"].as_str().is_some_and(|remedy| remedy.contains("sudo")), "{tested}");
    let tested = stage.tested(json!({ "ssh_username": "guest", "ssh_sudo_mode": "sudo" })).await?;
    assert_eq!(tested["status"], "failed", "{tested}");

    assert_eq!(stage.left_behind().await?, "");
    assert_eq!(stage.control_plane.rest().get("/api/v1/vms").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn each_failure_has_its_word_and_its_remedy() -> Result<()> {
    let stage = Stage::set(Release::Trixie).await?;
    let cases = [
        (json!({ "ssh_password": "wrong" }), "auth_failed", "password"),
        (json!({ "ssh_port": 2222 }), "unreachable", "2222"),
        (json!({ "ipv4_address": null, "fqdn": "no-such-host.invalid" }), "unreachable", "resolves"),
        (json!({ "ipv4_address": "127.0.0.1" }), "failed", "address"),
        (json!({ "ssh_password": null, "ssh_private_key": "not a key" }), "auth_failed", "BEGIN"),
    ];
    for (more, status, remedy) in cases {
        let tested = stage.tested(more).await?;
        assert_eq!(tested["status"], status, "{tested}");
        assert!(tested["remedy"].as_str().is_some_and(|words| words.contains(remedy)), "{tested}");
        assert_eq!(tested["detected"], Value::Null);
    }

    let id = stage.saved(json!({ "ssh_password": "wrong" })).await?;
    assert_eq!(stage.tested_saved(&id).await?["status"], "auth_failed");
    assert_eq!(stage.control_plane.rest().get(&format!("/api/v1/vms/{id}")).await?["health_status"], "auth_failed");
    Ok(())
}

#[tokio::test]
async fn a_changed_host_key_stops_until_it_is_accepted() -> Result<()> {
    let stage = Stage::set(Release::Bullseye).await?;
    let id = stage.saved(json!({ "ssh_username": "deploy" })).await?;
    assert_eq!(
        stage.control_plane.rest().get(&format!("/api/v1/vms/{id}")).await?["ssh_host_key_fingerprint"],
        Value::Null
    );
    assert_eq!(stage.tested_saved(&id).await?["status"], "success");
    let first = stage.server.host_key_fingerprint().await?;
    let vm = stage.control_plane.rest().get(&format!("/api/v1/vms/{id}")).await?;
    assert_eq!(vm["ssh_host_key_fingerprint"], first.as_str());
    assert_eq!((&vm["ssh_sudo_mode"], &vm["os_version"]), (&json!("sudo"), &json!("11")));

    stage.replace_host_keys().await?;
    let second = stage.server.host_key_fingerprint().await?;
    let tested = stage.tested_saved(&id).await?;
    assert_eq!(tested["status"], "host_key_mismatch", "{tested}");
    assert_eq!(tested["expected_host_key_fingerprint"], first.as_str());
    assert_eq!(tested["host_key_fingerprint"], second.as_str());
    let vm = stage.control_plane.rest().get(&format!("/api/v1/vms/{id}")).await?;
    assert_eq!(vm["ssh_host_key_offered"], second.as_str());
    assert_eq!(stage.tested_saved(&id).await?["status"], "host_key_mismatch");

    let accept = json!({ "fingerprint": second });
    stage.control_plane.rest().post(&format!("/api/v1/vms/{id}/host-key"), &accept).await?;
    assert_eq!(stage.tested_saved(&id).await?["status"], "success");
    Ok(())
}

#[tokio::test]
async fn an_impostor_sees_no_credential() -> Result<()> {
    let stage = Stage::set(Release::Bookworm).await?;
    let genuine = stage.server.host_key_fingerprint().await?;
    let key =
        russh::keys::decode_secret_key(include_str!("../../control-plane/src/ssh/fixtures/rsa-openssh.pem"), None)?;
    let gateway = stage.server.network().gateway();
    let impostor = SshServer::start_on(gateway.into(), vec![key], Accepts::Nobody).await?;
    let tested = stage
        .tested(json!({
            "ipv4_address": gateway.to_string(), "ssh_port": impostor.port(), "ssh_host_key_fingerprint": genuine,
        }))
        .await?;
    assert_eq!(tested["status"], "host_key_mismatch", "{tested}");
    assert_eq!(tested["expected_host_key_fingerprint"], genuine.as_str());
    assert!(tested["host_key_fingerprint"].as_str().is_some_and(|shown| shown != genuine), "{tested}");
    assert!(tested["remedy"].as_str().is_some_and(|words| words.contains("do not accept")), "{tested}");
    assert_eq!(impostor.shown(), []);
    Ok(())
}

#[tokio::test]
async fn preflight_runs_where_no_agent_is() -> Result<()> {
    let stage = Stage::set(Release::Bookworm).await?;
    let id = stage.saved(json!({ "ssh_username": "deploy" })).await?;
    let events = stage.control_plane.rest().stream(&format!("/api/v1/vms/{id}/preflight"), None).await?;
    let events = events.all(SOON).await?;
    let status = |name: &str| {
        let checks = events.iter().filter(|event| event.name == "check");
        checks.map(|event| &event.data).find(|check| check["name"] == name).map(|check| check["status"].clone())
    };
    assert_eq!(status("ssh_connectivity"), Some(json!("passed")), "{events:?}");
    assert_eq!(status("root_access"), Some(json!("passed")), "{events:?}");
    assert_eq!(status("os_compatibility"), Some(json!("passed")), "{events:?}");
    assert_eq!(status("docker_installed"), Some(json!("failed")), "{events:?}");
    let last = events.last().context("events")?;
    assert_eq!(last.name, "complete");
    // The server's health is looked at as well now that something is known of it, by a binary of its own.
    wait::until("nothing of ours to be left there", SOON, || async {
        Ok(stage.left_behind().await?.is_empty().then_some(()))
    })
    .await
}

impl Stage {
    async fn shown(&self, id: &str) -> Result<Value> {
        self.control_plane.rest().get(&format!("/api/v1/vms/{id}")).await
    }

    async fn put(&self, id: &str, what: &str, body: Value) -> Result<(u16, Value)> {
        let path = format!("/api/v1/vms/{id}/{what}");
        let answer = self.control_plane.rest().call(http::Method::PUT, &path, Some(&body)).await?;
        Ok((answer.status.as_u16(), answer.body))
    }
}

#[tokio::test]
async fn a_login_is_replaced_by_one_that_works_and_by_no_other() -> Result<()> {
    const KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh.pem");
    const NEW_PASSWORD: &str = "battery staple";
    let stage = Stage::set(Release::Bookworm).await?;
    let id = stage.saved(json!({})).await?;
    assert_eq!(stage.tested_saved(&id).await?["status"], "success");
    let login = |vm: &Value| (vm["ssh_auth_method"].clone(), vm["ssh_username"].clone(), vm["ssh_key_pair_id"].clone());
    let before = login(&stage.shown(&id).await?);

    // The host does not know the key yet, nor the password: nothing changes, and the old login goes on.
    let (status, refused) = stage.put(&id, "ssh-key", json!({ "ssh_private_key": KEY })).await?;
    assert_eq!((status, &refused["code"]), (409, &json!("auth_failed")), "{refused}");
    let (status, refused) = stage.put(&id, "ssh-password", json!({ "ssh_password": NEW_PASSWORD })).await?;
    assert_eq!((status, &refused["code"]), (409, &json!("auth_failed")), "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.starts_with("nothing was changed")), "{refused}");
    assert_eq!(login(&stage.shown(&id).await?), before);
    assert_eq!(stage.tested_saved(&id).await?["status"], "success");

    let key = russh::keys::decode_secret_key(KEY, None)?;
    stage.server.authorize_key("root", &key.public_key().to_openssh()?).await?;
    let (status, vm) = stage.put(&id, "ssh-key", json!({ "ssh_private_key": KEY, "test_connection": true })).await?;
    assert_eq!((status, &vm["ssh_auth_method"]), (200, &json!("ssh_key")), "{vm}");
    assert_eq!(stage.tested_saved(&id).await?["status"], "success", "with the key");

    stage.server.set_password("root", NEW_PASSWORD).await?;
    let (status, vm) = stage.put(&id, "ssh-password", json!({ "ssh_password": NEW_PASSWORD })).await?;
    assert_eq!((status, &vm["ssh_auth_method"]), (200, &json!("password")), "{vm}");
    assert_eq!(stage.tested_saved(&id).await?["status"], "success", "with the new password");
    let entries = stage.control_plane.rest().get(&format!("/api/v1/audit?resource_id={id}")).await?;
    let actions: Vec<_> = entries.as_array().context("a list")?.iter().map(|entry| entry["action"].clone()).collect();
    for action in ["SERVER_SSH_KEY_UPDATED", "SERVER_SSH_PASSWORD_UPDATED", "SERVER_HOST_KEY_RECORDED"] {
        assert_eq!(actions.iter().filter(|it| *it == action).count(), 1, "{action}: {actions:?}");
    }
    assert!(!entries.to_string().contains(NEW_PASSWORD), "no secret is on record");
    Ok(())
}
