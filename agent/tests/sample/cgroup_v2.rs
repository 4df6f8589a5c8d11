//! A recorded Debian 12 host with four containers under cgroup version 2, and what its Docker engine said of them.
//!
//! The recording took tens of seconds, the tree first and the engine's statistics last. So what stood still meanwhile
//! is compared number by number, and what moved by its bounds (the tree before, the tree after) and by its ratios.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use muster_agent::sample::{Sampler, SamplerOptions};
use muster_shared::{
    facts,
    metric::{Series, SeriesId},
};
use serde_json::Value;

const ARCHIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cgroup-v2-debian12.tar.gz");
const SNAPSHOTS: [&str; 2] = ["t0", "t1"];
const TOLERANCE: f64 = 0.01;

/// A snapshot: its containers by name, each with its readings by metric.
struct Recording {
    directory: tempfile::TempDir,
}

type Readings = BTreeMap<String, BTreeMap<String, i64>>;

impl Recording {
    fn unpack() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let unpacked = Command::new("tar").arg("-xzf").arg(ARCHIVE).arg("-C").arg(directory.path()).status();
        assert!(unpacked.expect("tar runs").success());
        Self { directory }
    }

    fn root(&self, snapshot: &str) -> PathBuf {
        self.directory.path().join(snapshot)
    }

    fn json(&self, snapshot: &str, name: &str) -> Value {
        let text = fs::read(self.root(snapshot).join(name)).expect("a recorded answer");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn inventory(&self, snapshot: &str) -> Vec<facts::Container> {
        let listed = self.json(snapshot, "docker-containers.json");
        let container = |entry: &Value| facts::Container {
            id: entry["Id"].as_str().expect("an id").to_owned(),
            name: entry["Names"][0].as_str().expect("a name").to_owned(),
            state: entry["State"].as_str().expect("a state").to_owned(),
            restarts: Some(0),
            ..facts::Container::default()
        };
        listed.as_array().expect("a list").iter().map(container).collect()
    }

    /// The engine's statistics of each container, by name.
    fn truth(&self, snapshot: &str) -> BTreeMap<String, Value> {
        let stats =
            |container: &facts::Container| self.json(snapshot, &format!("docker-stats-{}.json", &container.id[..12]));
        self.inventory(snapshot).iter().map(|container| (label(&container.name), stats(container))).collect()
    }
}

