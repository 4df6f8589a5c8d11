//! The dashboard in a real browser: each scenario is a program of Node's in `tests/dashboard/scenarios` against a real
//! control plane with real agents. What a scenario needs somebody else to do it prints, and waits for the effect.

use std::{fmt::Write as _, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use muster::{
    dial::AddressPolicy,
    servers::{SshAuth, SshTarget, SudoMode},
    ssh::{Connector, SshError},
};
use muster_shared::{
    facts::{Container, Docker, DockerStatus, Facts, Os},
    wire::{self, agent_message},
};
use muster_tests::{
    agent::Agent,
    control_plane::{ControlPlane, Settings},
    fleet::{Host, Session, now_us},
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
    process::Process,
    wait,
};
use ring::digest::{SHA256, digest};
use russh::keys::decode_secret_key;
use secrecy::SecretString;
use serde_json::{Value, json};

/// Longest a scenario may take; each has its own, shorter limits within.
const SCENARIO_LIMIT: std::time::Duration = SOON.saturating_mul(6);
const PASSWORD: &str = "correct horse";
const KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh.pem");
const SSHD_SETTINGS: &str = "find /etc/ssh -type f -exec sha256sum {} + | sort -k2";

/// A scenario that runs.
struct Scenario(Process);

impl Scenario {
    fn start(name: &str, control_plane: &ControlPlane, more: &[(&str, &str)]) -> Result<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        ensure!(folder.join("node_modules").is_dir(), "run `npm ci` in tests/dashboard, or use tests/run");
        let script = folder.join("scenarios").join(format!("{name}.js"));
        let (url, ca) = (format!("https://{}", control_plane.address()), control_plane.directory().join("ca.pem"));
        let token = control_plane.owner_token()?;
        let mut environment = vec![
            ("MUSTER_TEST_URL", url.as_str()),
            ("MUSTER_TEST_OWNER_TOKEN", token.as_str()),
            ("NODE_EXTRA_CA_CERTS", ca.to_str().context("a path in UTF-8")?),
        ];
        environment.extend_from_slice(more);
        let script = script.to_str().context("a path in UTF-8")?;
        Ok(Self(Process::start("node".as_ref(), &[script], &environment)?))
    }

    /// What it prints after `word`, once it does.
    async fn says(&mut self, word: &str) -> Result<String> {
        let line =
            self.0.lines().first(word, SCENARIO_LIMIT, |line| line.starts_with(word) || line.starts_with("not ok"));
        let line = line.await?;
        if let Some(said) = line.strip_prefix(word) {
            return Ok(said.trim().to_owned());
        }
        self.0.wait(SCENARIO_LIMIT).await?;
        bail!("{}", self.0.lines().tail(150))
    }

    async fn passes(mut self) -> Result<()> {
        let status = self.0.wait(SCENARIO_LIMIT).await?;
        ensure!(status.success(), "{}", self.0.lines().tail(150));
        Ok(())
    }
}

async fn pasted(server: &LabServer, mut scenario: Scenario) -> Result<()> {
    let line = scenario.says("line ").await?;
    let output = server.paste(&line).await?;
    ensure!(output.status.success(), "{}{}", output.stdout, output.stderr);
    scenario.passes().await
}

async fn with_an_agent(name: &str) -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let _agent = Agent::join(&control_plane, "web-1").await?;
    Scenario::start(name, &control_plane, &[])?.passes().await
}

#[tokio::test]
async fn the_owner_sets_a_password_and_signs_in_with_a_second_factor() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    Scenario::start("sign-in", &control_plane, &[])?.passes().await
}

#[tokio::test]
async fn a_server_added_by_the_one_line_turns_green() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    pasted(&server, Scenario::start("add-by-line", &control_plane, &[])?).await
}

#[tokio::test]
async fn a_server_is_added_by_the_keyboard_alone() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    pasted(&server, Scenario::start("keyboard", &control_plane, &[])?).await
}

