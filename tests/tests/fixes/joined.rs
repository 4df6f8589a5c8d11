//! A server to be fixed, and what its fixes came to.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    entered::join_with_login,
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
    rest::Event,
    wait,
};
use serde_json::{Value, json};

/// Packages come over the network.
const INSTALLED_WITHIN: Duration = Duration::from_secs(600);
const PASSWORD: &str = "battery staple";

pub(super) struct Joined {
    pub(super) control_plane: ControlPlane,
    pub(super) server: LabServer,
    pub(super) id: String,
}

impl Joined {
    /// A server whose deployments use `deploy`, who may neither sudo nor use Docker, and whose policy allows `families`.
    pub(super) async fn new(release: Release, variant: Variant, families: &[&str]) -> Result<Self> {
        let network = Network::create().await?;
        let server = LabServer::start(&network, release, variant).await?;
        server.stand_in_for_the_internet().await?;
        server.add_user("deploy", PASSWORD, Sudo::No).await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let login = json!({ "ssh_username": "deploy", "ssh_password": PASSWORD });
        let id = join_with_login(&control_plane, &server, families, login).await?;
        Ok(Self { control_plane, server, id })
    }

    pub(super) async fn online(&self) -> Result<()> {
        wait::until("the agent to be online", SOON, || async {
            Ok((self.control_plane.server(&self.id).await?["agent_status"] == "online").then_some(()))
        })
        .await
    }

    pub(super) async fn preflight(&self) -> Result<Vec<Event>> {
        self.control_plane.rest().stream(&format!("/api/v1/vms/{}/preflight", self.id), None).await?.all(SOON).await
    }

    pub(super) async fn fix(&self, body: Value) -> Result<Vec<Event>> {
        let path = format!("/api/v1/vms/{}/preflight/fix", self.id);
        self.control_plane.rest().stream(&path, Some(&body)).await?.all(INSTALLED_WITHIN).await
    }
}

pub(super) fn complete(events: &[Event]) -> Result<&Value> {
    let last = events.last().context("events")?;
    ensure!(last.name == "complete", "{} {}", last.name, last.data);
    Ok(&last.data)
}

/// What became of each action.
pub(super) fn outcomes(events: &[Event]) -> Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let actions = complete(events)?["actions"].as_array().cloned().unwrap_or_default();
    Ok(actions.iter().map(|action| (text(&action["action"]), text(&action["outcome"]))).collect())
}

pub(super) fn pairs(actions: &[&str], outcome: &str) -> Vec<(String, String)> {
    actions.iter().map(|action| ((*action).to_owned(), outcome.to_owned())).collect()
}

/// The failed checks.
pub(super) fn failed(events: &[Event]) -> Vec<String> {
    let checks = events.iter().filter(|event| event.name == "check" && event.data["status"] == "failed");
    checks.filter_map(|event| event.data["name"].as_str()).map(ToOwned::to_owned).collect()
}
