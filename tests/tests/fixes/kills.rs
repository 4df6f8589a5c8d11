//! A change begins once at most, whichever side is killed while it is made, and what became of it is known soon after.
//! Small here, and big by `just fix-kills`.

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use muster_tests::{
    lab::{Release, Variant},
    patience::{SOON, held_to},
    wait,
};
use serde_json::{Value, json};

use super::{FAMILIES, Joined};

/// The promise on a command one side of which was killed, from its restart; systemd restarts it after a second.
const KNOWN_WITHIN: Duration = Duration::from_secs(16);
/// A change takes less than this, so that kills fall before, into and after it.
const MOMENTS_MS: u64 = 600;

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Executor,
    Link,
    ControlPlane,
}

const VICTIMS: [Victim; 3] = [Victim::Executor, Victim::Link, Victim::ControlPlane];

/// How the commands ended, how often each way, and the longest time until it was known.
#[derive(Debug, Default)]
struct Ends {
    by_state: BTreeMap<String, u32>,
    longest: Duration,
}

impl Joined {
    /// Kills with SIGKILL; what is killed is started again, as its supervisor does.
    async fn kill(&mut self, victim: Victim) -> Result<()> {
        let unit = match victim {
            Victim::Executor => "muster-agent-executor",
            Victim::Link => "muster-agent-link",
            Victim::ControlPlane => {
                self.control_plane.kill().await?;
                return self.control_plane.start_again().await.map(drop);
            }
        };
        self.server.exec(&["systemctl", "kill", "--signal=KILL", unit]).await.map(drop)
    }

    /// The newest change sent to the server.
    async fn newest_change(&self) -> Result<Option<Value>> {
        let commands = self.commands().await?;
        Ok(commands.as_array().into_iter().flatten().find(|command| command["kind"] == "change").cloned())
    }

    /// Makes a change, kills within it, and checks what is true against what is said.
    async fn survive(&mut self, victim: Victim, moment: Duration, ends: &mut Ends) -> Result<()> {
        self.server.exec(&["gpasswd", "--delete", "deploy", "docker"]).await?;
        let since = self.server.run(&["date", "+%s.%N"]).await?;
        let before = self.newest_change().await?.map(|change| change["id"].clone());
        let path = format!("/api/v1/vms/{}/preflight/fix", self.id);
        let body = json!({ "actions": ["add_to_docker_group"] });
        let mut events = self.control_plane.rest().stream(&path, Some(&body)).await?;
        events.next().await?.context("a first word")?;
        tokio::time::sleep(moment).await;
        self.kill(victim).await?;
        let killed = Instant::now();
        // A control plane that dies before it has stored the command has sent none.
        let command = match self.newest_change().await? {
            newest if newest.as_ref().map(|change| &change["id"]) == before.as_ref() => None,
            _ => Some(
                wait::until("the command's end", held_to(KNOWN_WITHIN), || async {
                    Ok(self.newest_change().await?.filter(|command| !command["finished_at"].is_null()))
                })
                .await?,
            ),
        };
        ends.longest = ends.longest.max(killed.elapsed());
        drop(events);
        let journal = ["journalctl", "--no-pager", "--since", &format!("@{since}"), "--identifier", "usermod"];
        let begun = self.server.run(&journal).await?.matches("add 'deploy' to group 'docker'").count();
        let member = self.server.run(&["id", "-nG", "deploy"]).await?.contains("docker");
        let state = match &command {
            Some(command) => command["state"].as_str().unwrap_or_default().to_owned(),
            None => "never sent".to_owned(),
        };
        let seen = format!("{victim:?} after {moment:?}: begun {begun} times, member: {member}, {command:?}");
        ensure!(begun <= 1, "{seen}");
        match state.as_str() {
            "succeeded" => ensure!(member, "{seen}"),
            "failed" => ensure!(!member, "{seen}"),
            "never sent" => ensure!(begun == 0 && matches!(victim, Victim::ControlPlane), "{seen}"),
            _ => ensure!(state == "indeterminate", "{seen}"),
        }
        *ends.by_state.entry(state).or_default() += 1;
        self.all_back().await
    }

    async fn all_back(&self) -> Result<()> {
        let roles = ["muster-agent-executor", "muster-agent-link"];
        wait::until("both roles to be back", SOON, || async {
            let shown = self.server.exec(&[&["systemctl", "is-active"][..], &roles].concat()).await?;
            Ok((shown.stdout.split_whitespace().all(|state| state == "active")).then_some(()))
        })
        .await?;
        self.online().await?;
        // A burst of starts must not be what stops them.
        self.server.run(&[&["systemctl", "reset-failed"][..], &roles].concat()).await.map(drop)
    }
}

async fn kills(server: u64, count: u64) -> Result<Ends> {
    let mut joined = Joined::new(Release::Bookworm, Variant::Plain, &FAMILIES).await?;
    joined.server.run(&["groupadd", "docker"]).await?;
    let mut ends = Ends::default();
    for kill in 0..count {
        let victim = VICTIMS[usize::try_from(kill % 3)?];
        // Each time another moment, evenly over all of them.
        let moment = Duration::from_millis((kill * 37 + server * 101) % MOMENTS_MS);
        joined.survive(victim, moment, &mut ends).await?;
        if (kill + 1) % 20 == 0 {
            println!("server {server}: {} of {count} kills", kill + 1);
        }
    }
    Ok(ends)
}

#[tokio::test]
async fn whichever_side_is_killed_a_change_begins_once_at_most_and_its_end_is_known() -> Result<()> {
    let number = |name: &str, usual: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (count, at_once) = (number("MUSTER_FIX_KILLS", 6), number("MUSTER_FIX_SERVERS", 1));
    let share = count.div_ceil(at_once);
    let mut all = Ends::default();
    for ends in join_all((0..at_once).map(|server| kills(server, share))).await {
        let ends = ends?;
        all.longest = all.longest.max(ends.longest);
        for (state, times) in ends.by_state {
            *all.by_state.entry(state).or_default() += times;
        }
    }
    println!(
        "{} kills: {:?}, the end known after {:.1} s at most",
        share * at_once,
        all.by_state,
        all.longest.as_secs_f64()
    );
    Ok(())
}