#[tokio::test]
async fn a_server_is_added_over_ssh_once_its_key_is_confirmed() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    server.set_password("root", PASSWORD).await?;
    let (address, fingerprint) = (server.address().to_string(), server.host_key_fingerprint().await?);
    let more = [
        ("MUSTER_TEST_ADDRESS", address.as_str()),
        ("MUSTER_TEST_PASSWORD", PASSWORD),
        ("MUSTER_TEST_FINGERPRINT", fingerprint.as_str()),
    ];
    Scenario::start("add-by-ssh", &control_plane, &more)?.passes().await
}

/// A lab server that joined, whose host allows everything, and what enters it on record.
async fn joined(control_plane: &ControlPlane, server: &LabServer, login: &Value) -> Result<String> {
    let joined = control_plane.join_allowing(server, &["observe", "fix", "secure"]).await?;
    let id = joined["id"].as_str().context("an id")?.to_owned();
    let mut login = login.clone();
    login["ipv4_address"] = json!(server.address().to_string());
    let patched = control_plane.rest().call(Method::PATCH, &format!("/api/v1/vms/{id}"), Some(&login)).await?;
    ensure!(patched.status.is_success(), "{}", patched.text);
    Ok(id)
}

/// A browser drops what is under way when the machine's networks change, and other tests make networks.
mod alone {
    use super::*;

    #[tokio::test]
    async fn a_bare_server_is_checked_planned_fixed_and_ready() -> Result<()> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
        server.stand_in_for_the_internet().await?;
        server.add_user("deploy", PASSWORD, Sudo::No).await?;
        let id =
            joined(&control_plane, &server, &json!({ "ssh_username": "deploy", "ssh_password": PASSWORD })).await?;
        Scenario::start("fix", &control_plane, &[("MUSTER_TEST_SERVER", &id)])?.passes().await
    }

    #[tokio::test]
    async fn an_item_of_the_profile_is_shown_applied_and_taken_back() -> Result<()> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
        server.authorize_key("root", &decode_secret_key(KEY, None)?.public_key().to_openssh()?).await?;
        let id = joined(&control_plane, &server, &json!({ "ssh_username": "root", "ssh_private_key": KEY })).await?;
        let settings = || async { Ok::<_, anyhow::Error>(server.paste(SSHD_SETTINGS).await?.stdout) };
        let before = settings().await?;
        let mut scenario = Scenario::start("harden", &control_plane, &[("MUSTER_TEST_SERVER", &id)])?;
        scenario.says("applied").await?;
        assert_ne!(settings().await?, before, "it is made on the host");
        scenario.passes().await?;
        assert_eq!(settings().await?, before, "byte for byte");
        Ok(())
    }

    #[tokio::test]
    async fn environments_move_between_ready_servers_and_only_an_empty_one_is_deleted() -> Result<()> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let mut servers = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..2 {
            let server = LabServer::start(&network, Release::Bookworm, Variant::Docker).await?;
            server.stand_in_for_the_internet().await?;
            server.set_password("root", PASSWORD).await?;
            let id =
                joined(&control_plane, &server, &json!({ "ssh_username": "root", "ssh_password": PASSWORD })).await?;
            wait::until("the server to be qualified", SOON, || async {
                let path = format!("/api/v1/vms/{id}/preflight");
                let checked = control_plane.rest().stream(&path, None).await?.all(SOON).await?;
                Ok(checked.last().is_some_and(|last| last.data["status"] == "qualified").then_some(()))
            })
            .await?;
            servers.push(server);
            ids.push(id);
        }
        Scenario::start("move", &control_plane, &[("MUSTER_TEST_SERVERS", &ids.join(" "))])?.passes().await
    }

    #[tokio::test]
    async fn a_password_becomes_a_key_that_is_seen_once() -> Result<()> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
        server.set_password("root", PASSWORD).await?;
        let id = joined(&control_plane, &server, &json!({ "ssh_username": "root", "ssh_password": PASSWORD })).await?;
        let mut scenario = Scenario::start("secure", &control_plane, &[("MUSTER_TEST_SERVER", &id)])?;
        let key: String = serde_json::from_str(&scenario.says("key ").await?)?;
        scenario.passes().await?;
        let key = SshAuth::Key { private_key: SecretString::from(key), passphrase: None, sudo_password: None };
        assert!(lets_in(&server, key).await?, "the key that was shown opens the server");
        assert!(!lets_in(&server, SshAuth::Password(SecretString::from(PASSWORD))).await?, "the password does not");
        Ok(())
    }
}

