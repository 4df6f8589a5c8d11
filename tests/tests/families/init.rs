//! Init systems.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster_agent::os::services::{
    Activity, Change, ServiceName, activity, is_enabled, orders, query_activity, query_enabled,
};
use muster_shared::facts::InitSystem;
use muster_tests::{
    lab::{Ending, Variant},
    patience::{SOON, held_to},
    wait,
};
use serde_json::json;

use super::joined::{Joined, outcomes, pairs};

/// The promise on a way in that a change has closed.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const DROP_IN: [&str; 3] = ["test", "-e", "/etc/sudoers.d/muster-1000"];
/// A fault of the server: the look at all of sudo's rules, the change's last step, ends sshd, as if the change had.
const FAULT: &str = "#!/bin/sh\nif [ \"$*\" = --check ]; then service ssh stop; fi\nexec visudo.real \"$@\"\n";
const WATCHER: &str = "^/usr/local/bin/muster-agent revert --watch";
const EXECUTOR: &str = "^muster-agent executor";
/// The supervisor and both roles, but not the watcher.
const AGENT: &str = "^(/usr/local/bin/muster-agent run|muster-agent (executor|link))";

struct Services<'a> {
    joined: &'a Joined,
    init: InitSystem,
}

impl Services<'_> {
    async fn ask(&self, change: Change, name: &str) -> Result<()> {
        for order in orders(self.init, change, &name.parse()?).context("orders")? {
            let said = self.joined.say(&order).await?;
            ensure!(said.status.success(), "{}: {} {}", order.line(), said.stdout, said.stderr);
        }
        Ok(())
    }

    /// Whether it runs, and whether it starts with the boot.
    async fn stand(&self, name: &str) -> Result<(Activity, bool)> {
        let name: ServiceName = name.parse()?;
        let ran = self.joined.say(&query_activity(self.init, &name).context("a question")?).await?;
        let enabled = self.joined.say(&query_enabled(self.init, &name).context("a question")?).await?;
        Ok((activity(self.init, ran.status.code(), &ran.stdout), is_enabled(self.init, &name, &enabled.stdout)))
    }

    async fn each_word_does_what_it_says(&self) -> Result<()> {
        const UNIT: &str = "docker.service";
        assert_eq!(self.stand(UNIT).await?, (Activity::Stopped, false), "never switched on");
        for _ in 0..2 {
            self.ask(Change::Enable, UNIT).await?;
            assert_eq!(self.stand(UNIT).await?, (Activity::Stopped, true));
            self.ask(Change::Disable, UNIT).await?;
            assert_eq!(self.stand(UNIT).await?, (Activity::Stopped, false), "switched off again");
        }
        self.ask(Change::Start, UNIT).await?;
        self.ask(Change::Restart, UNIT).await?;
        assert_eq!(self.stand(UNIT).await?.0, Activity::Running);
        self.ask(Change::Stop, UNIT).await?;
        assert_eq!(self.stand(UNIT).await?.0, Activity::Stopped);
        self.ask(Change::Start, UNIT).await?;
        self.joined.server.run(&["pkill", "-KILL", "--exact", "dockerd"]).await?;
        wait::until("the engine to be dead", SOON, || async {
            Ok((self.stand(UNIT).await?.0 == Activity::Stopped).then_some(()))
        })
        .await?;
        self.ask(Change::Reload, "ssh.service").await?;
        assert_eq!(self.stand("ssh.service").await?, (Activity::Running, true));
        assert_eq!(self.stand("no-such.service").await?, (Activity::Unknown, false));
        Ok(())
    }
}

/// The processes whose command lines match.
async fn processes(joined: &Joined, pattern: &str) -> Result<Vec<String>> {
    let found = joined.server.exec(&["pgrep", "--full", pattern]).await?;
    Ok(found.stdout.lines().map(ToOwned::to_owned).collect())
}

async fn kill(joined: &Joined, pattern: &str) -> Result<()> {
    joined.server.run(&["pkill", "-KILL", "--full", pattern]).await.map(drop)
}

/// `start_docker` and back, the engine really answering.
async fn docker_is_started(joined: &Joined, services: &Services<'_>) -> Result<()> {
    for wanted in ["done", "already"] {
        let made = joined.fix(json!({ "actions": ["start_docker"] })).await?;
        let (_, outcome) = outcomes(&made)?.pop().context("an outcome")?;
        assert_eq!(outcome == "already", wanted == "already", "{outcome}");
        assert_eq!(services.stand("docker").await?, (Activity::Running, true));
    }
    wait::until("the engine to answer", SOON, || async {
        Ok(joined.server.exec(&["docker", "version"]).await?.status.success().then_some(()))
    })
    .await?;
    let undone = joined.fix(json!({ "actions": ["start_docker"], "undo": true })).await?;
    assert_eq!(outcomes(&undone)?, pairs(&["start_docker"], "undone"));
    assert_eq!(services.stand("docker").await?, (Activity::Stopped, false));
    Ok(())
}

