//! No lock-out: changes of the firewall and of sshd are broken in every way there is, on real servers, and each time a
//! fresh login works again within a minute. Seeded; small here, and big by `just lockout`.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Release, Variant},
    patience::{SOON, held_to},
    wait,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{by_key, enter, harden, join};

/// The promise: a way in that was closed is open again by then.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// How long a run is looked at, at most: until the host has settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(240);
const BETWEEN_LOGINS: Duration = Duration::from_millis(700);
/// How long a step stays broken: longer than a change takes.
const BROKEN_FOR: Duration = Duration::from_secs(6);
const TIMER: &str = "/etc/systemd/system/muster-agent-revert.timer";
/// Nobody's network: a firewall that keeps SSH to it locks everybody out.
const NOWHERE: &str = "192.0.2.0/24";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The change itself closes the way in.
    Closing,
    /// The step that counts fails.
    BrokenStep,
    /// The executor is killed.
    KillExecutor,
    /// The executor and whoever takes changes back are killed, again and again for some seconds.
    KillOwners,
    /// The agent's way to the control plane is cut.
    CutNetwork,
    /// The server starts anew without being shut down.
    Restart,
}

const FAULTS: [Fault; 6] =
    [Fault::Closing, Fault::BrokenStep, Fault::KillExecutor, Fault::KillOwners, Fault::CutNetwork, Fault::Restart];

/// A small generator: the same seed, the same faults at the same moments.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What one run came to.
#[derive(Debug)]
struct Ran {
    fault: Fault,
    item: &'static str,
    /// The longest time in which no login worked.
    outage: Duration,
    /// Whether the change stayed.
    stayed: bool,
}

/// A server that things go wrong on.
struct Victim<'a> {
    control_plane: &'a ControlPlane,
    server: Option<LabServer>,
    id: String,
}

