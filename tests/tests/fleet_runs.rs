//! One command on many real servers: shown first, in waves, each change proven and confirmed on its own host, and within
//! what each host's owner allows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    entered::{by_key, enter, join_entered},
    lab::{LabServer, Network, Release, Variant},
    patience::{SOON, held_to},
    wait,
};
use serde_json::{Value, json};

const RUN_WITHIN: Duration = Duration::from_secs(180);
/// A host that nobody confirmed takes its change back within a minute.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(60);
const SSHD: &str = "/etc/ssh/sshd_config.d/00-00-muster.conf";
const RULES: &str = "/etc/muster-agent/firewall.nft";

struct Fleet {
    control_plane: ControlPlane,
    /// The last one's owner lets nobody change it.
    servers: Vec<LabServer>,
}

impl Fleet {
    async fn start() -> Result<Self> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let server = |release| LabServer::start(&network, release, Variant::Plain);
        let (one, two, three) =
            tokio::try_join!(server(Release::Bookworm), server(Release::Trixie), server(Release::Bookworm))?;
        for (server, families) in
            [(&one, &["observe", "secure"][..]), (&two, &["observe", "secure"]), (&three, &["observe"])]
        {
            join_entered(&control_plane, server, families).await?;
        }
        Ok(Self { control_plane, servers: vec![one, two, three] })
    }

    /// Makes a run and follows it to its end; answers the run with its servers.
    async fn run(&self, body: &Value) -> Result<Value> {
        let rest = self.control_plane.rest();
        let made = rest.post("/api/v1/fleet/runs", body).await?;
        let path = format!("/api/v1/fleet/runs/{}", made["id"].as_str().context("an id")?);
        wait::until("the run's end", RUN_WITHIN, || async {
            let run = rest.get(&path).await?;
            Ok((run["state"] != "running").then_some(run))
        })
        .await
    }

    /// Shows `task` first, then does it for real on the servers whose plan went well.
    async fn shown_then_done(&self, task: Value, options: Value) -> Result<(Value, Value)> {
        let shown = self.run(&json!({ "task": task, "filter": "name != \"\"" })).await?;
        let mut body = json!({ "after": shown["id"], "dry_run": false });
        for (name, value) in options.as_object().context("options")? {
            body[name] = value.clone();
        }
        let done = self.run(&body).await?;
        Ok((shown, done))
    }

    /// How the run ended for a server: its state, and the code.
    fn outcome(&self, run: &Value, server: usize) -> Result<(String, String)> {
        let servers = run["servers"].as_array().context("servers")?;
        let name = self.servers[server].name();
        let of = servers.iter().find(|of| of["server_name"] == name).with_context(|| format!("{name} in {run}"))?;
        let text = |field: &str| of[field].as_str().unwrap_or_default().to_owned();
        Ok((text("state"), text("code")))
    }

    async fn has(&self, server: usize, path: &str) -> Result<bool> {
        Ok(self.servers[server].exec(&["test", "-e", path]).await?.status.success())
    }
}

#[tokio::test]
async fn a_change_is_shown_then_made_and_confirmed_on_each_host_that_allows_it() -> Result<()> {
    let fleet = Fleet::start().await?;
    let checked =
        fleet.run(&json!({ "task": { "kind": "preflight" }, "filter": "name != \"\"", "dry_run": false })).await?;
    assert_eq!((&checked["state"], &checked["succeeded"]), (&json!("done"), &json!(3)), "{checked}");
    for server in &fleet.servers {
        let known = fleet.control_plane.server_named(server.name()).await?.context("the server")?;
        ensure!(known["qualification_status"].is_string(), "each has its own checks on record: {known}");
    }

    let (shown, done) = fleet
        .shown_then_done(json!({ "kind": "harden", "item": "sshd" }), json!({ "wave_size": 1, "max_failures": 1 }))
        .await?;
    assert_eq!(shown["succeeded"], json!(3), "a plan changes nothing, so every host makes it: {shown}");
    assert_eq!((&done["succeeded"], &done["failed"]), (&json!(2), &json!(1)), "{done}");
    for server in [0, 1] {
        assert_eq!(fleet.outcome(&done, server)?.0, "succeeded", "{done}");
        ensure!(fleet.has(server, SSHD).await?, "the change is there");
        enter(&fleet.servers[server], by_key()).await.context("the way in")?;
    }
    assert_eq!(fleet.outcome(&done, 2)?, ("failed".into(), "policy_refused".into()), "{done}");
    ensure!(!fleet.has(2, SSHD).await?, "its owner does not allow it");
    let refreshed = fleet
        .run(&json!({ "task": { "kind": "refresh_facts" }, "servers": [fleet.servers[0].name()], "dry_run": false }))
        .await?;
    assert_eq!(refreshed["succeeded"], json!(1), "{refreshed}");
    let path = format!("/api/v1/vms/{}/hardening", fleet.servers[0].name());
    wait::until("the profile to hold what was made", SOON, || async {
        let profile = fleet.control_plane.rest().get(&path).await?;
        let sshd = profile["items"].as_array().context("items")?.iter().find(|item| item["item"] == "sshd");
        Ok((sshd.context("sshd")?["standing"] == "holds").then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_change_that_shuts_servers_is_confirmed_nowhere_and_taken_back_by_each() -> Result<()> {
    let fleet = Fleet::start().await?;
    for server in &fleet.servers[..2] {
        server.paste("apt-get -q update && apt-get -q -y --no-install-recommends install nftables").await?;
    }
    let names: Vec<&str> = fleet.servers[..2].iter().map(LabServer::name).collect();
    let task = json!({ "kind": "harden", "item": "firewall", "ssh_from": ["192.0.2.0/24"] });
    let shown = fleet.run(&json!({ "task": task, "servers": names })).await?;
    assert_eq!(shown["succeeded"], json!(2), "{shown}");
    let done = fleet.run(&json!({ "after": shown["id"], "dry_run": false, "max_failures": 2 })).await?;
    assert_eq!((&done["succeeded"], &done["failed"]), (&json!(0), &json!(2)), "{done}");
    for server in [0, 1] {
        assert_eq!(fleet.outcome(&done, server)?.1, "not_confirmed", "{done}");
    }
    for server in [0, 1] {
        wait::until("the way in to be open again", held_to(TAKEN_BACK_WITHIN), || async {
            enter(&fleet.servers[server], by_key()).await?;
            Ok((!fleet.has(server, RULES).await?).then_some(()))
        })
        .await?;
    }
    // And both are as ready for the next change as before.
    for server in &fleet.servers[..2] {
        wait::until("the agent to be online", SOON, || async {
            let known = fleet.control_plane.server_named(server.name()).await?.context("the server")?;
            Ok((known["agent_status"] == "online").then_some(()))
        })
        .await?;
    }
    Ok(())
}
