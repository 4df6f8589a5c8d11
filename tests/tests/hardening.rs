//! The hardening profile on real servers: it holds, a second time changes nothing, an undo puts every byte back, a change
//! by hand shows, published ports are really closed, and whatever breaks, the way in is open again.

#![allow(clippy::print_stdout, reason = "the counts are what the run shows")]

#[path = "hardening/lockout/mod.rs"]
mod lockout;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use muster::servers::SshAuth;
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    entered::{by_key, enter, join_entered, lets_in},
    lab::{LabServer, Network, Release, Variant},
    patience::SOON,
    rest::Event,
    wait,
};
use secrecy::SecretString;
use serde_json::{Value, json};

/// What its host must let the control plane do.
const FAMILIES: [&str; 3] = ["observe", "fix", "secure"];
const POLICY: &str = "/etc/muster-agent/policy.toml";
/// Packages come over the network.
const APPLIED_WITHIN: Duration = Duration::from_secs(420);
/// What the profile has for a server without Docker in a container.
const ITEMS: [&str; 4] = ["unattended_upgrades", "fail2ban", "firewall", "sshd"];
/// Byte for byte: every configuration file but our own agent's, and the cache that the linker makes anew.
const STATE: &str = "find /etc -xdev -type f ! -path '/etc/muster-agent/*' ! -name ld.so.cache -exec sha256sum {} + | \
                     sort -k2; dpkg-query -W; nft list table inet muster_firewall 2>&1 | grep -v counter";

/// A server that joined, and that the control plane may enter with a key.
pub struct Joined {
    pub control_plane: ControlPlane,
    pub server: LabServer,
    pub id: String,
}

impl Joined {
    async fn new(release: Release, variant: Variant) -> Result<Self> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let server = LabServer::start(&network, release, variant).await?;
        let id = join_entered(&control_plane, &server, &FAMILIES).await?;
        Ok(Self { control_plane, server, id })
    }

    async fn harden(&self, body: Value) -> Result<Vec<Event>> {
        harden(&self.control_plane, &self.id, &body).await
    }

    async fn apply(&self, items: &[&str]) -> Result<Vec<Event>> {
        self.harden(json!({ "items": items, "mode": "apply" })).await
    }

    /// As the host says once it has looked anew.
    async fn standings(&self) -> Result<Value> {
        let refresh = format!("/api/v1/vms/{}/facts/refresh", self.id);
        let refreshed = self.control_plane.rest().call(Method::POST, &refresh, None).await?;
        ensure!(refreshed.status.is_success(), "{}", refreshed.text);
        self.control_plane.rest().get(&format!("/api/v1/vms/{}/hardening", self.id)).await
    }

    async fn state(&self) -> Result<String> {
        Ok(self.server.paste(STATE).await?.stdout)
    }
}

async fn harden(control_plane: &ControlPlane, id: &str, body: &Value) -> Result<Vec<Event>> {
    let path = format!("/api/v1/vms/{id}/hardening");
    control_plane.rest().stream(&path, Some(body)).await?.all(APPLIED_WITHIN).await
}

/// What became of each item, and how it all ended.
fn outcomes(events: &[Event]) -> Vec<(String, String)> {
    let text = |event: &Event, name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
    let items = events.iter().filter(|event| event.name == "item");
    items.map(|event| (text(event, "item"), text(event, "outcome"))).collect()
}

fn all(items: &[&str], outcome: &str) -> Vec<(String, String)> {
    items.iter().map(|item| ((*item).to_owned(), outcome.to_owned())).collect()
}

fn standing<'a>(standings: &'a Value, item: &str) -> &'a Value {
    let items = standings["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().find(|known| known["item"] == item).unwrap_or(&Value::Null)
}

