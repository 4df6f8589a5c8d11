//! A server that things go wrong on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use muster_tests::{
    control_plane::ControlPlane,
    entered::{by_key, enter},
    lab::LabServer,
    patience::{SOON, held_to},
    rest::Event,
    wait,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{super::APPLIED_WITHIN, Fault, Item, item::KEEPER};

/// How long a run is looked at, at most: until the host has settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(240);
/// Nothing counts as settled before: the longest delay of a fault, and some.
const LOOKED_AT_FOR: Duration = Duration::from_secs(12);
const BETWEEN_LOGINS: Duration = Duration::from_millis(700);
/// How long a step stays broken, or a rotation's way in cut: longer than a change takes.
const BROKEN_FOR: Duration = Duration::from_secs(6);
const TIMER: &str = "/etc/systemd/system/muster-agent-revert.timer";

/// What one run came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) fault: Fault,
    pub(super) item: Item,
    /// The longest time in which no login worked.
    pub(super) outage: Duration,
    /// Whether the change stayed.
    pub(super) stayed: bool,
}

/// See the module.
pub(super) struct Victim<'a> {
    control_plane: &'a ControlPlane,
    server: Option<LabServer>,
    id: String,
    /// The organisation's key pairs, as a route.
    pairs: String,
}

impl<'a> Victim<'a> {
    /// The server is entered with a key pair of its own from now on.
    pub(super) async fn new(control_plane: &'a ControlPlane, server: LabServer, id: String) -> Result<Self> {
        let rest = control_plane.rest();
        let me = rest.get("/api/v1/me").await?;
        let pairs = format!("/api/v1/organizations/{}/ssh-keys", me["organization_id"].as_str().context("an id")?);
        let pair = rest.post(&pairs, &json!({ "name": id })).await?;
        server.authorize_key("root", pair["public_key"].as_str().context("a key")?).await?;
        let login = json!({ "ssh_username": "root", "ssh_key_pair_id": pair["id"] });
        let patched = rest.call(Method::PATCH, &format!("/api/v1/vms/{id}"), Some(&login)).await?;
        ensure!(patched.status.is_success(), "{}", patched.text);
        Ok(Self { control_plane, server: Some(server), id, pairs })
    }

    fn server(&self) -> Result<&LabServer> {
        self.server.as_ref().context("a server")
    }

    fn route(&self, below: &str) -> String {
        format!("/api/v1/vms/{}/{below}", self.id)
    }

    /// Breaks one change in one way, and looks on until the host has settled.
    pub(super) async fn run(&mut self, fault: Fault, item: Item, delay: Duration) -> Result<Ran> {
        let pair = self.pair().await?;
        self.make_ready(fault, item).await?;
        let begun = Instant::now();
        let (control_plane, asked) = (self.control_plane, self.asked(fault, item, &pair));
        let asking = ask(control_plane, &asked.0, &asked.1);
        let (asked, hurt) = tokio::join!(asking, async {
            sleep(delay).await;
            self.hurt(fault, item).await?;
            self.watch(item, begun).await
        });
        // The stream may break with what it is about.
        drop(asked);
        let outage = hurt?;
        let stayed = self.is_applied(item, &pair).await?;
        self.heal(fault, item).await?;
        if item == Item::Key {
            self.finish_rotation(&pair).await?;
        }
        println!(
            "{fault:?} {item:?} after {delay:?}: no way in for {outage:?}, {}",
            if stayed { "kept" } else { "taken back" }
        );
        Ok(Ran { fault, item, outage, stayed })
    }

    fn asked(&self, fault: Fault, item: Item, pair: &str) -> (String, Value) {
        match item.asked(fault) {
            Some((below, body)) => (self.route(below), body),
            None => (format!("{}/{pair}/rotate", self.pairs), json!({})),
        }
    }

    /// The key pair that the server is entered with.
    async fn pair(&self) -> Result<String> {
        let server = self.control_plane.server(&self.id).await?;
        server["ssh_key_pair_id"].as_str().map(ToOwned::to_owned).context("a key pair")
    }

    /// Nothing of an earlier run is left, and what is to break breaks.
    async fn make_ready(&self, fault: Fault, item: Item) -> Result<()> {
        wait::until("the agent to be online", SOON, || async {
            Ok((self.control_plane.server(&self.id).await?["agent_status"] == "online").then_some(()))
        })
        .await?;
        for (below, undo) in [
            ("hardening", json!({ "items": ["firewall", "sshd"], "mode": "undo" })),
            ("preflight/fix", json!({ "actions": ["configure_sudo"], "username": "deploy", "undo": true })),
        ] {
            wait::until("the earlier change to be undone", SOON, || async {
                let events = ask(self.control_plane, &self.route(below), &undo).await?;
                let last = events.last().context("an end")?;
                let is_undone = last.name == "complete" && last.data["failed"].as_u64().unwrap_or(0) == 0;
                ensure!(is_undone || last.data["code"] == "nothing_to_undo", "{events:?}");
                Ok(Some(()))
            })
            .await?;
        }
        match (fault, item.closed()) {
            (Fault::BrokenStep, _) => self.server()?.paste(&item.broken().0).await.map(drop),
            (Fault::Closing, Some((closes, _))) => self.server()?.paste(closes).await.map(drop),
            _ => Ok(()),
        }
    }

