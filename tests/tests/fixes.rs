//! Fixes on real servers: from bare to ready, shown first, made once, put back byte for byte; and a way in that a change
//! has closed is open again by itself, whatever is killed.

#![allow(clippy::print_stdout, reason = "the counts are what the run shows")]

#[path = "fixes/joined.rs"]
mod joined;
#[path = "fixes/kills.rs"]
mod kills;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster_tests::{
    lab::{Release, Variant},
    patience::{SOON, held_to},
    wait,
};
use serde_json::{Value, json};

use self::joined::{Joined, complete, failed, outcomes, pairs};

const POLICY: &str = "/etc/muster-agent/policy.toml";
/// The promise on a way in that a change has closed.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// What the owner of the host allows.
const FAMILIES: [&str; 2] = ["observe", "fix"];

impl Joined {
    /// Has the owner of the host allow other families, and waits until the agent has said so.
    async fn allow(&self, families: &[&str]) -> Result<()> {
        self.server.write_file(POLICY, "0644", format!("allow = {families:?}\n").as_bytes()).await?;
        wait::until("the policy to be known", SOON, || async {
            let server = self.control_plane.server(&self.id).await?;
            let is_known = server["allowed_families"] == json!(families) && server["agent_status"] == "online";
            Ok(is_known.then_some(()))
        })
        .await
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

async fn becomes_ready(release: Release) -> Result<()> {
    let joined = Joined::new(release, Variant::Plain, &FAMILIES).await?;
    let found = failed(&joined.preflight().await?);
    assert_eq!(found, ["root_access", "docker_installed", "docker_running", "docker_permissions"], "bare");

    let before = joined.state().await?;
    let all = ["configure_sudo", "install_docker", "start_docker", "add_to_docker_group"];
    let shown = joined.fix(json!({ "all": true, "dry_run": true })).await?;
    assert_eq!(outcomes(&shown)?, pairs(&all, "planned"));
    let diff = complete(&shown)?.pointer("/actions/0/report/steps/0/diff").and_then(Value::as_str).unwrap_or_default();
    assert!(diff.contains("NOPASSWD"), "{diff}");
    assert_eq!(joined.state().await?, before, "a dry run changes nothing");

    let made = joined.fix(json!({ "all": true })).await?;
    let done = outcomes(&made)?;
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
    assert_eq!(outcomes(&again)?, pairs(&all, "already"));
    assert_eq!(joined.state().await?, after, "the second time changes nothing");

    let sudoers =
        |state: &str| state.lines().filter(|line| line.contains("/etc/sudoers")).collect::<Vec<_>>().join("\n");
    let undone = joined.fix(json!({ "actions": ["configure_sudo", "add_to_docker_group"], "undo": true })).await?;
    assert_eq!(outcomes(&undone)?, pairs(&["add_to_docker_group", "configure_sudo"], "undone"));
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
    let joined = Joined::new(Release::Bookworm, Variant::Plain, &FAMILIES).await?;
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
    let mut joined = Joined::new(Release::Bookworm, Variant::Plain, &FAMILIES).await?;
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