async fn holds_twice_and_is_undone(release: Release) -> Result<()> {
    let joined = Joined::new(release, Variant::Plain).await?;
    let before = joined.state().await?;
    let planned = joined.harden(json!({ "mode": "plan" })).await?;
    assert_eq!(joined.state().await?, before, "a plan changes nothing");
    assert!(outcomes(&planned).contains(&("sshd".into(), "planned".into())), "{planned:?}");
    assert!(outcomes(&planned).contains(&("auditd".into(), "not_applicable".into())), "{planned:?}");

    let applied = joined.apply(&ITEMS).await?;
    assert_eq!(outcomes(&applied), all(&ITEMS, "applied"), "{applied:?}");
    let proven = applied.iter().find(|event| event.data["item"] == "sshd" && event.name == "item").context("sshd")?;
    assert_eq!(proven.data["proof"]["kind"], "login", "{}", proven.data);
    let standings = joined.standings().await?;
    for item in ITEMS {
        assert_eq!(standing(&standings, item)["standing"], "holds", "{standings}");
    }
    assert_eq!(standing(&standings, "auditd")["standing"], "not_applicable", "{standings}");

    // fail2ban runs although nobody writes an auth.log, and passwords are really refused.
    assert!(!joined.server.exec(&["test", "-e", "/var/log/auth.log"]).await?.status.success());
    assert!(joined.server.run(&["fail2ban-client", "status", "sshd"]).await?.contains("Journal matches"));
    joined.server.set_password("root", "correct horse").await?;
    assert!(!lets_in(&joined.server, "root", SshAuth::Password(SecretString::from("correct horse"))).await?);
    enter(&joined.server, by_key()).await?;

    let after = joined.state().await?;
    let again = joined.apply(&ITEMS).await?;
    assert_eq!(outcomes(&again), all(&ITEMS, "already"), "{again:?}");
    assert_eq!(joined.state().await?, after, "a second time changes nothing");

    drift_shows(&joined).await?;

    let undone = joined.harden(json!({ "items": ITEMS, "mode": "undo" })).await?;
    let reversed: Vec<&str> = ITEMS.into_iter().rev().collect();
    assert_eq!(outcomes(&undone), all(&reversed, "undone"), "{undone:?}");
    let (left, kept) = (joined.state().await?, before);
    let differs: Vec<&str> = left.lines().filter(|line| !kept.contains(line)).collect();
    // The password was the test's own doing.
    let differs: Vec<&&str> = differs.iter().filter(|line| !line.contains("/etc/shadow")).collect();
    assert!(differs.is_empty(), "left behind: {differs:?}");
    let missing: Vec<&str> =
        kept.lines().filter(|line| !left.contains(line) && !line.contains("/etc/shadow")).collect();
    assert!(missing.is_empty(), "not put back: {missing:?}");
    Ok(())
}

