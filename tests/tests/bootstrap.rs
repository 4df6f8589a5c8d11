//! The agent pushed over SSH to each Debian release: by each kind of login, twice, and to where it can't go.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::{SOON, held_to},
    rest::Event,
};
use russh::keys::decode_secret_key;
use serde_json::{Value, json};

/// The promise, on a warm server.
const FIRST_SAMPLE_LIMIT: Duration = Duration::from_secs(3);
const PASSWORD: &str = "correct horse";
const PASSPHRASE: &str = "open sesame";
const KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh.pem");
const ENCRYPTED_KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh-encrypted.pem");
const STEPS: [&str; 9] = [
    "connecting",
    "host_key",
    "authenticated",
    "detecting",
    "uploading",
    "installing",
    "joining",
    "online",
    "first_sample",
];

/// A way to log in: what the server must know, and what the control plane is told.
struct Login {
    name: &'static str,
    user: &'static str,
    body: Value,
}

fn logins() -> [Login; 3] {
    [
        Login { name: "root-password", user: "root", body: json!({ "ssh_password": PASSWORD }) },
        Login {
            name: "sudo-key",
            user: "deploy",
            body: json!({ "ssh_private_key": KEY, "ssh_sudo_password": PASSWORD }),
        },
        Login {
            name: "encrypted-key",
            user: "trusted",
            body: json!({ "ssh_private_key": ENCRYPTED_KEY, "ssh_key_passphrase": PASSPHRASE }),
        },
    ]
}

async fn server(network: &Network, release: Release) -> Result<LabServer> {
    let server = LabServer::start(network, release, Variant::Plain).await?;
    server.set_password("root", PASSWORD).await?;
    server.add_user("deploy", PASSWORD, Sudo::WithPassword).await?;
    server.authorize_key("deploy", &decode_secret_key(KEY, None)?.public_key().to_openssh()?).await?;
    server.add_user("trusted", PASSWORD, Sudo::WithoutPassword).await?;
    let encrypted = decode_secret_key(ENCRYPTED_KEY, Some(PASSPHRASE))?;
    server.authorize_key("trusted", &encrypted.public_key().to_openssh()?).await?;
    Ok(server)
}

async fn save(control_plane: &ControlPlane, server: &LabServer, login: &Login) -> Result<String> {
    let mut body = login.body.clone();
    body["name"] = login.name.into();
    body["ipv4_address"] = server.address().to_string().into();
    body["ssh_username"] = login.user.into();
    let vm = control_plane.rest().post("/api/v1/vms", &body).await?;
    Ok(vm["id"].as_str().context("an id")?.to_owned())
}

async fn bootstrap(control_plane: &ControlPlane, id: &str) -> Result<Vec<Event>> {
    control_plane.rest().stream(&format!("/api/v1/vms/{id}/bootstrap"), None).await?.all(SOON).await
}

fn steps(events: &[Event]) -> Vec<&str> {
    let mut steps: Vec<&str> = events.iter().filter_map(|event| event.data["step"].as_str()).collect();
    // Whether the agent is here before its installer has ended is a matter of luck.
    steps.retain(|step| *step != "waiting_for_agent");
    steps.dedup();
    steps
}

async fn pushed_by_each_login(release: Release) -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    for login in logins() {
        let server = server(&network, release).await?;
        let id = save(&control_plane, &server, &login).await?;
        let events = bootstrap(&control_plane, &id).await?;
        let last = events.last().context("events")?;
        ensure!(last.name == "complete", "{release:?} {}: {events:#?}", login.name);
        assert_eq!(steps(&events), STEPS);
        let took = Duration::from_millis(last.data["elapsed_ms"].as_u64().context("a time")?);
        println!("{release:?}: first sample {} ms after bootstrap began ({})", took.as_millis(), login.name);
        for event in &events {
            println!("  {:>5} ms {}", event.data["elapsed_ms"], event.data["step"]);
        }
        assert!(took <= held_to(FIRST_SAMPLE_LIMIT), "the first sample took {took:?}");
        stands(&control_plane, &server, &id).await?;
        changes_nothing_again(&control_plane, &server, &id).await?;
    }
    Ok(())
}

