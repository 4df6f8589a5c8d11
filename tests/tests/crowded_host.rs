//! A host with a thousand containers, and one whose Docker engine hangs: each second is sampled all the same.
//!
//! The engine is a fake one behind a real socket, since no test machine holds a thousand containers; the containers'
//! cgroups are a tree of files as the kernel has them, beside this machine's own `/proc`.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use muster_agent::{
    clock::SystemClock,
    link::{
        self,
        port::{ExecutorPort, FromExecutor},
        session::HostWords,
    },
    probe::{EngineError, ProbeOptions, read_containers},
    sample::{Sampler, SamplerOptions, Tick},
    spool,
    state::LinkState,
};
use muster_shared::wire::{self, executor_reply, executor_request};
use muster_tests::{
    agent,
    control_plane::ControlPlane,
    fake_engine::FakeEngine,
    measure,
    patience::{SOON, held_to},
    stored, wait,
};
use tokio::sync::{mpsc, oneshot};

const CONTAINERS: usize = 1000;
/// A listing looks at so many containers at most that those of a thousand were all looked at after this many.
const LISTINGS: usize = 8;
/// The promises: a cycle, and what a thousand containers may take.
const CYCLE: Duration = Duration::from_secs(1);
const MEMORY_BYTES: u64 = 24 << 20;
const TICKS: i64 = 15;
const SECOND_US: i64 = 1_000_000;

/// What of `/proc` is this machine's own.
const OWN: [&str; 10] =
    ["stat", "meminfo", "vmstat", "loadavg", "uptime", "diskstats", "softirqs", "pressure", "net", "sys"];
/// What the kernel says of a container under cgroup version 2.
const FILES: [(&str, &str); 9] = [
    ("memory.current", "73400320\n"),
    ("memory.stat", "anon 52428800\nfile 20971520\ninactive_file 10485760\nactive_file 10485760\n"),
    ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"),
    ("memory.swap.current", "0\n"),
    ("memory.max", "268435456\n"),
    ("io.stat", "254:0 rbytes=1048576 wbytes=2097152 rios=64 wios=128 dbytes=0 dios=0\n"),
    ("pids.current", "7\n"),
    ("pids.max", "max\n"),
    ("cpu.max", "50000 100000\n"),
];

fn id(number: usize) -> String {
    format!("{number:064x}")
}

fn scope(root: &Path, number: usize) -> PathBuf {
    root.join(format!("sys/fs/cgroup/system.slice/docker-{}.scope", id(number)))
}

/// What each container has used by then: a quarter of them work, the others rest.
fn work(root: &Path, second: i64) -> Result<()> {
    for number in (0..CONTAINERS).filter(|number| second == 0 || number % 4 == 0) {
        let used = (second + 1) * 100_000 + i64::try_from(number)?;
        let text = format!(
            "usage_usec {used}\nuser_usec {used}\nsystem_usec 0\nnr_periods {second}\nnr_throttled 0\nthrottled_usec 0\n"
        );
        fs::write(scope(root, number).join("cpu.stat"), text)?;
    }
    Ok(())
}

/// A host like this one, with a thousand containers.
fn crowded(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("proc"))?;
    for name in OWN {
        symlink(Path::new("/proc").join(name), root.join("proc").join(name))?;
    }
    fs::write(root.join("proc/mounts"), "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")?;
    fs::create_dir_all(root.join("sys/fs/cgroup"))?;
    fs::write(root.join("sys/fs/cgroup/cgroup.controllers"), "cpuset cpu io memory pids\n")?;
    for number in 0..CONTAINERS {
        let scope = scope(root, number);
        fs::create_dir_all(&scope)?;
        for (name, text) in FILES {
            fs::write(scope.join(name), text)?;
        }
    }
    work(root, 0)
}

fn asking(engine: &FakeEngine) -> ProbeOptions {
    ProbeOptions { docker_socket: engine.socket().to_owned(), ..ProbeOptions::default() }
}

