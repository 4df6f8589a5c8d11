//! Fixes on real servers: from bare to ready, shown first, made once, put back byte for byte; and a way in that a change
//! has closed is open again by itself, whatever is killed.

#![allow(clippy::print_stdout, reason = "the counts are what the run shows")]

#[path = "fixes/kills.rs"]
mod kills;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::{SOON, held_to},
    rest::Event,
    wait,
};
use serde_json::{Value, json};

const POLICY: &str = "/etc/muster-agent/policy.toml";
/// Packages come over the network.
const INSTALLED_WITHIN: Duration = Duration::from_secs(600);
/// The promise on a way in that a change has closed.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const PASSWORD: &str = "battery staple";

struct Joined {
    control_plane: ControlPlane,
    server: LabServer,
    id: String,
}

impl Joined {
    /// A server whose deployments use `deploy`, who may neither sudo nor use Docker.
    async fn new(release: Release, variant: Variant) -> Result<Self> {
        let network = Network::create().await?;
        let server = LabServer::start(&network, release, variant).await?;
        server.stand_in_for_the_internet().await?;
        server.add_user("deploy", PASSWORD, Sudo::No).await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let joined = control_plane.join_allowing(&server, &["observe", "fix"]).await?;
        let id = joined["id"].as_str().context("an id")?.to_owned();
        let joined = Self { control_plane, server, id };
        let login = json!({
            "ssh_username": "deploy", "ssh_password": PASSWORD, "ipv4_address": joined.server.address().to_string(),
        });
        let path = format!("/api/v1/vms/{}", joined.id);
        let patched = joined.control_plane.rest().call(Method::PATCH, &path, Some(&login)).await?;
        ensure!(patched.status.is_success(), "{}", patched.text);
        Ok(joined)
    }

    async fn allow(&self, families: &[&str]) -> Result<()> {
        self.server.write_file(POLICY, "0644", format!("allow = {families:?}\n").as_bytes()).await
    }

    async fn online(&self) -> Result<()> {
        wait::until("the agent to be online", SOON, || async {
            Ok((self.control_plane.server(&self.id).await?["agent_status"] == "online").then_some(()))
        })
        .await
    }

    async fn preflight(&self) -> Result<Vec<Event>> {
        self.control_plane.rest().stream(&format!("/api/v1/vms/{}/preflight", self.id), None).await?.all(SOON).await
    }

    async fn fix(&self, body: Value) -> Result<Vec<Event>> {
        let path = format!("/api/v1/vms/{}/preflight/fix", self.id);
        self.control_plane.rest().stream(&path, Some(&body)).await?.all(INSTALLED_WITHIN).await
    }

    /// The content of every configuration file, and every package.
    async fn state(&self) -> Result<String> {
        let files =
            "find /etc -xdev -type f ! -path '/etc/muster-agent/*' -exec sha256sum {} + | sort -k2; dpkg-query -W";
        Ok(self.server.paste(files).await?.stdout)
    }

    async fn commands(&self) -> Result<Value> {
        self.control_plane.rest().get(&format!("/api/v1/vms/{}/commands", self.id)).await
    }
}

fn complete(events: &[Event]) -> Result<&Value> {
    let last = events.last().context("events")?;
    ensure!(last.name == "complete", "{} {}", last.name, last.data);
    Ok(&last.data)
}

/// What became of each action.
fn outcomes(complete: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let actions = complete["actions"].as_array().cloned().unwrap_or_default();
    actions.iter().map(|action| (text(&action["action"]), text(&action["outcome"]))).collect()
}

fn pairs(actions: &[&str], outcome: &str) -> Vec<(String, String)> {
    actions.iter().map(|action| ((*action).to_owned(), outcome.to_owned())).collect()
}

/// The failed checks.
fn failed(events: &[Event]) -> Vec<String> {
    let checks = events.iter().filter(|event| event.name == "check" && event.data["status"] == "failed");
    checks.filter_map(|event| event.data["name"].as_str()).map(ToOwned::to_owned).collect()
}