async fn stands(control_plane: &ControlPlane, server: &LabServer, id: &str) -> Result<()> {
    let vm = control_plane.rest().get(&format!("/api/v1/vms/{id}")).await?;
    assert_eq!((&vm["agent_status"], &vm["status"]), (&json!("online"), &json!("running")), "{vm}");
    assert_eq!(vm["ssh_host_key_fingerprint"], server.host_key_fingerprint().await?);
    let left = server.run(&["find", "/tmp", "/var/tmp", "/root", "/home", "-name", "muster*"]).await?;
    assert_eq!(left, "", "nothing stays where it was carried to");
    let tokens = control_plane.rest().get("/api/v1/join-tokens").await?;
    let pending = tokens.as_array().into_iter().flatten().filter(|token| token["status"] == "pending").count();
    assert_eq!(pending, 0, "{tokens}");
    Ok(())
}

async fn changes_nothing_again(control_plane: &ControlPlane, server: &LabServer, id: &str) -> Result<()> {
    let processes = server.run(&["pidof", "muster-agent"]).await?;
    let events = bootstrap(control_plane, id).await?;
    let last = events.last().context("events")?;
    assert_eq!((last.name.as_str(), &last.data["changed"]), ("complete", &json!(false)), "{events:?}");
    assert_eq!(server.run(&["pidof", "muster-agent"]).await?, processes, "a second run restarts nothing");
    Ok(())
}

/// Timed, so one at a time.
mod alone {
    use super::*;

    #[tokio::test]
    async fn the_agent_is_pushed_to_bullseye() -> Result<()> {
        pushed_by_each_login(Release::Bullseye).await
    }

    #[tokio::test]
    async fn the_agent_is_pushed_to_bookworm() -> Result<()> {
        pushed_by_each_login(Release::Bookworm).await
    }

    #[tokio::test]
    async fn the_agent_is_pushed_to_trixie() -> Result<()> {
        pushed_by_each_login(Release::Trixie).await
    }
}

#[tokio::test]
async fn what_stops_a_run_is_told_with_a_remedy() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = server(&network, Release::Bookworm).await?;
    let login = |name, user, body| Login { name, user, body };
    let closed = json!({ "ssh_password": PASSWORD, "ssh_port": 2222 });
    let other_key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let mismatched = json!({ "ssh_password": PASSWORD, "ssh_host_key_fingerprint": other_key });
    let cases = [
        (login("wrong-password", "root", json!({ "ssh_password": "wrong" })), "host_key", "ssh_auth_failed"),
        (login("closed-port", "root", closed), "connecting", "ssh_unreachable"),
        (login("other-host-key", "root", mismatched), "connecting", "host_key_mismatch"),
        (login("no-sudo-password", "deploy", json!({ "ssh_private_key": KEY })), "detecting", "root_not_reached"),
    ];
    for (login, step, code) in cases {
        let id = save(&control_plane, &server, &login).await?;
        let events = bootstrap(&control_plane, &id).await?;
        let last = events.last().context("events")?;
        assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!(code)), "{}: {events:?}", login.name);
        assert_eq!(last.data["step"], step, "{}", login.name);
        assert!(last.data["remedy"].as_str().is_some_and(|words| words.len() > 20), "{}: {last:?}", login.name);
        assert_eq!(control_plane.rest().get(&format!("/api/v1/vms/{id}")).await?["agent_status"], "none");
    }
    assert!(!server.exec(&["pidof", "muster-agent"]).await?.status.success());
    Ok(())
}

#[tokio::test]
async fn a_run_goes_on_when_its_listener_leaves_and_has_no_double() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = server(&network, Release::Bookworm).await?;
    let [login, ..] = logins();
    let id = save(&control_plane, &server, &login).await?;
    let path = format!("/api/v1/vms/{id}/bootstrap");
    let mut listener = control_plane.rest().stream(&path, None).await?;
    listener.next().await?.context("a first event")?;
    let second = control_plane.rest().call(http::Method::POST, &path, None).await?;
    assert_eq!((second.status.as_u16(), &second.body["code"]), (409, &json!("bootstrap_running")), "{}", second.text);
    drop(listener);
    control_plane.first_sample(&id, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_host_that_has_joined_as_another_server_stays_that_server() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = server(&network, Release::Bookworm).await?;
    let [first, second, _] = logins();
    let first = save(&control_plane, &server, &first).await?;
    let joined = bootstrap(&control_plane, &first).await?;
    assert_eq!(joined.last().map(|event| event.name.as_str()), Some("complete"), "{joined:?}");
    let second = save(&control_plane, &server, &second).await?;
    let events = bootstrap(&control_plane, &second).await?;
    let last = events.last().context("events")?;
    assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!("joined_as_another")), "{events:?}");
    assert!(last.data["detail"].as_str().is_some_and(|words| words.contains(&first)), "{last:?}");
    Ok(())
}