/// Answers questions for containers as the executor does, by asking the engine, until the link is gone. Counts how
/// often the engine hung.
async fn answer_containers(
    options: ProbeOptions,
    mut asked: mpsc::Receiver<wire::ExecutorRequest>,
    answers: mpsc::Sender<FromExecutor>,
) -> usize {
    let mut hung = 0;
    if answers.send(FromExecutor::Up(wire::ExecutorHello::default())).await.is_err() {
        return hung;
    }
    while let Some(request) = asked.recv().await {
        if !matches!(request.kind, Some(executor_request::Kind::ReadContainers(_))) {
            continue;
        }
        let reply = match read_containers(&options, &[]).await {
            Ok(containers) => {
                executor_reply::Kind::ContainersJson(serde_json::to_string(&containers).unwrap_or_default())
            }
            Err(error) => {
                hung += usize::from(matches!(error, EngineError::Hung));
                executor_reply::Kind::Error(wire::ExecutorError { detail: error.to_string(), ..Default::default() })
            }
        };
        if answers.send(FromExecutor::Reply(reply)).await.is_err() {
            break;
        }
    }
    hung
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_engine_costs_the_host_no_second() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let directory = tempfile::tempdir()?;
    let state_dir = directory.path().join("agent");
    let token = control_plane.join_token(Some("hung")).await?["token"].as_str().context("a token")?.to_owned();
    agent::enrol(&state_dir, &control_plane.url(), &token, &control_plane.ca_pin().to_string()).await?;
    let id =
        control_plane.server_named("hung").await?.context("the server")?["id"].as_str().context("an id")?.to_owned();
    let engine = FakeEngine::hung(&directory.path().join("docker.sock"))?;
    let (executor, asked, answers) = ExecutorPort::pair();
    let answering = tokio::spawn(answer_containers(asking(&engine), asked, answers));
    let settings = link::Settings {
        clock: Arc::new(SystemClock),
        state: LinkState::new(&state_dir.join("link")),
        source: Box::new(Sampler::new(Path::new("/"), &SamplerOptions::default())),
        executor,
        host: HostWords {
            agent_version: String::new(),
            boot_id: "boot".to_owned(),
            machine_id_sha256: String::new(),
            hostname: "hung".to_owned(),
        },
        spool: spool::Limits::default(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(link::run(settings, async { stopped.await.unwrap_or_default() }));
    let ticks = wait::until("seconds of a host whose engine hangs", SOON, || async {
        let ticks = stored::ticks_of(control_plane.database(), &id, "host_load_1m").await?;
        Ok((ticks.len() >= usize::try_from(TICKS)?).then_some(ticks))
    })
    .await?;
    stored::ensure_gapless(&ticks)?;
    drop(stop);
    running.await??;
    let hung = answering.await?;
    println!("{} seconds without a gap, {hung} questions to the engine without an answer", ticks.len());
    ensure!(hung > 0, "the engine was never asked");
    Ok(())
}

/// Measures time and memory, so by itself.
mod alone {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thousand_containers_are_listed_and_sampled_within_a_second() -> Result<()> {
        measure::raise_descriptor_limit();
        let directory = tempfile::tempdir()?;
        let root = directory.path();
        crowded(root)?;
        let ids: Vec<_> = (0..CONTAINERS).map(id).collect();
        let engine = FakeEngine::listing(&root.join("docker.sock"), &ids)?;
        // Listed until each was looked at once: from then on it is as every ten seconds of such a host.
        let mut known = Vec::new();
        for _ in 0..LISTINGS {
            known = read_containers(&asking(&engine), &known).await?;
        }
        let looked_at = known.iter().filter(|container| container.restarts.is_some()).count();
        ensure!(looked_at == CONTAINERS, "{looked_at} of {CONTAINERS} containers were looked at");
        let own = std::process::id();
        let before_bytes = measure::rss_bytes(own);

        let mut sampler = Sampler::new(root, &SamplerOptions::default());
        let (mut listings, mut cycles) = (Vec::new(), Vec::new());
        let (mut series, mut last) = (BTreeMap::new(), Tick::default());
        for second in 0..TICKS {
            work(root, second)?;
            let begun = Instant::now();
            known = read_containers(&asking(&engine), &known).await?;
            sampler.set_inventory(&known);
            listings.push(begun.elapsed());
            last = sampler.tick((second + 1) * SECOND_US);
            cycles.push(begun.elapsed());
            series.extend(std::mem::take(&mut last.declared));
        }
        let grown = measure::rss_bytes(own).saturating_sub(before_bytes);
        let longest = |times: &[Duration]| times.iter().max().map_or(0.0, |time| time.as_secs_f64() * 1e3);
        println!(
            "{CONTAINERS} containers, {} series: listed within {:.0} ms, listed and sampled within {:.0} ms, {} MiB",
            last.values.len(),
            longest(&listings),
            longest(&cycles),
            grown >> 20
        );
        // What is sampled is what each container's files say, under its own name.
        let values = last.values.iter().map(|(id, value)| (&series[id], *value));
        let cpu: Vec<_> = values.filter(|(series, _)| series.name == "container_cpu_seconds_total").collect();
        ensure!(cpu.len() == CONTAINERS, "{} containers are sampled", cpu.len());
        for (series, value) in cpu {
            let number: usize = series.labels["name"].strip_prefix("container-").context("a name")?.parse()?;
            let second = if number.is_multiple_of(4) { TICKS - 1 } else { 0 };
            ensure!(value == (second + 1) * 100_000 + i64::try_from(number)?, "{series:?}: {value}");
        }
        ensure!(longest(&cycles) <= held_to(CYCLE).as_secs_f64() * 1e3, "{cycles:?}");
        ensure!(grown <= MEMORY_BYTES, "{grown} bytes");
        Ok(())
    }
}