fn label(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

fn sample(root: &Path, inventory: &[facts::Container]) -> (Readings, BTreeMap<Series, i64>) {
    let mut sampler = Sampler::new(root, &SamplerOptions::default());
    sampler.set_inventory(inventory);
    let tick = sampler.tick(1);
    assert!(tick.values.is_sorted_by(|a, b| a.0 < b.0));
    let series: BTreeMap<_, _> = tick.declared.into_iter().collect();
    let all: BTreeMap<Series, i64> = tick.values.iter().map(|(id, value)| (series[id].clone(), *value)).collect();
    let mut containers = Readings::new();
    for (series, value) in all.iter().filter(|(series, _)| series.name.starts_with("container_")) {
        containers.entry(series.labels["name"].clone()).or_default().insert(series.name.clone(), *value);
    }
    (containers, all)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

#[track_caller]
fn assert_close(what: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= theirs.abs() * TOLERANCE, "{what}: {ours} is not within 1 % of {theirs}");
}

#[test]
fn what_stood_still_is_what_the_engine_says() {
    let recording = Recording::unpack();
    for snapshot in SNAPSHOTS {
        let (ours, _) = sample(&recording.root(snapshot), &recording.inventory(snapshot));
        let truth = recording.truth(snapshot);
        assert_eq!(ours.keys().collect::<Vec<_>>(), truth.keys().collect::<Vec<_>>());
        for (name, stats) in &truth {
            let close = |metric: &str, theirs: f64| {
                assert_close(&format!("{snapshot} {name} {metric}"), ours[name][metric] as f64, theirs);
            };
            close("container_tasks", number(&stats["pids_stats"]["current"]));
            close("container_tasks_limit", number(&stats["pids_stats"]["limit"]));
            let network = &stats["networks"]["eth0"];
            close("container_network_receive_bytes_total", number(&network["rx_bytes"]));
            close("container_network_receive_packets_total", number(&network["rx_packets"]));
            close("container_network_transmit_bytes_total", number(&network["tx_bytes"]));
            let reads = stats["blkio_stats"]["io_service_bytes_recursive"].as_array().into_iter().flatten();
            let read: f64 = reads.filter(|entry| entry["op"] == "read").map(|entry| number(&entry["value"])).sum();
            close("container_block_read_bytes_total", read);
            // The writer's page cache comes and goes within the seconds between the two readings.
            if name != "writer" {
                let memory = &stats["memory_stats"];
                close("container_memory_bytes", number(&memory["usage"]) - number(&memory["stats"]["inactive_file"]));
                close("container_memory_cache_bytes", number(&memory["stats"]["file"]));
            }
            if ["idle", "env-2222_odoo"].contains(&name.as_str()) {
                close("container_cpu_seconds_total", number(&stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e3);
            }
        }
    }
}

#[test]
fn what_moved_lies_between_the_trees_before_and_after() {
    let recording = Recording::unpack();
    let [before, after] = SNAPSHOTS.map(|snapshot| sample(&recording.root(snapshot), &recording.inventory(snapshot)).0);
    let truth = &recording.truth(SNAPSHOTS[0]);
    for name in ["writer", "env-1111_odoo"] {
        let theirs = number(&truth[name]["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e3;
        let [before, after] = [&before, &after].map(|readings| readings[name]["container_cpu_seconds_total"] as f64);
        assert!(before < theirs && theirs < after, "{name}: {before} < {theirs} < {after}");
    }
    let writes = truth["writer"]["blkio_stats"]["io_service_bytes_recursive"].as_array().expect("a list");
    let theirs: f64 = writes.iter().filter(|entry| entry["op"] == "write").map(|entry| number(&entry["value"])).sum();
    let [before, after] =
        [&before, &after].map(|readings| readings["writer"]["container_block_written_bytes_total"] as f64);
    assert!(before < theirs && theirs < after);
}

#[test]
fn throttling_has_the_engines_ratios() {
    let recording = Recording::unpack();
    for snapshot in SNAPSHOTS {
        let (ours, _) = sample(&recording.root(snapshot), &recording.inventory(snapshot));
        let (ours, stats) = (&ours["env-1111_odoo"], &recording.truth(snapshot)["env-1111_odoo"]["cpu_stats"]);
        let throttling = &stats["throttling_data"];
        let our = |metric: &str| ours[&format!("container_cpu_{metric}")] as f64;
        assert_close(
            "use a period",
            our("seconds_total") / our("periods_total"),
            number(&stats["cpu_usage"]["total_usage"]) / 1e3 / number(&throttling["periods"]),
        );
        assert_close(
            "share of periods throttled",
            our("throttled_periods_total") / our("periods_total"),
            number(&throttling["throttled_periods"]) / number(&throttling["periods"]),
        );
        assert_eq!(ours["container_cpu_limit_cores"], 500);
        assert_eq!(ours["container_memory_limit_bytes"], 256 << 20);
    }
}

#[test]
fn states_limits_and_their_absence() {
    let recording = Recording::unpack();
    let (containers, host) = sample(&recording.root("t0"), &recording.inventory("t0"));
    assert_eq!(containers["env-2222_odoo"]["container_state"], 3);
    assert_eq!(containers["idle"]["container_state"], 2);
    assert_eq!(containers["env-2222_odoo"]["container_tasks_limit"], 50);
    assert!(!containers["idle"].contains_key("container_memory_limit_bytes"));
    assert!(!containers["idle"].contains_key("container_cpu_limit_cores"));
    assert_eq!(containers["idle"]["container_oom_kills_total"], 0);
    let value = |name: &str| host.iter().find(|(series, _)| series.name == name).map(|(_, value)| *value);
    assert_eq!(value("host_containers_running"), Some(4));
    assert_eq!(value("host_memory_total_bytes"), recording.json("t0", "docker-info.json")["MemTotal"].as_i64());
}

#[test]
fn only_listed_containers_are_sampled_once_there_is_an_inventory() {
    let recording = Recording::unpack();
    let inventory = recording.inventory("t0");
    let mut sampler = Sampler::new(&recording.root("t0"), &SamplerOptions::default());
    let has_containers = |tick: &muster_agent::sample::Tick| {
        tick.declared.iter().any(|(_, series)| series.labels.contains_key("container"))
    };

    let second = |seconds: i64| seconds * 1_000_000;
    assert!(!has_containers(&sampler.tick(second(1))), "the first inventory is waited for");
    assert!(sampler.wants_inventory());
    let unnamed = sampler.tick(second(10));
    assert!(has_containers(&unnamed));
    assert!(unnamed.declared.iter().all(|(_, series)| !series.labels.contains_key("name")));

    sampler.set_inventory(&inventory[..1]);
    let named = sampler.tick(second(11));
    let names: Vec<_> = named.declared.iter().filter_map(|(_, series)| series.labels.get("name")).collect();
    assert!(!names.is_empty() && names.iter().all(|name| **name == label(&inventory[0].name)));
    let first_new = named.declared.iter().map(|(id, _)| *id).min();
    assert!(first_new > unnamed.declared.iter().map(|(id, _)| *id).max(), "no id is used again");
}

#[test]
fn a_container_that_goes_ends_and_keeps_its_series_while_it_is_listed() {
    let recording = Recording::unpack();
    let inventory = recording.inventory("t0");
    let mut sampler = Sampler::new(&recording.root("t0"), &SamplerOptions::default());
    sampler.set_inventory(&inventory);
    let tick = sampler.tick(1);
    let idle = inventory.iter().find(|container| container.name == "/idle").expect("idle");
    let cpu = tick.declared.iter().find(|(_, series)| {
        series.name == "container_cpu_seconds_total" && series.labels.get("name").is_some_and(|name| name == "idle")
    });
    let id = cpu.expect("declared").0;
    let has = |tick: &muster_agent::sample::Tick| tick.values.iter().any(|(other, _)| *other == id);
    assert!(has(&tick));

    let cgroup = recording.root("t0").join(format!("sys/fs/cgroup/system.slice/docker-{}.scope", idle.id));
    let aside = recording.directory.path().join("aside");
    fs::rename(&cgroup, &aside).expect("moved aside");
    assert!(!has(&sampler.tick(2)));
    fs::rename(&aside, &cgroup).expect("moved back");
    let back = sampler.tick(3);
    assert!(has(&back) && back.declared.is_empty());
}

#[test]
fn a_cgroup_whose_processes_were_killed_is_no_running_container() {
    let recording = Recording::unpack();
    let inventory = recording.inventory("t0");
    let idle = inventory.iter().find(|container| container.name == "/idle").expect("idle");
    let cgroup = recording.root("t0").join(format!("sys/fs/cgroup/system.slice/docker-{}.scope", idle.id));
    let mut series: BTreeMap<SeriesId, Series> = BTreeMap::new();
    let mut told = |sampler: &mut Sampler, now_us| {
        let tick = sampler.tick(now_us);
        series.extend(tick.declared);
        let running = tick.values.iter().find(|(id, _)| series[id].name == "host_containers_running");
        let labels = tick.values.iter().map(|(id, _)| &series[id].labels);
        let is_idle = |label: &String| *label == idle.id[..12];
        let has_idle = labels.filter_map(|labels| labels.get("container")).any(is_idle);
        (running.map(|(_, value)| *value), has_idle)
    };
    // Docker is away: there is no inventory.
    let mut sampler = Sampler::new(&recording.root("t0"), &SamplerOptions::default());
    told(&mut sampler, 1);
    assert_eq!(told(&mut sampler, 10_000_000), (Some(4), true));
    for (file, text) in [("cgroup.procs", ""), ("cgroup.events", "populated 0\nfrozen 0\n"), ("pids.current", "0\n")] {
        fs::write(cgroup.join(file), text).expect("written");
    }
    assert_eq!(told(&mut sampler, 11_000_000), (Some(3), false), "at the very next tick");
    assert_eq!(told(&mut sampler, 31_000_000), (Some(3), false), "also when the tree is listed again");
}

#[test]
fn beyond_the_limit_the_youngest_are_refused_and_counted() {
    let recording = Recording::unpack();
    let inventory = recording.inventory("t0");
    let mut all = Sampler::new(&recording.root("t0"), &SamplerOptions::default());
    all.set_inventory(&inventory);
    let all = all.tick(1).values.len();

    let mut limited = Sampler::new(&recording.root("t0"), &SamplerOptions { max_series: all - 10 });
    limited.set_inventory(&inventory);
    let tick = limited.tick(1);
    assert_eq!(tick.values.len(), all - 10);
    let next = limited.tick(2);
    let refused =
        tick.declared.iter().find(|(_, series)| series.name == "agent_series_refused_total").expect("declared").0;
    assert_eq!(next.values.iter().find(|(id, _)| *id == refused).map(|(_, value)| *value), Some(10));
    let youngest = label(&inventory[3].name);
    let lacks = |name: &str| {
        tick.declared.iter().filter(|(_, series)| series.labels.get("name").is_some_and(|other| other == name)).count()
    };
    assert!(lacks(&youngest) < lacks(&label(&inventory[0].name)));
}