/// Whether a fresh login as root works.
async fn lets_in(server: &LabServer, auth: SshAuth) -> Result<bool> {
    let target = SshTarget {
        host: server.address().to_string(),
        port: 22,
        username: "root".parse()?,
        auth,
        sudo_mode: SudoMode::None,
        host_key: None,
    };
    match Connector::new(AddressPolicy::default()).log_in(&target).await {
        Ok(session) => {
            session.close().await;
            Ok(true)
        }
        Err(SshError::AuthFailed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn a_live_chart_moves_each_second_and_zooms_into_what_was() -> Result<()> {
    with_an_agent("live").await
}

#[tokio::test]
async fn readiness_checks_are_seen_as_they_end() -> Result<()> {
    with_an_agent("preflight").await
}

#[tokio::test]
async fn a_member_sees_no_owners_button_and_is_refused_behind_it() -> Result<()> {
    with_an_agent("member").await
}

#[tokio::test]
async fn without_the_control_plane_the_page_says_so_and_goes_on_by_itself() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    let agent = Agent::join(&control_plane, "web-1").await?;
    let mut scenario = Scenario::start("away", &control_plane, &[])?;
    scenario.says("stop now").await?;
    control_plane.terminate().await?;
    scenario.says("start now").await?;
    control_plane.start_again().await?;
    agent.online(&control_plane).await?;
    scenario.passes().await
}

/// With `MUSTER_SCREENS` naming a folder, pictures of every page are left there: `just screens`.
#[tokio::test]
async fn no_page_has_an_accessibility_violation_in_light_or_dark() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let _agent = Agent::join(&control_plane, "web-1").await?;
    let screens = std::env::var("MUSTER_SCREENS").unwrap_or_default();
    Scenario::start("pages", &control_plane, &[("MUSTER_SCREENS", &screens)])?.passes().await
}

/// The worst that a host can say, in every text it may send.
fn hostile_facts() -> Facts {
    let mut steering = String::new();
    for character in ['\u{202e}', '\u{2066}', '\u{200f}', '\u{1b}', '\u{7}', '\u{9b}'] {
        let _ = write!(steering, "{character}x");
    }
    let script = format!("<script>window.owned = 1</script>{steering}");
    let image = format!("<img src=x onerror=\"window.owned = 1\">{steering}");
    let link = format!("\"><a href='javascript:window.owned=1'>{{{{1+1}}}}${{alert(1)}}</a>{steering}");
    let container = Container {
        id: "0123456789abcdef".repeat(4),
        name: image.clone(),
        image: link.clone(),
        state: "running".to_owned(),
        ..Container::default()
    };
    let docker = Docker {
        status: DockerStatus::Running,
        version: Some(image.clone()),
        containers: vec![container],
        ..Docker::default()
    };
    let os = Os {
        id: "debian".into(),
        name: script.clone(),
        version: image.clone(),
        pretty_name: script.clone(),
        ..Os::default()
    };
    let unread = [(image.clone(), script.clone())].into();
    Facts {
        hostname: script,
        kernel: link,
        os,
        arch: image.clone(),
        virtualization: image,
        docker,
        unread,
        ..Facts::default()
    }
}

#[tokio::test]
async fn nothing_a_host_says_of_itself_is_more_than_text() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let host = Arc::new(Host::enrol(&control_plane, "hostile", 3).await?);
    let mut session = Session::open(Arc::clone(&host), control_plane.address()).await?;
    while !host.is_online() {
        ensure!(session.hear().await?.is_none(), "the stream ended");
    }
    let json = serde_json::to_vec(&hostile_facts())?;
    let sha256 = digest(&SHA256, &json).as_ref().to_vec();
    session.send(agent_message::Kind::Facts(wire::FactsReport { json, sha256, collected_at_us: now_us() })).await?;
    let listening = tokio::spawn(async move { while matches!(session.hear().await, Ok(None)) {} });
    let passed = Scenario::start("hostile", &control_plane, &[])?.passes().await;
    listening.abort();
    passed
}