    async fn hurt(&mut self, fault: Fault, item: Item) -> Result<()> {
        match fault {
            Fault::Closing => {}
            // What keeps the step from working keeps the way back from working, too, as long as it is there.
            Fault::BrokenStep => {
                sleep(BROKEN_FOR).await;
                self.server()?.paste(&item.broken().1).await?;
            }
            Fault::KillExecutor => {
                self.server()?.paste(item.killed(false)).await?;
            }
            Fault::KillOwners => {
                for _ in 0..6 {
                    self.server()?.paste(item.killed(true)).await?;
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Fault::CutNetwork => {
                self.cut("-I", item).await?;
                // A rotation goes the way that it would be watched on.
                if item == Item::Key {
                    sleep(BROKEN_FOR).await;
                    self.cut("-D", item).await?;
                }
            }
            Fault::Restart => {
                let server = self.server.take().context("a server")?;
                server.exec(&["systemctl", "reboot", "--force", "--force"]).await?;
                server.ended().await?;
                self.server = Some(server.boot_again().await?);
            }
        }
        Ok(())
    }

    /// Between the agent and the control plane, logins go another way; of a rotation, the logins.
    async fn cut(&self, verb: &str, item: Item) -> Result<()> {
        let port = self.control_plane.address().port().to_string();
        let rule = match item {
            Item::Key => ["INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"],
            _ => ["OUTPUT", "-p", "tcp", "--dport", &port, "-j", "DROP"],
        };
        self.server()?.run(&[&["iptables", verb][..], &rule].concat()).await.map(drop)
    }

    async fn heal(&self, fault: Fault, item: Item) -> Result<()> {
        match (fault, item.closed()) {
            (Fault::CutNetwork, _) if item != Item::Key => self.cut("-D", item).await,
            (Fault::Closing, Some((_, opens))) => self.server()?.paste(opens).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Gets in again and again until the host has settled: nothing waits for a confirmation, and it goes well.
    async fn watch(&self, item: Item, begun: Instant) -> Result<Duration> {
        let (mut longest, mut last_in, mut settled) = (Duration::ZERO, Instant::now(), 0);
        while begun.elapsed() < held_to(SETTLED_WITHIN) {
            if self.gets_in(item).await {
                longest = longest.max(last_in.elapsed());
                last_in = Instant::now();
                let waits = self.server()?.exec(&["test", "-e", TIMER]).await?.status.success();
                settled = if waits || begun.elapsed() < LOOKED_AT_FOR { 0 } else { settled + 1 };
                if settled == 3 {
                    return Ok(longest);
                }
            } else {
                settled = 0;
            }
            sleep(BETWEEN_LOGINS).await;
        }
        let journal = self.server()?.journal(None).await.unwrap_or_default();
        anyhow::bail!("no way in for {:?}, and it has not settled:\n{journal}", last_in.elapsed());
    }

    /// A fresh login from outside; where sudo is changed, sudo besides; where the key is, the login on record.
    async fn gets_in(&self, item: Item) -> bool {
        let trying = async {
            match item {
                Item::Key => {
                    let tested = self.control_plane.rest().post(&self.route("test-connection"), &json!({})).await?;
                    ensure!(tested["status"] == "success", "{tested}");
                }
                Item::Firewall | Item::Sshd | Item::Sudo => enter(self.server()?, by_key()).await?,
            }
            if item == Item::Sudo {
                self.server()?.run(&["runuser", "-u", KEEPER, "--", "sudo", "-n", "true"]).await?;
            }
            anyhow::Ok(())
        };
        // A test of the login on record brings the agent's probe along.
        let limit = if item == Item::Key { Duration::from_secs(15) } else { Duration::from_secs(3) };
        matches!(tokio::time::timeout(held_to(limit), trying).await, Ok(Ok(())))
    }

    async fn is_applied(&self, item: Item, pair_before: &str) -> Result<bool> {
        match item.mark() {
            Some(mark) => Ok(self.server()?.exec(&["sh", "-c", &format!("test -e {mark}")]).await?.status.success()),
            None => Ok(self.pair().await? != pair_before),
        }
    }

    /// A rotation that the fault left behind is taken up until it is done: nothing is lost by it.
    async fn finish_rotation(&self, pair: &str) -> Result<()> {
        let rest = self.control_plane.rest();
        wait::until("the rotation to be done", SETTLED_WITHIN, || async {
            let rotation = rest.get(&format!("{}/{pair}/rotation", self.pairs)).await?;
            if rotation["state"] == "partial" {
                rest.call(Method::POST, &format!("{}/{pair}/rotate", self.pairs), Some(&json!({}))).await?;
            }
            Ok((rotation["state"] == "done").then_some(()))
        })
        .await?;
        ensure!(self.pair().await? != pair, "the server is entered with another pair by now");
        wait::until("the login on record to work", SOON, || async { Ok(self.gets_in(Item::Key).await.then_some(())) })
            .await
    }
}

/// What a run tells, to its end.
async fn ask(control_plane: &ControlPlane, path: &str, body: &Value) -> Result<Vec<Event>> {
    control_plane.rest().stream(path, Some(body)).await?.all(APPLIED_WITHIN).await
}