async fn becomes_ready(release: Release) -> Result<()> {
    let joined = Joined::new(release, Variant::Plain).await?;
    let found = failed(&joined.preflight().await?);
    assert_eq!(found, ["root_access", "docker_installed", "docker_running", "docker_permissions"], "bare");

    let before = joined.state().await?;
    let all = ["configure_sudo", "install_docker", "start_docker", "add_to_docker_group"];
    let shown = joined.fix(json!({ "all": true, "dry_run": true })).await?;
    assert_eq!(outcomes(complete(&shown)?), pairs(&all, "planned"));
    let diff = complete(&shown)?.pointer("/actions/0/report/steps/0/diff").and_then(Value::as_str).unwrap_or_default();
    assert!(diff.contains("NOPASSWD"), "{diff}");
    assert_eq!(joined.state().await?, before, "a dry run changes nothing");

    let made = joined.fix(json!({ "all": true })).await?;
    let done = outcomes(complete(&made)?);
    let actions: Vec<&str> = done.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, all);
    assert!(failed(&made).is_empty(), "{:?}", failed(&made));
    let checked = joined.preflight().await?;
    assert_eq!(complete(&checked)?["status"], "qualified", "{checked:?}");
    let heard = made.iter().filter(|event| event.name == "line").count();
    let as_deploy = ["runuser", "-u", "deploy", "--", "sudo", "-n", "id", "-u"];
    assert_eq!(joined.server.run(&as_deploy).await?, "0");
    // No image is pulled: one program and what it is linked with.
    let import = "tar -ch -C / bin/busybox lib64/ld-linux-x86-64.so.2 lib/x86_64-linux-gnu/libc.so.6 \
                  lib/x86_64-linux-gnu/libresolv.so.2 | docker import - tiny";
    let imported = joined.server.paste(import).await?;
    ensure!(imported.status.success(), "{}{}", imported.stdout, imported.stderr);
    let run = ["runuser", "-u", "deploy", "--", "docker", "run", "--rm", "tiny", "/bin/busybox", "echo", "alive"];
    assert_eq!(joined.server.run(&run).await?, "alive");

    let after = joined.state().await?;
    let again = joined.fix(json!({ "actions": all })).await?;
    assert_eq!(outcomes(complete(&again)?), pairs(&all, "already"));
    assert_eq!(joined.state().await?, after, "the second time changes nothing");

    let sudoers =
        |state: &str| state.lines().filter(|line| line.contains("/etc/sudoers")).collect::<Vec<_>>().join("\n");
    let undone = joined.fix(json!({ "actions": ["configure_sudo", "add_to_docker_group"], "undo": true })).await?;
    assert_eq!(outcomes(complete(&undone)?), pairs(&["add_to_docker_group", "configure_sudo"], "undone"));
    let now = joined.state().await?;
    assert_eq!(sudoers(&now), sudoers(&before), "byte for byte");
    assert_eq!(joined.server.run(&["id", "-nG", "deploy"]).await?, "deploy");
    println!("{}: bare to ready, {heard} lines heard, second run and undo exact", release.codename());
    Ok(())
}

#[tokio::test]
async fn a_bare_bookworm_becomes_ready() -> Result<()> {
    becomes_ready(Release::Bookworm).await
}

#[tokio::test]
async fn a_bare_bullseye_becomes_ready() -> Result<()> {
    becomes_ready(Release::Bullseye).await
}

#[tokio::test]
async fn a_bare_trixie_becomes_ready() -> Result<()> {
    becomes_ready(Release::Trixie).await
}

