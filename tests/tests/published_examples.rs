//! Every published example of the server API, one after the other, against a running control plane with real servers
//! behind it: each answer has at least the fields that were published, with their types and status words.

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{Ending, LabServer, Network, Release, Variant},
    patience::SOON,
    rest::Rest,
    wait,
};
use russh::keys::decode_secret_key;
use serde_json::{Value, json};

const KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh.pem");
const ENCRYPTED_KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh-encrypted.pem");
const PASSPHRASE: &str = "open sesame";
const PASSWORD: &str = "new-secure-password";

/// Published status words, by the field that carries them.
const WORDS: [(&str, &[&str]); 5] = [
    ("status", &["pending", "running", "stopped", "error", "success", "deleted"]),
    ("health_status", &["healthy", "degraded", "unhealthy", "unknown", "auth_failed", "unreachable"]),
    ("ssh_auth_method", &["ssh_key", "password"]),
    ("ssh_sudo_mode", &["auto", "none", "sudo"]),
    ("qualification_status", &["qualified", "needs_setup", "unqualified", "stale", "expired"]),
];

/// What `answer` lacks of the published `example`: fields, types, words. An example's `null` stands for any type.
fn missing(example: &Value, answer: &Value, place: &str) -> Vec<String> {
    match (example, answer) {
        (Value::Object(fields), Value::Object(found)) => fields
            .iter()
            .flat_map(|(name, example)| {
                let place = format!("{place}.{name}");
                let Some(value) = found.get(name) else { return vec![format!("{place} is not there")] };
                let words = WORDS.iter().find(|(field, _)| field == name).map(|(_, words)| *words);
                let unknown = words.zip(value.as_str()).filter(|(words, word)| !words.contains(word));
                let unknown = unknown.map(|(_, word)| format!("{place} says {word:?}"));
                unknown.into_iter().chain(missing(example, value, &place)).collect()
            })
            .collect(),
        (Value::Array(examples), Value::Array(found)) => match (examples.first(), found.first()) {
            (Some(example), Some(value)) => missing(example, value, &format!("{place}[0]")),
            (Some(_), None) => vec![format!("{place} is empty")],
            (None, _) => Vec::new(),
        },
        (Value::Null, _) | (Value::Bool(_), Value::Bool(_)) | (Value::Number(_), Value::Number(_)) => Vec::new(),
        (Value::String(_), Value::String(_)) => Vec::new(),
        (example, value) => vec![format!("{place} is {value}, like {example} was published")],
    }
}

struct Walk {
    rest: Rest,
    walked: Vec<String>,
}

impl Walk {
    /// Makes the call, which must succeed with something like `example`.
    async fn like(&mut self, method: Method, path: &str, body: Option<Value>, example: Value) -> Result<Value> {
        let answer = self.rest.call(method.clone(), path, body.as_ref()).await?;
        ensure!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.text);
        let missing = missing(&example, &answer.body, "");
        ensure!(missing.is_empty(), "{method} {path}: {missing:#?} in {}", answer.text);
        self.walked.push(format!("{method} {path}"));
        Ok(answer.body)
    }

    async fn refused(&mut self, method: Method, path: &str, status: StatusCode) -> Result<String> {
        let answer = self.rest.call(method.clone(), path, None).await?;
        ensure!(answer.status == status, "{method} {path}: {} {}", answer.status, answer.text);
        self.walked.push(format!("{method} {path} refused"));
        Ok(answer.body["detail"].as_str().context("a detail")?.to_owned())
    }
}

fn id(value: &Value) -> Result<String> {
    Ok(value["id"].as_str().context("an id")?.to_owned())
}

fn listed_server() -> Value {
    json!({
        "id": "", "name": "", "organization_id": "", "organization_name": "", "provider": "", "region": "",
        "status": "running", "connection_host": "", "ssh_port": 22, "ssh_username": "root",
        "ssh_auth_method": "ssh_key", "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "environment_count": 6,
        "running_environment_count": 5, "health_status": "healthy", "docker_status": "running", "created_at": ""
    })
}

async fn servers(network: &Network) -> Result<(LabServer, LabServer)> {
    let start = |variant| LabServer::start(network, Release::Bookworm, variant);
    let (one, two) = tokio::try_join!(start(Variant::Docker), start(Variant::Plain))?;
    for server in [&one, &two] {
        for (key, passphrase) in [(KEY, None), (ENCRYPTED_KEY, Some(PASSPHRASE))] {
            server.authorize_key("root", &decode_secret_key(key, passphrase)?.public_key().to_openssh()?).await?;
        }
        server.set_password("root", PASSWORD).await?;
    }
    Ok((one, two))
}

