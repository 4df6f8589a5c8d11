//! A soak: a fleet samples while links drop and both sides are killed by chance, and in the end every sample is there,
//! once and with its value, and the control plane's memory is flat.
//!
//! Values, faults and their times come from one seed. A quarter of the hosts live around the end of an hour that is over,
//! so that half of what they make is sealed into blocks while they still send, and the other half is not.

mod asked;
mod compare;
mod dice;
mod faults;
mod memory;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use muster::metrics::seal::{GRACE_US, WINDOW_US};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

pub use compare::Compared;
pub use memory::Memory;

use self::{
    dice::Dice,
    faults::{Fault, Planned},
};
use crate::{
    control_plane::{ControlPlane, Settings, free_port},
    fault_proxy::FaultProxy,
    fleet::{Host, HostClock, Life, Pace, Values, mixed, now_us},
    measure,
};

/// Links between the fleet and the control plane; each host has one of them.
const LINKS: usize = 4;
/// Seconds of samples in a frame, as of hosts that nobody watches.
const TICKS: usize = 10;
/// One of so many hosts lives around the end of an hour.
const AROUND_AN_HOURS_END: usize = 4;
/// One of so many hosts is killed when hosts are.
const KILLED: usize = 3;
/// Acknowledgements that a killed host may have forgotten, at most.
const FORGOTTEN: usize = 4;
/// Few: on a machine that is busy with something else, the last of many would wait too long for the database.
const ENROLLING_AT_ONCE: usize = 4;
/// How many hosts' samples are asked for over REST as well.
const ASKED: usize = 8;
/// Between two looks at memory, and at what is left to be done in the end.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest that nothing is done of what is left.
const STILL_LIMIT: Duration = Duration::from_secs(180);

/// How large a soak is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub agents: usize,
    pub series: u32,
    pub length: Duration,
    /// Kills of either side.
    pub kills: usize,
    /// How much faster than real time passes for the hosts.
    pub speed: u32,
    /// Between two passes of sealing.
    pub sealing: Duration,
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Soaked {
    pub memory: Memory,
    pub compared: Compared,
    /// Values that were asked for over REST, and are the same.
    pub asked: u64,
    /// Hosts that were killed, all times together.
    pub agents_killed: usize,
    /// From each SIGKILL of the control plane until it was ready again.
    pub ready_after: Vec<Duration>,
}

struct Soak {
    size: Size,
    dice: Dice,
    control_plane: ControlPlane,
    links: Vec<FaultProxy>,
    hosts: Vec<Arc<Host>>,
    clocks: Vec<HostClock>,
    lives: Vec<Life>,
    samples: watch::Sender<bool>,
    memory: Memory,
    agents_killed: usize,
    ready_after: Vec<Duration>,
}

/// Runs one from beginning to end.
///
/// # Errors
/// Naming the first sample that is lost, doubled or altered; when either side does not come back.
pub async fn soak(size: Size) -> Result<Soaked> {
    let mut soak = Soak::prepare(size).await?;
    soak.go_through().await?;
    soak.settle().await?;
    soak.judge().await
}

/// Waits until `count` is 0, for as long as it becomes less: how long that takes is the machine's affair.
async fn none_left(what: &str, count: impl AsyncFn() -> Result<i64>) -> Result<()> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        looks.tick().await;
        let left = count().await?;
        if left == 0 {
            return Ok(());
        }
        if left < least {
            (least, since) = (left, Instant::now());
        }
        ensure!(since.elapsed() < STILL_LIMIT, "{left} {what}, and have not become less for {STILL_LIMIT:?}");
    }
}

impl Soak {
    async fn prepare(size: Size) -> Result<Self> {
        let port = free_port();
        let sealing = format!("{}s", size.sealing.as_secs());
        let control_plane = Settings::new().port(port).argument("--seal-interval").argument(sealing).start().await?;
        let mut links = Vec::new();
        for _ in 0..LINKS {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            links.push(FaultProxy::start((Ipv4Addr::LOCALHOST, 0).into(), server).await?);
        }
        let enrol = async |index: usize| {
            let values = Values::Seeded(mixed(size.seed ^ mixed(index as u64)));
            Host::enrol_valued(&control_plane, &format!("host-{index}"), size.series, values).await.map(Arc::new)
        };
        let hosts = stream::iter(0..size.agents).map(enrol).buffered(ENROLLING_AT_ONCE).try_collect().await?;
        Ok(Self {
            size,
            dice: Dice::of(size.seed),
            control_plane,
            links,
            hosts,
            clocks: Vec::new(),
            lives: Vec::new(),
            samples: watch::Sender::new(true),
            memory: Memory::default(),
            agents_killed: 0,
            ready_after: Vec::new(),
        })
    }