/// Changes by hand, each found with the next look and since when, then mended by hand.
async fn drift_shows(joined: &Joined) -> Result<()> {
    let hands: [(&str, &str, &str); 3] = [
        (
            "sshd",
            "printf 'PasswordAuthentication yes\\n' > /etc/ssh/sshd_config.d/00-00-first.conf",
            "rm /etc/ssh/sshd_config.d/00-00-first.conf",
        ),
        (
            "firewall",
            "nft add rule inet muster_firewall input tcp dport 8069 accept",
            "systemctl reload muster-firewall",
        ),
        ("fail2ban", "systemctl stop fail2ban", "systemctl start fail2ban"),
    ];
    for (item, change, mend) in hands {
        assert!(joined.server.paste(change).await?.status.success(), "{change}");
        let standings = joined.standings().await?;
        let drifted = standing(&standings, item);
        assert_eq!(drifted["standing"], "deviates", "{item}: {standings}");
        assert!(drifted["held_until"].is_string() && drifted["since"].is_string(), "{drifted}");
        assert!(joined.server.paste(mend).await?.status.success(), "{mend}");
        wait::until("the mended item to hold", SOON, || async {
            let standings = joined.standings().await?;
            ensure!(standing(&standings, item)["standing"] == "holds", "{standings}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn on_bookworm_the_profile_holds_twice_and_undo_puts_every_byte_back() -> Result<()> {
    holds_twice_and_is_undone(Release::Bookworm).await
}

#[tokio::test]
async fn a_match_block_that_allows_passwords_is_overridden() -> Result<()> {
    let joined = Joined::new(Release::Bookworm, Variant::Plain).await?;
    let block =
        "printf 'Match User root\\n\\tPasswordAuthentication yes\\n' >> /etc/ssh/sshd_config && systemctl reload ssh";
    assert!(joined.server.paste(block).await?.status.success());
    joined.server.set_password("root", "correct horse").await?;
    enter(&joined.server, SshAuth::Password(SecretString::from("correct horse"))).await.context("before")?;
    let applied = joined.apply(&["sshd"]).await?;
    assert_eq!(outcomes(&applied), all(&["sshd"], "applied"), "{applied:?}");
    assert!(!lets_in(&joined.server, "root", SshAuth::Password(SecretString::from("correct horse"))).await?);
    enter(&joined.server, by_key()).await
}

#[tokio::test]
async fn passwords_stay_where_no_key_was_proven() -> Result<()> {
    let joined = Joined::new(Release::Bookworm, Variant::Plain).await?;
    joined.server.set_password("root", "correct horse").await?;
    let path = format!("/api/v1/vms/{}", joined.id);
    let login = json!({ "ssh_username": "root", "ssh_password": "correct horse" });
    let patched = joined.control_plane.rest().call(Method::PATCH, &path, Some(&login)).await?;
    ensure!(patched.status.is_success(), "{}", patched.text);
    let applied = joined.apply(&["sshd"]).await?;
    assert_eq!(outcomes(&applied), all(&["sshd"], "applied"), "{applied:?}");
    enter(&joined.server, SshAuth::Password(SecretString::from("correct horse"))).await?;
    let standings = joined.standings().await?;
    assert_eq!(standing(&standings, "sshd")["standing"], "deviates", "only limits were set: {standings}");
    Ok(())
}

#[tokio::test]
async fn a_host_whose_owner_does_not_allow_it_is_left_alone() -> Result<()> {
    let joined = Joined::new(Release::Bookworm, Variant::Plain).await?;
    joined.server.write_file(POLICY, "0644", b"allow = [\"observe\"]\n").await?;
    let before = joined.state().await?;
    let refused = joined.apply(&["firewall"]).await?;
    let item = refused.iter().find(|event| event.name == "item").context("an item")?;
    assert_eq!(
        (&item.data["outcome"], &item.data["code"]),
        (&json!("failed"), &json!("policy_refused")),
        "{}",
        item.data
    );
    assert_eq!(joined.state().await?, before);
    Ok(())
}

/// Whether another host gets an answer on `port` of `server`.
async fn is_reached(from: &LabServer, server: &LabServer, port: u16) -> Result<bool> {
    let address = format!("http://{}:{port}/", server.address());
    let output = from.exec(&["curl", "--silent", "--max-time", "3", "--output", "/dev/null", &address]).await?;
    Ok(output.status.success())
}

#[tokio::test]
async fn published_ports_are_closed_for_other_hosts_unless_asked_for() -> Result<()> {
    let joined = Joined::new(Release::Bookworm, Variant::Docker).await?;
    let other = LabServer::start(joined.server.network(), Release::Bookworm, Variant::Plain).await?;
    let server = &joined.server;
    wait::until("Docker to answer", SOON, || async {
        Ok(server.exec(&["docker", "info"]).await?.status.success().then_some(()))
    })
    .await?;
    let image = "mkdir -p /img/www && cd /img && for file in $(ldd /bin/busybox | grep -o '/[^ ]*') /bin/busybox; do \
                 mkdir -p .$(dirname $file) && cp -L $file .$file; done && echo hello > www/index.html && \
                 tar -c . | docker import - web && \
                 docker run -d --name shop -p 8069:80 web /bin/busybox httpd -f -p 80 -h /www && \
                 docker run -d --name front -p 80:80 web /bin/busybox httpd -f -p 80 -h /www";
    let started = server.paste(image).await?;
    ensure!(started.status.success(), "{} {}", started.stdout, started.stderr);
    wait::until("the shop to answer", SOON, || async { Ok(is_reached(&other, server, 8069).await?.then_some(())) })
        .await?;

    let applied = joined.apply(&["docker_daemon", "firewall"]).await?;
    assert_eq!(outcomes(&applied), all(&["docker_daemon", "firewall"], "applied"), "{applied:?}");
    assert!(!is_reached(&other, server, 8069).await?, "a published port that nobody asked for");
    assert!(is_reached(&other, server, 80).await?, "a published port that was asked for");
    assert!(server.run(&["docker", "info", "--format", "{{.LiveRestoreEnabled}}"]).await?.contains("true"));
    let daemon = server.run(&["cat", "/etc/docker/daemon.json"]).await?;
    assert!(daemon.contains("\"max-size\": \"10m\""), "{daemon}");

    // Docker makes its own rules anew; ours stand beside them.
    server.run(&["systemctl", "restart", "docker"]).await?;
    wait::until("the front to answer again", SOON, || async {
        Ok(is_reached(&other, server, 80).await?.then_some(()))
    })
    .await?;
    assert!(!is_reached(&other, server, 8069).await?, "after Docker's restart");

    let undone = joined.harden(json!({ "items": ["docker_daemon", "firewall"], "mode": "undo" })).await?;
    assert_eq!(outcomes(&undone), all(&["firewall", "docker_daemon"], "undone"), "{undone:?}");
    assert!(is_reached(&other, server, 8069).await?, "open again");
    Ok(())
}