fn new_server(organization: &Value, name: &str, server: &LabServer) -> Value {
    json!({
        "organization_id": organization, "name": name, "provider": "custom", "region": "Frankfurt",
        "ipv4_address": server.address().to_string(), "connection_host_type": "auto", "ssh_port": 22,
        "ssh_username": "root", "ssh_auth_method": "ssh_key", "ssh_private_key": KEY, "ssh_sudo_mode": "auto",
        "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "max_projects": 8
    })
}

#[tokio::test]
async fn every_published_example_answers_as_published() -> Result<()> {
    let network = Network::create().await?;
    let (one, two) = servers(&network).await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let mut walk = Walk { rest: control_plane.rest().clone(), walked: Vec::new() };
    let organization = control_plane.rest().get("/api/v1/audit").await?[0]["organization_id"].clone();

    let made = json!({
        "id": "", "name": "", "organization_id": "", "status": "running", "health_status": "unknown",
        "connection_host": "", "ssh_auth_method": "ssh_key", "created_at": ""
    });
    let body = new_server(&organization, "production-server-1", &one);
    let created = walk.like(Method::POST, "/api/v1/vms", Some(body), made.clone()).await?;
    assert_eq!((&created["status"], &created["health_status"]), (&json!("running"), &json!("unknown")));
    assert_eq!(created["connection_host"], one.address().to_string());
    let vm = format!("/api/v1/vms/{}", id(&created)?);
    let body = new_server(&organization, "production-server-2", &two);
    let second = walk.like(Method::POST, "/api/v1/vms", Some(body), made).await?;

    let tested = json!({
        "vm_id": "", "status": "success", "message": "", "detected": {
            "hostname": "", "os_type": "", "os_version": "", "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160,
            "docker_status": "running", "docker_version": "24.0.7", "is_root": true, "sudo_available": true,
            "ssh_sudo_mode": "none"
        }
    });
    for server in [&created, &second] {
        let path = format!("/api/v1/vms/{}/test-connection", id(server)?);
        let mut example = tested.clone();
        if server == &second {
            example["detected"]["docker_version"] = Value::Null;
        }
        walk.like(Method::POST, &path, None, example).await?;
    }
    environments(&mut walk, &vm, &id(&created)?, &id(&second)?).await?;
    credentials(&mut walk, &vm).await?;
    preflight(&mut walk, &control_plane, &vm).await?;
    secure(&mut walk, &vm).await?;
    reading(&mut walk, &vm, &organization).await?;

    let patch = json!({ "name": "production-server-1-updated", "cpu_cores": 8, "memory_gb": 16, "max_projects": 12 });
    let changed = walk.like(Method::PATCH, &vm, Some(patch), listed_server()).await?;
    assert_eq!((&changed["cpu_cores"], &changed["max_projects"]), (&json!(8), &json!(12)));
    shared_key(&mut walk, organization.as_str().context("an id")?).await?;

    let deleted = walk.like(Method::DELETE, &vm, None, json!({ "message": "" })).await?;
    assert_eq!(deleted["message"], "Server deleted successfully");
    walk.refused(Method::GET, &vm, StatusCode::NOT_FOUND).await?;
    for action in ["SERVER_CREATED", "SERVER_UPDATED", "SERVER_DELETED"] {
        let path = format!("/api/v1/audit?resource_type=server&action={action}");
        let entries = walk.like(Method::GET, &path, None, json!([{ "action": "", "resource_id": "" }])).await?;
        assert_eq!(entries[0]["action"], action);
    }
    with_an_agent(&mut walk, &control_plane, &network).await?;
    println!("{} published calls answered:\n{}", walk.walked.len(), walk.walked.join("\n"));
    Ok(())
}

