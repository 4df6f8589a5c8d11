//! The dashboard in a real browser: each scenario is a program of Node's in `tests/dashboard/scenarios` against a real
//! control plane with real agents.

use std::{fmt::Write as _, process::Stdio, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use muster::servers::SshAuth;
use muster_shared::{
    facts::{Container, Docker, DockerStatus, Facts, Os},
    wire::{self, agent_message},
};
use muster_tests::{
    agent::Agent,
    binaries,
    control_plane::{ControlPlane, Settings},
    entered::{by_private_key, join_entered, join_with_login, lets_in},
    fleet::{Fleet, Host, Pace, Session, now_us},
    lab::{Ending, LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
    scenario::Scenario,
    wait,
};
use ring::digest::{SHA256, digest};
use secrecy::SecretString;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

const PASSWORD: &str = "correct horse";
/// An image of what the server has anyway, and two containers of it.
const SOME_CONTAINERS: &str = "tar -ch -C / usr/bin/sleep lib/x86_64-linux-gnu/libc.so.6 lib64/ld-linux-x86-64.so.2 \
    | docker import - shop:17 && for name in shop_web shop_worker; do \
    docker run -d --name $name shop:17 /usr/bin/sleep 1d || exit 1; done";
const SSHD_SETTINGS: &str = "find /etc/ssh -type f -exec sha256sum {} + | sort -k2";

async fn pasted(server: &LabServer, mut scenario: Scenario) -> Result<()> {
    let line = scenario.says("line ").await?;
    let output = server.paste(&line).await?;
    ensure!(output.status.success(), "{}{}", output.stdout, output.stderr);
    scenario.passes().await
}

async fn with_an_agent(name: &str) -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let _agent = Agent::join(&control_plane, "web-1").await?;
    Scenario::start(&format!("scenarios/{name}"), &control_plane, &[])?.passes().await
}

#[tokio::test]
async fn the_owner_sets_a_password_and_signs_in_with_a_second_factor() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    Scenario::start("scenarios/sign-in", &control_plane, &[])?.passes().await
}

#[tokio::test]
async fn the_owner_says_how_long_measurements_are_kept_and_a_member_reads_it() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    Scenario::start("scenarios/retention", &control_plane, &[])?.passes().await
}

#[tokio::test]
async fn a_server_added_by_the_one_line_turns_green() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    pasted(&server, Scenario::start("scenarios/add-by-line", &control_plane, &[])?).await
}

#[tokio::test]
async fn a_server_is_added_by_the_keyboard_alone() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    pasted(&server, Scenario::start("scenarios/keyboard", &control_plane, &[])?).await
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
    Scenario::start("scenarios/add-by-ssh", &control_plane, &more)?.passes().await
}

/// What the hosts of most scenarios allow.
const FAMILIES: [&str; 3] = ["observe", "fix", "secure"];

/// A scenario about a server that deployments enter as a user who may nothing yet.
async fn with_a_bare_server(name: &str) -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    server.stand_in_for_the_internet().await?;
    server.add_user("deploy", PASSWORD, Sudo::No).await?;
    let login = json!({ "ssh_username": "deploy", "ssh_password": PASSWORD });
    let id = join_with_login(&control_plane, &server, &FAMILIES, login).await?;
    Scenario::start(&format!("scenarios/{name}"), &control_plane, &[("MUSTER_TEST_SERVER", &id)])?.passes().await
}

#[tokio::test]
async fn a_bare_server_is_checked_planned_fixed_and_ready() -> Result<()> {
    with_a_bare_server("fix").await
}

#[tokio::test]
async fn what_a_host_says_is_seen_live_whoever_gave_the_command_and_is_on_record() -> Result<()> {
    with_a_bare_server("progress").await
}

#[tokio::test]
async fn an_item_of_the_profile_is_shown_applied_and_taken_back() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let id = join_entered(&control_plane, &server, &FAMILIES).await?;
    let settings = || async { Ok::<_, anyhow::Error>(server.paste(SSHD_SETTINGS).await?.stdout) };
    let before = settings().await?;
    let mut scenario = Scenario::start("scenarios/harden", &control_plane, &[("MUSTER_TEST_SERVER", &id)])?;
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
        let login = json!({ "ssh_username": "root", "ssh_password": PASSWORD });
        let id = join_with_login(&control_plane, &server, &FAMILIES, login).await?;
        wait::until("the server to be qualified", SOON, || async {
            let path = format!("/api/v1/vms/{id}/preflight");
            let checked = control_plane.rest().stream(&path, None).await?.all(SOON).await?;
            Ok(checked.last().is_some_and(|last| last.data["status"] == "qualified").then_some(()))
        })
        .await?;
        servers.push(server);
        ids.push(id);
    }
    Scenario::start("scenarios/move", &control_plane, &[("MUSTER_TEST_SERVERS", &ids.join(" "))])?.passes().await
}