async fn reboots(joined: &mut Joined) -> Result<()> {
    let path = format!("/api/v1/vms/{}/reboot", joined.id);
    let asked = joined.control_plane.rest().call(Method::POST, &path, None).await?;
    ensure!(asked.status == StatusCode::ACCEPTED, "{} {}", asked.status, asked.text);
    let command = format!("/api/v1/commands/{}", asked.body["command"]["id"].as_str().context("an id")?);
    assert_eq!(joined.server.ended().await?, Ending::Rebooted);
    joined.server.start_again().await?;
    let done = wait::until("the reboot's end", SOON, || async {
        let command = joined.control_plane.rest().get(&command).await?;
        Ok((!command["finished_at"].is_null()).then_some(command))
    })
    .await?;
    assert_eq!(done["state"], "succeeded", "{done}");
    joined.online().await
}

/// A change after which nobody can log in.
async fn closes_the_way_in(joined: &Joined) -> Result<()> {
    let events = joined.fix(json!({ "actions": ["configure_sudo"] })).await?;
    let last = events.last().context("events")?;
    assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!("way_in_not_proven")), "{events:?}");
    assert!(joined.server.exec(&DROP_IN).await?.status.success(), "it stands until its time is up");
    Ok(())
}

async fn takes_back_with_a_new_boot(joined: &mut Joined) -> Result<()> {
    closes_the_way_in(joined).await?;
    joined.server.stop().await?;
    joined.server.start_again().await?;
    wait::until("the rule to be gone", SOON, || async {
        Ok((!joined.server.exec(&DROP_IN).await?.status.success()).then_some(()))
    })
    .await?;
    joined.online().await
}

/// After `kills` the rule is gone in time all the same.
async fn takes_back_what_nobody_confirms(joined: &Joined, kills: &[&str]) -> Result<()> {
    closes_the_way_in(joined).await?;
    let closed = Instant::now();
    let watchers = processes(joined, WATCHER).await?;
    assert_eq!(watchers.len(), 1, "one process of its own");
    kill(joined, WATCHER).await?;
    wait::until("another watcher", SOON, || async {
        let now = processes(joined, WATCHER).await?;
        Ok((!now.is_empty() && now != watchers).then_some(()))
    })
    .await?;
    for pattern in kills {
        kill(joined, pattern).await?;
    }
    wait::until("the rule to be gone", held_to(BACK_WITHIN), || async {
        Ok((!joined.server.exec(&DROP_IN).await?.status.success()).then_some(()))
    })
    .await?;
    println!("{kills:?} killed: taken back {:.1} s after the change was left alone", closed.elapsed().as_secs_f64());
    wait::until("the watchers to end", SOON, || async {
        Ok(processes(joined, WATCHER).await?.is_empty().then_some(()))
    })
    .await
}

async fn keeps_its_promises(variant: Variant, init: InitSystem, kills: &[&str]) -> Result<()> {
    let mut joined = Joined::of(variant).await?;
    let kept = keeps_them(&mut joined, init, kills).await;
    if kept.is_err() {
        println!(
            "the agent's last lines:\n{}",
            joined.server.paste("tail -n 60 /var/log/muster-agent.log").await?.stdout
        );
    }
    kept
}

async fn keeps_them(joined: &mut Joined, init: InitSystem, kills: &[&str]) -> Result<()> {
    let facts = joined.facts().await?;
    assert_eq!(facts["init_system"], serde_json::to_value(init)?, "{facts}");
    let services = Services { joined, init };
    services.each_word_does_what_it_says().await?;
    docker_is_started(joined, &services).await?;
    assert_eq!(services.stand("muster-agent").await?, (Activity::Running, true), "the agent is a service itself");
    reboots(joined).await?;
    joined.server.run(&["mv", "/usr/sbin/visudo", "/usr/sbin/visudo.real"]).await?;
    joined.server.write_file("/usr/sbin/visudo", "0755", FAULT.as_bytes()).await?;
    takes_back_with_a_new_boot(joined).await?;
    takes_back_what_nobody_confirms(joined, kills).await?;
    let services = Services { joined, init };
    services.ask(Change::Restart, "muster-agent").await?;
    joined.online().await?;
    joined.server.run(&["muster-agent", "uninstall"]).await?;
    assert!(!services.stand("muster-agent").await?.1, "not even at boot");
    assert!(processes(joined, "muster-agent").await?.is_empty(), "nothing of it runs");
    let left = joined.server.paste("find /etc /usr/local /var -xdev -name '*muster-agent*'").await?;
    assert_eq!(left.stdout, "");
    Ok(())
}

#[tokio::test]
async fn under_openrc_the_agent_runs_commands_services_and_takes_back_what_closed_the_way_in() -> Result<()> {
    // Executor and watcher at the same moment: the executor that comes next watches over the change.
    keeps_its_promises(Variant::Openrc, InitSystem::Openrc, &[EXECUTOR, WATCHER]).await
}

#[tokio::test]
async fn under_sysvinit_the_agent_runs_commands_services_and_takes_back_what_closed_the_way_in() -> Result<()> {
    // Everything but the watcher, and nobody starts it again.
    keeps_its_promises(Variant::Sysvinit, InitSystem::Sysvinit, &[AGENT]).await
}