/// A key pair of the organisation's, and a server that is entered with it.
async fn shared_key(walk: &mut Walk, organization: &str) -> Result<()> {
    let key =
        json!({ "name": "production-servers", "description": "Key for all production servers", "key_type": "ed25519" });
    let pair = json!({
        "id": "", "name": "", "public_key": "ssh-ed25519 …", "private_key": "", "fingerprint": "", "created_at": ""
    });
    let path = format!("/api/v1/organizations/{organization}/ssh-keys");
    let pair = walk.like(Method::POST, &path, Some(key), pair).await?;
    let begins = |field: &str, with: &str| pair[field].as_str().is_some_and(|text| text.starts_with(with));
    assert!(begins("public_key", "ssh-ed25519 "), "{pair}");
    assert!(begins("private_key", "-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert!(begins("fingerprint", "SHA256:"), "{pair}");
    let body = json!({
        "organization_id": organization, "name": "production-server-3", "provider": "custom", "region": "Frankfurt",
        "ipv4_address": "203.0.113.10", "ssh_username": "root", "ssh_key_pair_id": pair["id"]
    });
    let made = json!({ "id": "", "name": "", "connection_host": "203.0.113.10", "ssh_auth_method": "ssh_key" });
    let third = walk.like(Method::POST, "/api/v1/vms", Some(body), made).await?;
    assert_eq!(third["ssh_auth_method"], "ssh_key");
    Ok(())
}

/// Environments on a server, moved one by one and together, and what they keep from being deleted.
async fn environments(walk: &mut Walk, vm: &str, first: &str, second: &str) -> Result<()> {
    let project = json!({ "name": "E-commerce Shop", "slug": "ecommerce-shop", "odoo_version": "17.0" });
    let shown = json!({ "id": "", "name": "", "slug": "", "odoo_version": "" });
    let project = walk.like(Method::POST, "/api/v1/projects", Some(project), shown.clone()).await?;
    let path = format!("/api/v1/projects/{}/environments", id(&project)?);
    let example = json!({
        "id": "", "name": "", "environment_type": "production", "status": "running", "domain": "", "port": 8069,
        "container_id": "", "cpu_cores": 1.0, "ram_mb": 2048, "disk_gb": 40, "project": shown
    });
    let mut made = Vec::new();
    for name in ["production", "staging", "development"] {
        let body = json!({
            "name": name, "environment_type": name, "domain": format!("{name}.example.com"), "port": 8069,
            "container_id": format!("odoo_{name}_abc123"), "cpu_cores": 1.0, "ram_mb": 2048, "disk_gb": 40, "vm_id": first
        });
        made.push(id(&walk.like(Method::POST, &path, Some(body), example.clone()).await?)?);
    }
    walk.like(Method::GET, &format!("{vm}/environments"), None, json!([example])).await?;
    let refusal = walk.refused(Method::DELETE, vm, StatusCode::CONFLICT).await?;
    ensure!(refusal.contains("3 active environment(s)"), "{refusal}");
    let moved = json!({ "vm_id": second });
    let moved = walk.like(Method::PUT, &format!("{path}/{}", made[0]), Some(moved), example).await?;
    assert_eq!(moved["vm_id"], second);
    let body = json!({ "target_vm_id": second, "environment_ids": &made[1..] });
    walk.like(Method::POST, &format!("{vm}/migrate"), Some(body), json!({})).await?;
    let left = walk.like(Method::GET, &format!("{vm}/environments"), None, json!([])).await?;
    assert_eq!(left, json!([]));
    Ok(())
}

/// From the password to a key of the server's own.
async fn secure(walk: &mut Walk, vm: &str) -> Result<()> {
    let body = json!({ "ssh_password": PASSWORD, "test_connection": true });
    walk.rest.call(Method::PUT, &format!("{vm}/ssh-password"), Some(&body)).await?;
    let example = json!({
        "message": "", "vm_id": "", "previous_auth_method": "password", "new_auth_method": "ssh_key",
        "key_verified": true, "password_cleared": true, "server_password_auth_disabled": false, "private_key": "",
        "public_key": "", "key_type": "ed25519"
    });
    let body = json!({ "disable_password_auth": false });
    let secured = walk.like(Method::POST, &format!("{vm}/secure"), Some(body), example.clone()).await?;
    for field in ["previous_auth_method", "new_auth_method", "key_verified", "password_cleared", "key_type"] {
        assert_eq!(secured[field], example[field], "{field}");
    }
    assert_eq!(secured["message"], "Server successfully secured with SSH key authentication");
    assert!(
        secured["private_key"].as_str().is_some_and(|key| key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"))
    );
    assert!(secured["public_key"].as_str().is_some_and(|key| key.starts_with("ssh-ed25519 AAAAC3Nz")));
    assert_eq!(walk.rest.get(vm).await?["ssh_auth_method"], "ssh_key");
    Ok(())
}

/// The password, then a key with a passphrase, then the key, each tried before it is kept.
async fn credentials(walk: &mut Walk, vm: &str) -> Result<()> {
    let body = json!({ "ssh_password": PASSWORD, "test_connection": true });
    walk.like(Method::PUT, &format!("{vm}/ssh-password"), Some(body), json!({})).await?;
    assert_eq!(walk.rest.get(vm).await?["ssh_auth_method"], "password");
    let body = json!({ "ssh_private_key": ENCRYPTED_KEY, "ssh_key_passphrase": PASSPHRASE, "test_connection": true });
    walk.like(Method::PUT, &format!("{vm}/ssh-key"), Some(body), json!({})).await?;
    let body = json!({ "ssh_private_key": KEY, "test_connection": true });
    walk.like(Method::PUT, &format!("{vm}/ssh-key"), Some(body), json!({})).await?;
    assert_eq!(walk.rest.get(vm).await?["ssh_auth_method"], "ssh_key");
    Ok(())
}

async fn preflight(walk: &mut Walk, control_plane: &ControlPlane, vm: &str) -> Result<()> {
    let events = control_plane.rest().stream(&format!("{vm}/preflight"), None).await?.all(SOON).await?;
    let examples = [
        ("status", json!({ "step": "", "message": "" })),
        ("os_info", json!({ "name": "", "version": "", "arch": "" })),
        ("check", json!({ "name": "", "passed": true, "fixable": true })),
        ("complete", json!({ "status": "needs_setup", "passed": 7, "failed": 2, "warnings": 1 })),
    ];
    for (name, example) in examples {
        let event = events.iter().find(|event| event.name == name).with_context(|| format!("no {name}: {events:?}"))?;
        let mut data = event.data.clone();
        if name == "complete" {
            data["qualification_status"] = data["status"].take();
            data["status"] = "success".into();
        }
        let missing = missing(&example, &data, name);
        ensure!(missing.is_empty(), "{missing:?} in {event:?}");
    }
    walk.walked.push(format!("POST {vm}/preflight"));
    Ok(())
}

/// One server, the list, its figures.
async fn reading(walk: &mut Walk, vm: &str, organization: &Value) -> Result<()> {
    let mut details = listed_server();
    for name in ["os_type", "os_version", "os_arch", "docker_version", "last_health_check", "qualification_status"] {
        details[name] = "".into();
    }
    details["last_preflight_check"] = "".into();
    details["netdata_streaming_enabled"] = false.into();
    details["netdata_machine_guid"] = Value::Null;
    walk.like(Method::GET, vm, None, details).await?;
    let organization = organization.as_str().context("an id")?;
    let path = format!("/api/v1/vms?organization_id={organization}&status=running");
    walk.like(Method::GET, &path, None, json!([listed_server()])).await?;
    let page = walk.like(Method::GET, "/api/v1/vms?skip=1&limit=1", None, json!([listed_server()])).await?;
    assert_eq!(page.as_array().map(Vec::len), Some(1));
    let stats = json!({
        "vm_id": "", "status": "running", "size": "medium", "environment_count": 6, "max_environments": 8,
        "utilization_percent": 75.0, "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "health_status": "healthy",
        "docker_status": "running", "cpu_usage_percent": null, "memory_usage_percent": null,
        "disk_usage_percent": null
    });
    walk.like(Method::GET, &format!("{vm}/stats"), None, stats).await?;
    Ok(())
}

/// A container with one program and what it is linked with: no image is pulled.
const CONTAINER: &str = "tar -ch -C / bin/busybox lib64/ld-linux-x86-64.so.2 lib/x86_64-linux-gnu/libc.so.6 \
                         lib/x86_64-linux-gnu/libresolv.so.2 | docker import - tiny && \
                         docker run -d --name env-uuid_odoo --memory 64m tiny /bin/busybox httpd -f -p 8069";

/// What a server is asked that runs the agent: fixes, figures, its power.
async fn with_an_agent(walk: &mut Walk, control_plane: &ControlPlane, network: &Network) -> Result<()> {
    let server = LabServer::start(network, Release::Bookworm, Variant::Docker).await?;
    let joined = control_plane.join_allowing(&server, &["observe", "fix", "power"]).await?;
    let (id, vm) = (id(&joined)?, format!("/api/v1/vms/{}", id(&joined)?));
    for action in ["install_docker", "start_docker"] {
        let example = json!({ "actions": [{ "action": "", "outcome": "", "detail": "" }] });
        let body = json!({ "actions": [action] });
        let fixed = walk.like(Method::POST, &format!("{vm}/preflight/fix"), Some(body), example).await?;
        assert_eq!(fixed["actions"][0]["action"], action, "{fixed}");
    }
    let started = server.paste(CONTAINER).await?;
    ensure!(started.status.success(), "{}{}", started.stdout, started.stderr);
    figures(walk, &id).await?;
    let power = json!({ "server_id": "", "status": "running", "message": "" });
    let running = walk.like(Method::POST, &format!("{vm}/start"), None, power.clone()).await?;
    assert_eq!(running["command"], Value::Null, "it runs already");
    let reboot = walk.like(Method::POST, &format!("{vm}/reboot"), None, power.clone()).await?;
    assert_eq!(server.ended().await?, Ending::Rebooted);
    let server = server.boot_again().await?;
    done(walk, &reboot["command"]).await?;
    let stop = walk.like(Method::POST, &format!("{vm}/stop"), None, power).await?;
    assert_eq!(server.ended().await?, Ending::PoweredOff);
    done(walk, &stop["command"]).await
}

/// The three levels of figures, and a container's.
async fn figures(walk: &mut Walk, server: &str) -> Result<()> {
    let monitoring = format!("/api/v1/monitoring/servers/{server}");
    let container = json!({
        "container_id": "", "container_name": "env-uuid_odoo", "status": "running",
        "metrics": {
            "cpu": { "usage_percent": 12.5, "throttled_periods": 0 },
            "memory": { "usage_bytes": 1, "limit_bytes": 1, "usage_percent": 50.0 },
            "network": { "rx_bytes": 1, "tx_bytes": 1, "rx_packets": 1, "tx_packets": 1 },
            "block_io": { "read_ops": 0, "write_ops": 0 }
        },
        "timestamp": ""
    });
    let path = "/api/v1/monitoring/containers/env-uuid_odoo/metrics";
    wait::until("the container's first figures", SOON, || async {
        let answer = walk.rest.call(Method::GET, path, None).await?;
        Ok((answer.body["metrics"]["memory"]["usage_bytes"].as_u64() > Some(0)).then_some(()))
    })
    .await?;
    let shown = walk.like(Method::GET, path, None, container.clone()).await?;
    assert_eq!(shown["container_name"], "env-uuid_odoo");
    assert_eq!(shown["metrics"]["memory"]["limit_bytes"], 64 << 20);
    let summary = json!({
        "cpu_usage_percent": 1.0, "memory_usage_percent": 1.0, "disk_usage_percent": 1.0,
        "network_rx_bytes_per_second": 1.0, "network_tx_bytes_per_second": 1.0, "container_count": 1,
        "health_status": "healthy"
    });
    walk.like(Method::GET, &format!("{monitoring}/summary"), None, summary).await?;
    let metrics = json!({
        "system": {
            "cpu": { "usage_percent": 1.0 }, "memory": { "usage_percent": 1.0 },
            "load": { "load_1m": 1.0, "load_5m": 1.0, "load_15m": 1.0 }, "disk": [{ "usage_percent": 1.0 }],
            "disk_io": [], "network": [{ "device": "" }]
        },
        "docker": {
            "container_count": 1, "cpu_usage_percent": 1.0, "memory_usage_bytes": 1, "image_count": 1, "image_bytes": 1
        },
        "containers": [container]
    });
    walk.like(Method::GET, &format!("{monitoring}/metrics"), None, metrics).await?;
    let link = walk.like(Method::GET, &format!("{monitoring}/url"), None, json!({ "url": "" })).await?;
    assert!(link["url"].as_str().is_some_and(|url| url.starts_with("https://") && url.contains(server)), "{link}");
    let stats = json!({
        "cpu_usage_percent": 45.2, "memory_usage_percent": 62.8, "disk_usage_percent": 48.5, "docker_status": "running"
    });
    walk.like(Method::GET, &format!("/api/v1/vms/{server}/stats"), None, stats).await?;
    Ok(())
}

/// Waits for the end of a command, which must be a good one.
async fn done(walk: &Walk, command: &Value) -> Result<()> {
    let path = format!("/api/v1/commands/{}", id(command)?);
    let ended = wait::until("the command's end", SOON, || async {
        let command = walk.rest.get(&path).await?;
        Ok((!command["finished_at"].is_null()).then_some(command))
    })
    .await?;
    ensure!(ended["state"] == "succeeded", "{ended}");
    Ok(())
}