#[tokio::test]
async fn the_same_is_planned_and_made_on_marked_servers_and_the_host_signs_it() -> Result<()> {
    with_a_bare_server("runs").await
}

#[tokio::test]
async fn a_key_pair_is_rotated_and_the_new_key_seen_once() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let me = control_plane.rest().get("/api/v1/me").await?;
    let keys = format!("/api/v1/organizations/{}/ssh-keys", me["organization_id"].as_str().context("an id")?);
    let made = json!({ "name": "production", "key_type": "ed25519" });
    let made = control_plane.rest().call(Method::POST, &keys, Some(&made)).await?.body;
    let old = made["private_key"].as_str().context("a key")?.to_owned();
    server.authorize_key("root", made["public_key"].as_str().context("a key")?).await?;
    let login = json!({ "ssh_username": "root", "ssh_key_pair_id": made["id"] });
    let id = join_with_login(&control_plane, &server, &FAMILIES, login).await?;
    let mut scenario = Scenario::start("scenarios/rotation", &control_plane, &[("MUSTER_TEST_SERVER", &id)])?;
    let new: String = serde_json::from_str(&scenario.says("key ").await?)?;
    scenario.passes().await?;
    assert!(lets_in(&server, "root", by_private_key(&new)).await?, "the key that was shown opens the server");
    assert!(!lets_in(&server, "root", by_private_key(&old)).await?, "the old one does not");
    Ok(())
}

#[tokio::test]
async fn a_server_is_rebooted_where_its_host_allows_it() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let start = || LabServer::start(&network, Release::Bookworm, Variant::Plain);
    let (server, barred) = tokio::try_join!(start(), start())?;
    let mut ids = Vec::new();
    for (server, allow) in [(&server, &["observe", "power"][..]), (&barred, &["observe"][..])] {
        let joined = control_plane.join_allowing(server, allow).await?;
        ids.push(joined["id"].as_str().context("an id")?.to_owned());
    }
    let mut scenario = Scenario::start("scenarios/power", &control_plane, &[("MUSTER_TEST_SERVERS", &ids.join(" "))])?;
    scenario.says("rebooting now").await?;
    assert_eq!(server.ended().await?, Ending::Rebooted);
    let _server = server.boot_again().await?;
    scenario.passes().await
}

/// Hours of the week that a host has measured, by how long ago they began and their length.
const MEASURED_HOURS_AGO: [(i64, i64); 2] = [(100, 6), (86, 6)];

#[tokio::test]
async fn a_week_is_zoomed_into_and_hours_without_figures_stay_empty() -> Result<()> {
    const HOUR_US: i64 = 3_600_000_000;
    // As many as a frame may have.
    const FRAME_SECONDS: i64 = 60;
    let control_plane = ControlPlane::start().await?;
    let mut fleet = Fleet::enrol(&control_plane, 1, 9).await?;
    let now = now_us() / HOUR_US * HOUR_US;
    let (mut measured, mut frames) = (Vec::new(), 0);
    for (ago, hours) in MEASURED_HOURS_AGO {
        let from = now - ago * HOUR_US;
        for frame in 0..hours * 3_600 / FRAME_SECONDS {
            let first_us = from + frame * FRAME_SECONDS * 1_000_000;
            fleet.hosts()[0].history().sample(first_us, usize::try_from(FRAME_SECONDS)?);
            frames += 1;
        }
        measured.push(format!("{}-{}", from / 1_000_000, (from + hours * HOUR_US) / 1_000_000));
    }
    fleet.start(control_plane.address(), Pace::second());
    fleet.all_online(SOON).await?;
    wait::until("the week to be stored", SOON, || async {
        Ok(fleet.hosts()[0].history().acknowledged().len().ge(&frames).then_some(()))
    })
    .await?;
    let more = [("MUSTER_TEST_MEASURED", measured.join(" "))];
    let more: Vec<_> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Scenario::start("scenarios/history", &control_plane, &more)?.passes().await?;
    fleet.settle(SOON).await?;
    fleet.stop().await;
    Ok(())
}