impl Victim<'_> {
    fn server(&self) -> Result<&LabServer> {
        self.server.as_ref().context("a server")
    }

    async fn run(&mut self, fault: Fault, item: &'static str, delay: Duration) -> Result<Ran> {
        self.make_ready(fault, item).await?;
        let body = match (item, fault) {
            ("firewall", Fault::Closing | Fault::KillExecutor | Fault::KillOwners | Fault::Restart) => {
                json!({ "items": [item], "mode": "apply", "ssh_from": [NOWHERE] })
            }
            _ => json!({ "items": [item], "mode": "apply" }),
        };
        let begun = Instant::now();
        let (control_plane, id) = (self.control_plane, self.id.clone());
        let applying = harden(control_plane, &id, &body);
        let (applied, hurt) = tokio::join!(applying_quietly(applying), async {
            sleep(delay).await;
            self.hurt(fault).await?;
            self.watch(begun).await
        });
        let outage = hurt?;
        self.heal(fault).await?;
        let stayed = self.is_applied(item).await?;
        println!(
            "{fault:?} {item} after {delay:?}: no way in for {outage:?}, {}",
            if stayed { "kept" } else { "taken back" }
        );
        drop(applied);
        Ok(Ran { fault, item, outage, stayed })
    }

    /// Nothing of an earlier run is left, and what is to break breaks.
    async fn make_ready(&self, fault: Fault, item: &str) -> Result<()> {
        wait::until("the agent to be online", SOON, || async {
            Ok((self.control_plane.server(&self.id).await?["agent_status"] == "online").then_some(()))
        })
        .await?;
        let undo = json!({ "items": ["firewall", "sshd"], "mode": "undo" });
        wait::until("the earlier change to be undone", SOON, || async {
            let events = harden(self.control_plane, &self.id, &undo).await?;
            let failed = events.last().map(|event| event.data["failed"].clone()).unwrap_or_default();
            ensure!(failed == json!(0), "{events:?}");
            Ok(Some(()))
        })
        .await?;
        if fault == Fault::BrokenStep {
            let (unit, line) = match item {
                "firewall" => ("muster-firewall.service", "ExecStartPre=/bin/false"),
                _ => ("ssh.service", "ExecReload=\nExecReload=/bin/false"),
            };
            let drop_in = format!("/etc/systemd/system/{unit}.d/broken.conf");
            self.server()?.write_file(&drop_in, "0644", format!("[Service]\n{line}\n").as_bytes()).await?;
            self.server()?.run(&["systemctl", "daemon-reload"]).await?;
        }
        Ok(())
    }

    async fn hurt(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Closing => {}
            // What keeps the step from working keeps the way back from working, too, as long as it is there.
            Fault::BrokenStep => {
                sleep(BROKEN_FOR).await;
                self.heal(fault).await?;
            }
            Fault::KillExecutor => {
                self.server()?.exec(&["systemctl", "kill", "--signal=KILL", "muster-agent-executor"]).await?;
            }
            Fault::KillOwners => {
                for _ in 0..6 {
                    let kill = "systemctl kill --signal=KILL muster-agent-executor; systemctl kill --signal=KILL \
                                muster-agent-revert; kill -9 $(ps -C muster-agent -o pid=)";
                    self.server()?.paste(kill).await?;
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Fault::CutNetwork => self.cut("-I").await?,
            Fault::Restart => {
                let server = self.server.take().context("a server")?;
                server.exec(&["systemctl", "reboot", "--force", "--force"]).await?;
                server.ended().await?;
                self.server = Some(server.boot_again().await?);
            }
        }
        Ok(())
    }

    /// Between the agent and the control plane; logins go another way.
    async fn cut(&self, verb: &str) -> Result<()> {
        let port = self.control_plane.address().port().to_string();
        let rule = ["OUTPUT", "-p", "tcp", "--dport", &port, "-j", "DROP"];
        self.server()?.run(&[&["iptables", verb][..], &rule].concat()).await.map(drop)
    }

    async fn heal(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::CutNetwork => self.cut("-D").await,
            Fault::BrokenStep => {
                let unbreak = "rm -rf /etc/systemd/system/muster-firewall.service.d /etc/systemd/system/ssh.service.d; \
                               systemctl daemon-reload; systemctl reset-failed";
                self.server()?.paste(unbreak).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Logs in again and again until the host has settled: nothing waits for a confirmation, and logins work.
    async fn watch(&self, begun: Instant) -> Result<Duration> {
        let (mut longest, mut last_in, mut settled) = (Duration::ZERO, Instant::now(), 0);
        while begun.elapsed() < held_to(SETTLED_WITHIN) {
            let entered = tokio::time::timeout(Duration::from_secs(3), enter(self.server()?, by_key())).await;
            if matches!(entered, Ok(Ok(()))) {
                longest = longest.max(last_in.elapsed());
                last_in = Instant::now();
                let waits = self.server()?.exec(&["test", "-e", TIMER]).await?.status.success();
                settled = if waits || begun.elapsed() < Duration::from_secs(12) { 0 } else { settled + 1 };
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

    async fn is_applied(&self, item: &str) -> Result<bool> {
        let file = match item {
            "firewall" => "/etc/muster-agent/firewall.nft",
            _ => "/etc/ssh/sshd_config.d/00-00-muster.conf",
        };
        Ok(self.server()?.exec(&["test", "-e", file]).await?.status.success())
    }
}

/// The stream may break with what it is about.
async fn applying_quietly(applying: impl Future<Output = Result<Vec<muster_tests::rest::Event>>>) -> Option<Value> {
    applying.await.ok().and_then(|events| events.last().map(|event| event.data.clone()))
}

/// The faults come in turn from `first` on; the dice say what they hit and when.
async fn runs(
    control_plane: &ControlPlane,
    network: &Network,
    mut dice: Dice,
    (first, count): (u64, u64),
) -> Result<Vec<Ran>> {
    let server = LabServer::start(network, Release::Bookworm, Variant::Plain).await?;
    server.paste("apt-get -q update && apt-get -q -y --no-install-recommends install nftables").await?;
    let id = join(control_plane, &server).await?;
    let mut victim = Victim { control_plane, server: Some(server), id };
    let mut ran = Vec::new();
    for number in 0..count {
        let fault = FAULTS[usize::try_from((first + number) % 6)?];
        let item = if fault == Fault::Closing || dice.below(2) == 0 { "firewall" } else { "sshd" };
        let delay = Duration::from_millis(dice.below(9000));
        ran.push(victim.run(fault, item, delay).await.with_context(|| format!("{fault:?} {item} after {delay:?}"))?);
    }
    Ok(ran)
}

#[tokio::test]
async fn whatever_breaks_the_way_in_is_open_again_within_a_minute() -> Result<()> {
    let number = |name: &str, usual: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (count, at_once) = (number("MUSTER_LOCKOUT_RUNS", 4), number("MUSTER_LOCKOUT_SERVERS", 2));
    let seed = number("MUSTER_LOCKOUT_SEED", 20_261_126);
    let network = Network::create().await?;
    let mut control_plane = Settings::new().reached_from(&network).start().await?;
    control_plane.expect_unfinished_commands();
    let share = count.div_ceil(at_once);
    let servers = (0..at_once).map(|server| {
        let mut dice = Dice(seed.wrapping_mul(2_654_435_761).wrapping_add(server.wrapping_mul(0x9e37_79b9) | 1));
        dice.next();
        runs(&control_plane, &network, dice, (server * 3, share))
    });
    let mut all = Vec::new();
    for ran in join_all(servers).await {
        all.extend(ran?);
    }
    let locked_out = all.iter().filter(|ran| ran.outage > held_to(BACK_WITHIN)).count();
    let longest = all.iter().map(|ran| ran.outage).max().unwrap_or_default();
    let stayed = all.iter().filter(|ran| ran.stayed).count();
    println!(
        "{} runs, seed {seed}: {locked_out} lock-outs, longest without a way in {longest:?}, {stayed} kept",
        all.len()
    );
    for fault in FAULTS {
        let of = all.iter().filter(|ran| ran.fault == fault);
        let worst = of.clone().map(|ran| ran.outage).max().unwrap_or_default();
        println!("{fault:?}: {} runs, longest {worst:?}", of.count());
    }
    ensure!(locked_out == 0, "{all:?}");
    let closed = all.iter().filter(|ran| ran.fault == Fault::Closing);
    ensure!(closed.clone().all(|ran| !ran.stayed), "a change that closed the way in stayed: {all:?}");
    ensure!(all.iter().all(|ran| matches!(ran.item, "firewall" | "sshd")));
    Ok(())
}