#[tokio::test]
async fn a_host_whose_owner_does_not_allow_it_refuses_and_hostile_words_reach_nobody() -> Result<()> {
    let joined = Joined::new(Release::Bookworm, Variant::Plain).await?;
    joined.allow(&["observe"]).await?;
    let before = joined.state().await?;
    let path = format!("/api/v1/vms/{}/preflight/fix", joined.id);
    let ask = |body: Value| {
        let (rest, path) = (joined.control_plane.rest().clone(), path.clone());
        async move { rest.call(Method::POST, &path, Some(&body)).await }
    };
    let refused = ask(json!({ "actions": ["configure_sudo"] })).await?;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (StatusCode::CONFLICT, &json!("policy_refused")),
        "{}",
        refused.text
    );
    assert!(refused.body["detail"].as_str().is_some_and(|words| words.contains(POLICY)), "{}", refused.text);
    let planned = ask(json!({ "actions": ["configure_sudo"], "dry_run": true })).await?;
    assert_eq!(planned.status, StatusCode::OK, "plans only read: {}", planned.text);
    let nothing = ask(json!({ "actions": [] })).await?;
    assert_eq!((nothing.status, &nothing.body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("no_actions")));
    joined.allow(&["observe", "fix"]).await?;
    let long = "a".repeat(1 << 20);
    let hostile = [
        "$(touch /canary)",
        "`touch /canary`",
        "-oProxyCommand=touch /canary",
        "a\nb",
        "a\0b",
        "a;touch /canary",
        &long,
    ];
    for text in hostile {
        for body in [
            json!({ "actions": ["configure_sudo"], "username": text }),
            json!({ "actions": ["add_to_docker_group"], "username": text }),
            json!({ "actions": ["free_ports"], "unit": text }),
            json!({ "actions": [text] }),
        ] {
            match ask(body).await {
                Ok(answer) => assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.text),
                // A body that is too long may be cut off while it is still being sent.
                Err(cut) => assert!(text.len() > 1 << 16, "{cut:#}"),
            }
        }
    }
    assert!(!joined.server.exec(&["test", "-e", "/canary"]).await?.status.success());
    assert_eq!(joined.state().await?, before);
    Ok(())
}

/// A fault of the server: the look at all of sudo's rules, the change's last step, ends sshd, as if the change had.
const FAULT: &str =
    "#!/bin/sh\nif [ \"$*\" = --check ]; then systemctl stop ssh.service; fi\nexec visudo.real \"$@\"\n";

#[tokio::test]
async fn a_change_after_which_nobody_can_log_in_is_taken_back_by_the_host_itself() -> Result<()> {
    let mut joined = Joined::new(Release::Bookworm, Variant::Plain).await?;
    joined.server.run(&["mv", "/usr/sbin/visudo", "/usr/sbin/visudo.real"]).await?;
    joined.server.write_file("/usr/sbin/visudo", "0755", FAULT.as_bytes()).await?;
    let drop_in = ["test", "-e", "/etc/sudoers.d/muster-1000"];
    let roles = ["muster-agent-executor", "muster-agent-link"];
    for reboots in [false, true] {
        joined.server.run(&["systemctl", "start", "ssh.service"]).await?;
        let events = joined.fix(json!({ "actions": ["configure_sudo"] })).await?;
        let closed = Instant::now();
        let last = events.last().context("events")?;
        let ended = (last.name.as_str(), &last.data["code"]);
        assert_eq!(ended, ("error", &json!("way_in_not_proven")), "{events:?}");
        assert!(joined.server.exec(&drop_in).await?.status.success(), "it stands until its time is up");
        if reboots {
            joined.server.stop().await?;
            joined.server = joined.server.boot_again().await?;
        } else {
            let mask = [&["systemctl", "mask", "--runtime", "--now"][..], &roles].concat();
            joined.server.run(&["systemctl", "kill", "--signal=KILL", roles[0]]).await?;
            joined.server.run(&mask).await?;
        }
        wait::until("the rule to be gone", held_to(BACK_WITHIN), || async {
            Ok((!joined.server.exec(&drop_in).await?.status.success()).then_some(()))
        })
        .await?;
        let took = closed.elapsed().as_secs_f64();
        println!("reboots: {reboots}: taken back {took:.1} s after the change was left alone");
        wait::until("the timer to be off", SOON, || async {
            let timer = joined.server.exec(&["systemctl", "is-active", "muster-agent-revert.timer"]).await?;
            Ok((timer.stdout.trim() != "active").then_some(()))
        })
        .await?;
        if !reboots {
            joined.server.run(&[&["systemctl", "unmask", "--runtime"][..], &roles].concat()).await?;
            joined.server.run(&[&["systemctl", "start"][..], &roles].concat()).await?;
        }
        joined.online().await?;
    }
    Ok(())
}