/// Signing in through the browser: the terminal shows an address and a code, and goes on once both were approved.
#[tokio::test]
async fn a_terminal_is_signed_in_by_whoever_approves_its_code() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    let muster = |arguments: &[&str]| {
        let mut command = Command::new(binaries::muster());
        command.args(arguments).env_clear().env("MUSTER_CONFIG_DIR", config.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    };
    let pin = control_plane.ca_pin().to_string();
    let mut login = muster(&["login", "--web", "--url", &control_plane.url(), "--ca-sha256", &pin]).spawn()?;
    let mut told = BufReader::new(login.stderr.take().context("what it tells")?).lines();
    let (mut address, mut code) = (None, None);
    while address.is_none() {
        let line = tokio::time::timeout(SOON, told.next_line()).await??.context("an address")?;
        code = code.or_else(|| line.rsplit_once("the code ").map(|(_, code)| code.to_owned()));
        address = line.trim().starts_with("https://").then(|| line.trim().to_owned());
    }
    let shown = format!("{} {}", address.context("an address")?, code.context("a code")?);
    ensure!(!shown.contains("mst_"), "nothing secret stands in an address");
    Scenario::start("scenarios/login", &control_plane, &[("MUSTER_TEST_LOGIN", &shown)])?.passes().await?;
    let output = tokio::time::timeout(SOON, login.wait_with_output()).await??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && said.contains("signed in as owner"), "{said}");
    let listed = muster(&["tokens", "list"]).output().await?;
    ensure!(String::from_utf8_lossy(&listed.stdout).contains("muster on "), "its token is one of the owner's");
    Ok(())
}

#[tokio::test]
async fn a_password_becomes_a_key_that_is_seen_once() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    server.set_password("root", PASSWORD).await?;
    let login = json!({ "ssh_username": "root", "ssh_password": PASSWORD });
    let id = join_with_login(&control_plane, &server, &FAMILIES, login).await?;
    let mut scenario = Scenario::start("scenarios/secure", &control_plane, &[("MUSTER_TEST_SERVER", &id)])?;
    let key: String = serde_json::from_str(&scenario.says("key ").await?)?;
    scenario.passes().await?;
    assert!(lets_in(&server, "root", by_private_key(&key)).await?, "the key that was shown opens the server");
    assert!(!lets_in(&server, "root", SshAuth::Password(SecretString::from(PASSWORD))).await?, "the password does not");
    Ok(())
}

#[tokio::test]
async fn a_live_chart_moves_each_second_and_zooms_into_what_was() -> Result<()> {
    with_an_agent("live").await
}

/// The lab's server is a container of this machine's engine, and this machine's agent sees it.
#[tokio::test]
async fn a_containers_charts_move_each_second_and_reach_into_what_was() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = ControlPlane::start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let _agent = Agent::join(&control_plane, "web-1").await?;
    Scenario::start("scenarios/containers", &control_plane, &[("MUSTER_TEST_CONTAINER", server.name())])?.passes().await
}

#[tokio::test]
async fn readiness_checks_are_seen_as_they_end() -> Result<()> {
    with_an_agent("preflight").await
}

#[tokio::test]
async fn a_fleet_is_filtered_sorted_and_checked_in_bulk_and_the_record_verified() -> Result<()> {
    with_an_agent("fleet").await
}

#[tokio::test]
async fn a_member_sees_no_owners_button_and_is_refused_behind_it() -> Result<()> {
    with_an_agent("member").await
}

#[tokio::test]
async fn without_the_control_plane_the_page_says_so_and_goes_on_by_itself() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    let agent = Agent::join(&control_plane, "web-1").await?;
    let mut scenario = Scenario::start("scenarios/away", &control_plane, &[])?;
    scenario.says("stop now").await?;
    control_plane.terminate().await?;
    scenario.says("start now").await?;
    control_plane.start_again().await?;
    agent.online(&control_plane).await?;
    scenario.passes().await
}

#[tokio::test]
async fn no_page_jumps_while_it_loads() -> Result<()> {
    with_an_agent("steady").await
}

#[tokio::test]
async fn a_page_goes_on_by_itself_when_its_machine_changes_networks() -> Result<()> {
    with_an_agent("roam").await
}

/// With `MUSTER_SCREENS` naming a folder, pictures of every page are left there: `just screens`.
#[tokio::test]
async fn no_page_has_an_accessibility_violation_in_light_or_dark() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Docker).await?;
    let created = control_plane.join_token(Some("web-1")).await?;
    for line in [SOME_CONTAINERS, created["command"].as_str().context("a line")?] {
        let output = server.paste(line).await?;
        ensure!(output.status.success(), "{}{}", output.stdout, output.stderr);
    }
    let joined = control_plane.server_named("web-1").await?.context("the server")?;
    control_plane.first_sample(joined["id"].as_str().context("an id")?, SOON).await?;
    let screens = std::env::var("MUSTER_SCREENS").unwrap_or_default();
    Scenario::start("scenarios/pages", &control_plane, &[("MUSTER_SCREENS", &screens)])?.passes().await
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
    let passed = Scenario::start("scenarios/hostile", &control_plane, &[])?.passes().await;
    listening.abort();
    passed
}
