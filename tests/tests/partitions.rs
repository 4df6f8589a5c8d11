//! Links that are slow, silent or cut, between the real agent's link and the real control plane.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use muster_agent::{
    clock::Clock,
    link::{self, port::ExecutorPort, session::HostWords, source::TickSource},
    sample::Tick,
    spool,
    state::LinkState,
};
use muster_shared::{
    facts::Container,
    metric::{Series, SeriesKind},
};
use muster_tests::{
    agent::{self, Agent},
    control_plane::{ControlPlane, Settings, free_port},
    fault_proxy::FaultProxy,
    fleet::now_us,
    patience::{SOON, held_to},
    stored, wait,
};
use tokio::{sync::oneshot, time::Instant};

/// The promises on a partition and its end.
const OFFLINE_WITHIN: Duration = Duration::from_secs(30);
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// How long the link is cut.
const CUT_SECONDS: i64 = 600;
const SERIES: &str = "simulated_seconds";

/// A control plane that agents reach through a proxy only.
async fn behind_a_proxy() -> Result<(ControlPlane, FaultProxy)> {
    let port = free_port();
    let proxy =
        FaultProxy::start((Ipv4Addr::LOCALHOST, 0).into(), SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let control_plane = Settings::new().port(port).agents_dial(proxy.address()).start().await?;
    Ok((control_plane, proxy))
}

/// Wall time that keeps step with the runtime's clock, also where that is paused and advanced.
struct SimulatedClock {
    origin_us: i64,
    started: Instant,
}

impl Clock for SimulatedClock {
    fn now_us(&self) -> i64 {
        self.origin_us + i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// One series whose value is the second it was sampled in.
#[derive(Default)]
struct Seconds {
    declared: bool,
}

impl TickSource for Seconds {
    fn tick(&mut self, now_us: i64) -> Tick {
        let series = Series { name: SERIES.to_owned(), labels: [].into(), scale: 0, kind: SeriesKind::Gauge };
        let first = !std::mem::replace(&mut self.declared, true);
        Tick {
            at_us: now_us,
            values: vec![(1, now_us / 1_000_000)],
            declared: if first { vec![(1, series)] } else { Vec::new() },
        }
    }

    fn set_inventory(&mut self, _: &[Container]) {}

    fn wants_inventory(&self) -> bool {
        false
    }
}

/// The runtime's clock is paused for the ten minutes, so they pass as fast as the link can live through them: it
/// samples, spools and dials in vain all the while.
#[tokio::test]
async fn ten_minutes_without_a_link_arrive_in_sample_time_without_a_gap() -> Result<()> {
    let (control_plane, proxy) = behind_a_proxy().await?;
    let directory = tempfile::tempdir()?;
    let state_dir = directory.path().join("agent");
    let created = control_plane.join_token(Some("cut-off")).await?;
    let token = created["token"].as_str().context("a token")?;
    agent::enrol(&state_dir, &control_plane.url(), token, &control_plane.ca_pin().to_string()).await?;
    let id =
        control_plane.server_named("cut-off").await?.context("the server")?["id"].as_str().context("an id")?.to_owned();

    let clock = SimulatedClock { origin_us: now_us() - CUT_SECONDS * 1_000_000, started: Instant::now() };
    let settings = link::Settings {
        clock: Arc::new(clock),
        state: LinkState::new(&state_dir.join("link")),
        source: Box::new(Seconds::default()),
        executor: ExecutorPort::unix(state_dir.join("no-executor.sock")),
        host: HostWords {
            agent_version: String::new(),
            boot_id: "boot".to_owned(),
            machine_id_sha256: String::new(),
            hostname: "cut-off".to_owned(),
        },
        spool: spool::Limits::default(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(link::run(settings, async { stopped.await.unwrap_or_default() }));

    let ticks = async || stored::ticks_of(control_plane.database(), &id, SERIES).await;
    let some =
        wait::until("the first ticks", SOON, || async { Ok(Some(ticks().await?).filter(|ticks| !ticks.is_empty())) });
    let before = some.await?.len();

    proxy.cut();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(CUT_SECONDS.unsigned_abs())).await;
    tokio::time::resume();
    let spooled_until_us = now_us();
    proxy.heal();

    wait::until("every tick of the cut", 2 * SOON, || async {
        let ticks = ticks().await?;
        let (count, last) = (ticks.len(), ticks.last().map_or(0, |(at_us, _)| *at_us));
        ensure!(
            last >= spooled_until_us - 15_000_000,
            "{count} ticks, the last {} s early",
            (spooled_until_us - last) / 1_000_000
        );
        stored::ensure_gapless(&ticks)?;
        Ok(Some(()))
    })
    .await?;
    let ticks = ticks().await?;
    println!("{before} ticks before the cut, {} after it healed", ticks.len());
    ensure!(ticks.len() >= before + usize::try_from(CUT_SECONDS)? - 15, "{} ticks", ticks.len());
    for (at_us, value) in ticks {
        ensure!(value == at_us / 1_000_000, "the value {value} is stored at {at_us}");
    }
    drop(stop);
    running.await??;
    Ok(())
}

#[tokio::test]
async fn a_silent_link_is_noticed_within_thirty_seconds_and_back_ten_after_it_heals() -> Result<()> {
    let (control_plane, proxy) = behind_a_proxy().await?;
    let agent = Agent::join(&control_plane, "silent").await?;
    proxy.half_open();
    let begun = std::time::Instant::now();
    wait::until("the server to be offline", held_to(OFFLINE_WITHIN), || async {
        Ok((agent.shown(&control_plane).await?["agent_status"] == "offline").then_some(()))
    })
    .await?;
    println!("offline after {} ms of silence", begun.elapsed().as_millis());
    proxy.heal();
    let begun = std::time::Instant::now();
    wait::until("the server to be online", held_to(BACK_WITHIN), || async {
        Ok((agent.shown(&control_plane).await?["agent_status"] == "online").then_some(()))
    })
    .await
    .with_context(|| agent.lines().tail(20))?;
    println!("online {} ms after the silence", begun.elapsed().as_millis());
    Ok(())
}

#[tokio::test]
async fn a_reset_link_is_back_within_ten_seconds_and_loses_nothing() -> Result<()> {
    let (control_plane, proxy) = behind_a_proxy().await?;
    let agent = Agent::join(&control_plane, "reset").await?;
    let id = agent.shown(&control_plane).await?["id"].as_str().context("an id")?.to_owned();
    for _ in 0..3 {
        proxy.cut();
        wait::until("the server to be offline", SOON, || async {
            Ok((agent.shown(&control_plane).await?["agent_status"] == "offline").then_some(()))
        })
        .await?;
        proxy.heal();
        wait::until("the server to be online", held_to(BACK_WITHIN), || async {
            Ok((agent.shown(&control_plane).await?["agent_status"] == "online").then_some(()))
        })
        .await?;
    }
    wait::until("gapless sequences", SOON, || async {
        let all = stored::sequences_of(control_plane.database(), &id).await?;
        for sequences in all.values() {
            let first = sequences.first().context("a frame")?;
            let expected: Vec<_> = (*first..).take(sequences.len()).collect();
            ensure!(*sequences == expected, "{sequences:?}");
        }
        Ok(Some(()))
    })
    .await
}
