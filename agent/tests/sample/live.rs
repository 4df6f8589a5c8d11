//! This host under load, and what its kernel says in its own words right before and after each tick.
//!
//! A counter lies between the two readings around it. A level lies between them or within one percent of either, unless it
//! rose and fell again meanwhile, which memory of other processes may do at any moment: so nearly every time, and a wrong
//! field or unit would be wrong each time. Readings here are made with nothing of the sampler's.

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    io::Write as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use muster_agent::sample::{Sampler, SamplerOptions};
use muster_shared::metric::{Series, SeriesKind};

/// So many ticks at least, and as many more as it takes until the load has shown itself in every kind of counter.
const TICKS: i64 = 40;
const SHOWN_WITHIN: Duration = Duration::from_secs(60);
/// Levels are compared where the readings around a tick took no longer than this: more happens to them in more time.
const QUICK: Duration = Duration::from_millis(50);
/// Eight modes of the processor, three counts, five levels and the faults of memory; what devices there are comes on top.
const SERIES: usize = 17;
/// What the load must move. A machine may run tests at a low priority, whose processor time is counted apart.
const MOVED: [(&str, &[&str]); 4] = [
    ("host_cpu_seconds_total", &["user", "nice"]),
    ("host_context_switches_total", &[""]),
    ("host_forks_total", &[""]),
    ("host_memory_page_faults_total", &[""]),
];
const SECOND_US: i64 = 1_000_000;
const TOLERANCE: f64 = 0.01;
/// Of the times a level was compared, so many have to agree.
const AGREE: f64 = 0.8;
/// So often at least is each level compared.
const COMPARED: usize = 10;
/// What the load keeps of memory at a time: more at once than the allocator keeps for itself, little beside what a host uses.
const TOUCHED: usize = 1 << 20;
/// Clock ticks of `/proc/stat` that idle time may fall back by.
const IDLE_SLACK_US: i64 = 20_000;

type Readings = BTreeMap<(String, String), i64>;

/// Fields of one line, by whitespace.
fn fields(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().collect()
}

fn processor(found: &mut Readings) {
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let mut put = |name: &str, label: &str, value: i64| found.insert((name.to_owned(), label.to_owned()), value);
    for line in text.lines().map(fields) {
        let number = |at: usize| line.get(at).and_then(|field| field.parse::<i64>().ok()).unwrap_or(0);
        match line[0] {
            "cpu" => {
                for (at, mode) in
                    ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"].iter().enumerate()
                {
                    put("host_cpu_seconds_total", mode, number(at + 1) * 10_000);
                }
            }
            "ctxt" => drop(put("host_context_switches_total", "", number(1))),
            "processes" => drop(put("host_forks_total", "", number(1))),
            "intr" => drop(put("host_interrupts_total", "", number(1))),
            _ => {}
        }
    }
}

fn memory(found: &mut Readings) {
    let named = [
        ("MemTotal:", "host_memory_total_bytes"),
        ("MemFree:", "host_memory_free_bytes"),
        ("MemAvailable:", "host_memory_available_bytes"),
        ("Cached:", "host_memory_cached_bytes"),
        ("AnonPages:", "host_memory_anonymous_bytes"),
    ];
    for line in fs::read_to_string("/proc/meminfo").expect("/proc/meminfo").lines().map(fields) {
        if let Some((_, metric)) = named.iter().find(|(field, _)| *field == line[0]) {
            let kib: i64 = line[1].parse().expect("a number");
            found.insert(((*metric).to_owned(), String::new()), kib * 1024);
        }
    }
    for line in fs::read_to_string("/proc/vmstat").expect("/proc/vmstat").lines().map(fields) {
        if line[0] == "pgfault" {
            let faults = line[1].parse().expect("a number");
            found.insert(("host_memory_page_faults_total".to_owned(), String::new()), faults);
        }
    }
}

fn devices(found: &mut Readings) {
    let mut put = |name: &str, device: &str, value: i64| found.insert((name.to_owned(), device.to_owned()), value);
    for line in fs::read_to_string("/proc/diskstats").expect("/proc/diskstats").lines().map(fields) {
        let number = |at: usize| line[at].parse::<i64>().expect("a number");
        put("host_disk_reads_total", line[2], number(3));
        put("host_disk_read_bytes_total", line[2], number(5) * 512);
        put("host_disk_writes_total", line[2], number(7));
        put("host_disk_written_bytes_total", line[2], number(9) * 512);
    }
    for line in fs::read_to_string("/proc/net/dev").expect("/proc/net/dev").lines().skip(2) {
        let (device, line) = line.rsplit_once(':').expect("a device");
        let line = fields(line);
        let number = |at: usize| line[at].parse::<i64>().expect("a number");
        put("host_network_receive_bytes_total", device.trim(), number(0));
        put("host_network_receive_packets_total", device.trim(), number(1));
        put("host_network_transmit_bytes_total", device.trim(), number(8));
    }
}

