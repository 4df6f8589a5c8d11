//! What the sampler says of a container on this machine, between two readings of what the Docker engine says of it.

use std::{cell::RefCell, collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use muster_agent::{
    probe::{ProbeOptions, read_containers},
    sample::{Sampler, SamplerOptions, Tick},
};
use muster_shared::metric::{Series, SeriesId};
use muster_tests::{
    lab::{LabServer, Network, Release, Variant},
    patience::SOON,
    wait,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

const SOCKET: &str = "/var/run/docker.sock";
const SECOND_US: i64 = 1_000_000;
/// Levels may move a little between two readings of them.
const TOLERANCE: f64 = 0.01;
const MEMORY: &str = "container_memory_bytes";
/// Page cache the container is given, so that counting it or not is a great difference.
const CACHE_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
/// How long the engine may take to one question; then it is asked again.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The engine's statistics of a container, taken once.
async fn engine_says(container: &str) -> Result<Value> {
    let mut engine = UnixStream::connect(SOCKET).await?;
    let request = format!("GET /containers/{container}/stats?stream=false&one-shot=true HTTP/1.0\r\n\r\n");
    engine.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    // An engine asked at the wrong moment of a container's start may never answer that question.
    timeout(ANSWER_LIMIT, engine.read_to_string(&mut answer)).await.context("no answer of the engine")??;
    let (_, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    Ok(serde_json::from_str(body)?)
}

/// A sampler's readings of one container, by metric.
struct Watched {
    sampler: Sampler,
    name: String,
    series: BTreeMap<SeriesId, Series>,
    now_us: i64,
}

impl Watched {
    fn read(&mut self) -> BTreeMap<String, f64> {
        // Far enough apart that nothing is taken over from the reading before.
        self.now_us += 60 * SECOND_US;
        let Tick { values, declared, .. } = self.sampler.tick(self.now_us);
        self.series.extend(declared);
        let own = values.iter().map(|(id, value)| (&self.series[id], *value));
        let own = own.filter(|(series, _)| series.labels.get("name") == Some(&self.name));
        own.map(|(series, value)| (series.name.clone(), value as f64)).collect()
    }
}

fn blocks(stats: &Value, operation: &str) -> f64 {
    let entries = stats["blkio_stats"]["io_service_bytes_recursive"].as_array().into_iter().flatten();
    let of = entries.filter(|entry| entry["op"].as_str().is_some_and(|op| op.eq_ignore_ascii_case(operation)));
    of.filter_map(|entry| entry["value"].as_f64()).sum()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// What the engine's own client calls memory usage: without the page cache that can be dropped.
fn memory_in_use(stats: &Value) -> Result<f64> {
    let memory = &stats["memory_stats"];
    let droppable = ["total_inactive_file", "inactive_file"].iter().find_map(|key| memory["stats"][*key].as_f64());
    Ok(number(&memory["usage"]) - droppable.context("droppable cache")?)
}

/// An engine can't tell the statistics of a container that starts while an init system in another one has controllers
/// mounted that this machine has not.
mod alone {
    use super::*;

    #[tokio::test]
    async fn a_containers_numbers_are_the_engines() -> Result<()> {
        let network = Network::create().await?;
        let server =
            LabServer::start_with(&network, Release::Bookworm, Variant::Plain, &["--memory", "1g", "--cpus", "1.5"])
                .await?;
        server.run(&["dd", "if=/dev/zero", "of=/var/tmp/cached", "bs=1M", "count=64"]).await?;
        // An engine that others keep busy may not answer in the agent's two seconds.
        let inventory = wait::until("the inventory", SOON, || async {
            let listed = read_containers(&ProbeOptions::default(), &[]).await?;
            Ok(listed.iter().any(|container| container.name == server.name()).then_some(listed))
        })
        .await?;
        let mut sampler = Sampler::new(Path::new("/"), &SamplerOptions::default());
        sampler.set_inventory(&inventory);
        let watched = Watched { sampler, name: server.name().to_owned(), series: BTreeMap::new(), now_us: 0 };
        let watched = RefCell::new(watched);

        let before = watched.borrow_mut().read();
        // An engine that has only just begun to watch a container answers with zeros.
        let stats = wait::until("the engine's statistics", SOON, || async {
            let stats = engine_says(server.name()).await?;
            Ok(stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().is_some_and(|usage| usage > 0).then_some(stats))
        })
        .await?;
        let after = watched.borrow_mut().read();

        let (cpu, interface) = (&stats["cpu_stats"], &stats["networks"]["eth0"]);
        let counters = [
            ("container_cpu_seconds_total", number(&cpu["cpu_usage"]["total_usage"]) / 1e3),
            ("container_cpu_periods_total", number(&cpu["throttling_data"]["periods"])),
            ("container_cpu_throttled_seconds_total", number(&cpu["throttling_data"]["throttled_time"]) / 1e3),
            ("container_network_receive_bytes_total", number(&interface["rx_bytes"])),
            ("container_network_transmit_packets_total", number(&interface["tx_packets"])),
            ("container_block_read_bytes_total", blocks(&stats, "read")),
            ("container_block_written_bytes_total", blocks(&stats, "write")),
        ];
        for (metric, theirs) in counters {
            // The engine counts nanoseconds where microseconds are sampled.
            let (before, after) = (before[metric], after[metric] + 1.0);
            assert!(before <= theirs && theirs <= after, "{metric}: {before} <= {theirs} <= {after}");
        }
        assert!(before["container_cpu_seconds_total"] > 0.0);

        assert_eq!(before["container_memory_limit_bytes"], number(&stats["memory_stats"]["limit"]));
        assert_eq!(before["container_cpu_limit_cores"], 1500.0);
        assert_eq!(before["container_state"], 2.0);

        // Memory is a level: what the container does meanwhile moves it, and the kernel adds up the share of the page cache
        // only every few seconds. So the two are compared until nothing came between.
        wait::until("the engine's memory to be ours", SOON, || async {
            let before = watched.borrow_mut().read();
            let theirs = memory_in_use(&engine_says(server.name()).await?)?;
            let after = watched.borrow_mut().read();
            let [least, most] = [f64::min, f64::max].map(|pick| pick(before[MEMORY], after[MEMORY]));
            let (least, most) = (least * (1.0 - TOLERANCE), most * (1.0 + TOLERANCE));
            ensure!(least <= theirs && theirs <= most, "memory: {least} <= {theirs} <= {most}");
            let cache = after["container_memory_charged_bytes"] - after[MEMORY];
            ensure!(cache > CACHE_BYTES / 2.0, "{cache} bytes of cache are left out");
            Ok(Some(()))
        })
        .await
    }
}
