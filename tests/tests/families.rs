//! The other families: dnf and pacman take every word the agent has for them and make a bare server ready; under OpenRC
//! and SysVinit the agent installs itself, commands services, reboots the host, and takes back a change that closed the
//! way in, whatever is killed.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

#[path = "families/init.rs"]
mod init;
#[path = "families/packages.rs"]
mod packages;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use muster_agent::os::Invocation;
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Output, Release, Sudo, Variant},
    patience::SOON,
    rest::Event,
    wait,
};
use serde_json::{Value, json};

/// What the machine that runs the tests decides, not the fixes.
const OF_THE_MACHINE: [&str; 2] = ["disk_space", "network_connectivity"];
const PASSWORD: &str = "battery staple";

struct Joined {
    control_plane: ControlPlane,
    server: LabServer,
    id: String,
}

impl Joined {
    /// A server whose deployments use `deploy`, who may neither sudo nor use Docker.
    async fn new(variant: Variant) -> Result<Self> {
        let network = Network::create().await?;
        let server = LabServer::start(&network, Release::Bookworm, variant).await?;
        server.add_user("deploy", PASSWORD, Sudo::No).await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let joined = control_plane.join_allowing(&server, &["observe", "fix", "power"]).await?;
        let id = joined["id"].as_str().context("an id")?.to_owned();
        let login = json!({
            "ssh_username": "deploy", "ssh_password": PASSWORD, "ipv4_address": server.address().to_string(),
        });
        let patched = control_plane.rest().call(Method::PATCH, &format!("/api/v1/vms/{id}"), Some(&login)).await?;
        ensure!(patched.status.is_success(), "{}", patched.text);
        Ok(Self { control_plane, server, id })
    }

    async fn online(&self) -> Result<()> {
        wait::until("the agent to be online", SOON, || async {
            Ok((self.control_plane.server(&self.id).await?["agent_status"] == "online").then_some(()))
        })
        .await
    }

    async fn facts(&self) -> Result<Value> {
        let path = format!("/api/v1/vms/{}/facts", self.id);
        wait::until("facts", SOON, || async {
            let answer = self.control_plane.rest().call(Method::GET, &path, None).await?;
            Ok(answer.status.is_success().then(|| answer.body["facts"].clone()))
        })
        .await
    }

    async fn preflight(&self) -> Result<Vec<Event>> {
        self.control_plane.rest().stream(&format!("/api/v1/vms/{}/preflight", self.id), None).await?.all(SOON).await
    }

    async fn fix(&self, body: Value) -> Result<Vec<Event>> {
        let path = format!("/api/v1/vms/{}/preflight/fix", self.id);
        self.control_plane.rest().stream(&path, Some(&body)).await?.all(SOON * 3).await
    }

    /// Runs a program with the words and the environment the agent would.
    async fn say(&self, invocation: &Invocation) -> Result<Output> {
        let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";
        let mut arguments = vec!["env", "-i", path, "LC_ALL=C", invocation.program];
        arguments.extend(invocation.arguments.iter().map(String::as_str));
        self.server.exec(&arguments).await
    }
}

/// What became of each action.
fn outcomes(events: &[Event]) -> Result<Vec<(String, String)>> {
    let last = events.last().context("events")?;
    ensure!(last.name == "complete", "{} {}", last.name, last.data);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let actions = last.data["actions"].as_array().cloned().unwrap_or_default();
    Ok(actions.iter().map(|action| (text(&action["action"]), text(&action["outcome"]))).collect())
}

fn pairs(actions: &[&str], outcome: &str) -> Vec<(String, String)> {
    actions.iter().map(|action| ((*action).to_owned(), outcome.to_owned())).collect()
}

/// The failed checks that fixes can do something about.
fn failed(events: &[Event]) -> Vec<String> {
    let checks = events.iter().filter(|event| event.name == "check" && event.data["status"] == "failed");
    let names = checks.filter_map(|event| event.data["name"].as_str()).filter(|name| !OF_THE_MACHINE.contains(name));
    names.map(ToOwned::to_owned).collect()
}