fn kernel_says() -> Readings {
    let mut found = Readings::new();
    processor(&mut found);
    memory(&mut found);
    devices(&mut found);
    found
}

/// Works on processors, memory and the disk, and starts processes, until it is `over`.
fn load(over: &AtomicBool) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut file = fs::File::create(directory.path().join("written")).expect("a file");
    while !over.load(Ordering::Relaxed) {
        black_box((0..200_000u64).fold(1u64, |product, factor| product.wrapping_mul(factor | 1)));
        let touched = black_box(vec![1u8; TOUCHED]);
        file.write_all(&touched).and_then(|()| file.sync_data()).expect("written");
        assert!(Command::new("true").status().expect("true runs").success());
    }
}

fn is_between(series: &Series, value: i64, before: i64, after: i64) -> bool {
    let (least, most) = (before.min(after), before.max(after));
    match series.kind {
        SeriesKind::Counter if series.labels.get("mode").is_some_and(|mode| mode == "idle" || mode == "iowait") => {
            (least - IDLE_SLACK_US..=most + IDLE_SLACK_US).contains(&value)
        }
        SeriesKind::Counter => (least..=most).contains(&value),
        SeriesKind::Gauge => {
            (least as f64 * (1.0 - TOLERANCE)..=most as f64 * (1.0 + TOLERANCE)).contains(&(value as f64))
        }
    }
}

/// Compares tick after tick until every series was compared and the load has shown itself.
fn compare() {
    let mut sampler = Sampler::new(Path::new("/"), &SamplerOptions::default());
    let mut known = BTreeMap::new();
    let mut ends: BTreeMap<_, (i64, i64)> = BTreeMap::new();
    let mut levels: BTreeMap<_, Agreement> = BTreeMap::new();
    let begun = Instant::now();
    for tick in 1.. {
        let around = Instant::now();
        let before = kernel_says();
        let sampled = sampler.tick(tick * SECOND_US);
        let after = kernel_says();
        let is_quick = around.elapsed() <= QUICK;
        known.extend(sampled.declared);
        for (id, value) in sampled.values {
            let series: &Series = &known[&id];
            if series.labels.len() > 1 || (series.kind == SeriesKind::Gauge && !is_quick) {
                continue;
            }
            let key = (series.name.clone(), series.labels.values().next().cloned().unwrap_or_default());
            let (Some(before), Some(after)) = (before.get(&key), after.get(&key)) else { continue };
            let agrees = is_between(series, value, *before, *after);
            let said = || format!("{series:?}: {before} <= {value} <= {after}");
            match series.kind {
                SeriesKind::Counter => assert!(agrees, "{}", said()),
                SeriesKind::Gauge => levels.entry(key.clone()).or_default().count(agrees, said),
            }
            ends.entry(key).or_insert((value, value)).1 = value;
        }
        let moved: Readings = ends.iter().map(|(key, (first, last))| (key.clone(), last - first)).collect();
        let are_compared = moved.len() >= SERIES && levels.values().all(|level| level.compared >= COMPARED);
        if tick >= TICKS && are_compared && has_shown(&moved) {
            return levels.values().for_each(Agreement::assert);
        }
        assert!(begun.elapsed() < SHOWN_WITHIN, "the load does not show: {moved:?}");
    }
}

/// How often a level was compared, and each time it did not agree, in words.
#[derive(Default)]
struct Agreement {
    compared: usize,
    apart: Vec<String>,
}

impl Agreement {
    fn count(&mut self, agrees: bool, said: impl FnOnce() -> String) {
        self.compared += 1;
        if !agrees {
            self.apart.push(said());
        }
    }

    fn assert(&self) {
        let agreed = self.compared - self.apart.len();
        assert!(
            agreed as f64 >= AGREE * self.compared as f64,
            "{agreed} of {} agree: {:#?}",
            self.compared,
            self.apart
        );
    }
}

fn has_shown(moved: &Readings) -> bool {
    MOVED.iter().all(|(metric, labels)| {
        let of = |label: &&str| moved.get(&((*metric).to_owned(), (*label).to_owned())).copied();
        labels.iter().filter_map(of).sum::<i64>() > 0
    })
}

#[test]
fn under_load_every_value_is_the_kernels_own() {
    let over = AtomicBool::new(false);
    let compared = thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(2, usize::from);
        (0..workers).for_each(|_| drop(scope.spawn(|| load(&over))));
        let compared = std::panic::catch_unwind(compare);
        over.store(true, Ordering::Relaxed);
        compared
    });
    if let Err(panic) = compared {
        std::panic::resume_unwind(panic);
    }
}