    fn pace(&self) -> Pace {
        Pace { period: Duration::from_secs(TICKS as u64) / self.size.speed, ticks: TICKS }
    }

    fn begin_lives(&mut self) {
        let pace = self.pace();
        let now_us = now_us();
        // The end of the last hour that may be sealed, in the middle of what these hosts live through.
        let hours_end_us = (now_us - GRACE_US).div_euclid(WINDOW_US) * WINDOW_US;
        let around_us = hours_end_us - HostClock::passes_us(pace, self.size.length) / 2;
        for index in 0..self.hosts.len() {
            let first_us = if index.is_multiple_of(AROUND_AN_HOURS_END) { around_us } else { now_us };
            self.clocks.push(HostClock::starting_at(first_us, pace));
            let after = self.dice.up_to(pace.period);
            self.lives.push(self.life(index, after));
        }
    }

    fn life(&self, index: usize, after: Duration) -> Life {
        // By chance too, so that no kind of host has a link to itself.
        let link = self.links[(mixed(index as u64) % LINKS as u64) as usize].address();
        Life::begin(&self.hosts[index], link, self.clocks[index], &self.samples, after)
    }

    /// The run itself: faults as planned, and a look at memory each second.
    async fn go_through(&mut self) -> Result<()> {
        let begun = Instant::now();
        let planned = faults::plan(&mut self.dice, self.size.length, self.size.kills, LINKS);
        self.memory.begin_life(Duration::ZERO);
        self.begin_lives();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut next = planned.into_iter().peekable();
        loop {
            let until = next.peek().map_or(self.size.length, |planned| planned.at);
            tokio::select! {
                () = sleep_until(begun + until) => match next.next() {
                    Some(planned) => self.suffer(planned, begun).await?,
                    None => return Ok(()),
                },
                _ = looks.tick() => {
                    self.memory.take(begun.elapsed(), measure::rss_bytes(self.control_plane.process_id()?));
                }
            }
        }
    }

    async fn suffer(&mut self, planned: Planned, begun: Instant) -> Result<()> {
        match planned.fault {
            Fault::KillControlPlane => {
                self.control_plane.kill().await?;
                self.ready_after.push(self.control_plane.start_again().await?);
                self.memory.begin_life(begun.elapsed());
            }
            Fault::KillAgents => self.kill_agents().await,
            Fault::Weather { link, weather } => self.links[link].set(weather),
        }
        Ok(())
    }

    async fn kill_agents(&mut self) {
        let first = self.dice.below(KILLED);
        for index in (0..self.hosts.len()).filter(|index| index % KILLED == first) {
            self.lives[index].kill().await;
            self.hosts[index].history().reopen(self.dice.below(FORGOTTEN + 1));
            let after = self.dice.up_to(2 * self.pace().period);
            self.lives[index] = self.life(index, after);
            self.agents_killed += 1;
        }
    }

    /// Until everything is acknowledged, and what is due is sealed.
    async fn settle(&mut self) -> Result<()> {
        self.samples.send_replace(false);
        none_left("frames are not acknowledged", async || {
            Ok(self.hosts.iter().map(|host| host.history().unacknowledged() as i64).sum())
        })
        .await?;
        for life in &mut self.lives {
            life.kill().await;
        }
        let before_us = (now_us() - GRACE_US).div_euclid(WINDOW_US) * WINDOW_US;
        let unsealed = format!("SELECT COUNT(*) FROM metric_frames WHERE in_block = 0 AND first_us < {before_us}");
        none_left("frames are not sealed", async || self.control_plane.database().number(&unsealed).await).await
    }

    async fn judge(mut self) -> Result<Soaked> {
        let quarantined = self.control_plane.database().number("SELECT COUNT(*) FROM metric_quarantine").await?;
        ensure!(quarantined == 0, "{quarantined} frames are in quarantine");
        for host in &self.hosts {
            let strange = host.history().strange_acknowledgements().to_vec();
            ensure!(strange.is_empty(), "{}: acknowledged but never sent: {strange:?}", host.name());
        }
        let mut asked = 0;
        for host in self.hosts.iter().step_by(self.hosts.len().div_ceil(ASKED)) {
            asked += asked::every_second(self.control_plane.rest(), host).await?;
        }
        let me = self.control_plane.rest().get("/api/v1/me").await?;
        let org = me["organization_id"].as_str().context("an id")?.parse()?;
        self.control_plane.terminate().await?;
        let compared = compare::with_stored(&self.hosts, org, self.control_plane.database()).await?;
        let (agents_killed, ready_after) = (self.agents_killed, self.ready_after);
        Ok(Soaked { memory: self.memory, compared, asked, agents_killed, ready_after })
    }
}
