//! Small files of a few numbers at fixed places: load, uptime, open files, pressure.

use std::path::Path;

use muster_shared::metric::names;

use super::{
    metric::{MICRO, Metric},
    reader::{KeptFile, Reader},
    registry::{Registry, Slot},
    scan::{hundredths, lines, number, pair, words},
};

const HUNDREDTHS: i32 = -2;

const LOAD: [Metric; 3] = [
    Metric::gauge(names::HOST_LOAD_1M, HUNDREDTHS, &[], "Load average of one minute."),
    Metric::gauge("host_load_5m", HUNDREDTHS, &[], "Load average of five minutes."),
    Metric::gauge("host_load_15m", HUNDREDTHS, &[], "Load average of fifteen minutes."),
];
const TASKS: Metric = Metric::gauge("host_tasks", 0, &[], "Processes and threads.");
const UPTIME: Metric = Metric::gauge(names::HOST_UPTIME_SECONDS, 0, &[], "Time since the host started.");
const OPEN_FILES: Metric = Metric::gauge("host_open_files", 0, &[], "File descriptors open.");
const CONNTRACK: Metric = Metric::gauge("host_conntrack_entries", 0, &[], "Connections the firewall tracks.");
const PRESSURE: Metric = Metric::counter(
    "host_pressure_seconds_total",
    MICRO,
    &["resource", "kind"],
    "Time in which `some` or all (`full`) tasks waited for a resource: `cpu`, `io`, `memory`.",
);

pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    LOAD.iter().chain([&TASKS, &UPTIME, &OPEN_FILES, &CONNTRACK, &PRESSURE])
}

#[derive(Debug)]
pub(super) struct Gauges {
    loadavg: KeptFile,
    load: [Slot; LOAD.len()],
    tasks: Slot,
    /// Files of which only the first number is sampled.
    firsts: [First; 3],
    pressures: [Pressure; 3],
}

#[derive(Debug)]
struct First {
    file: KeptFile,
    metric: &'static Metric,
    slot: Slot,
}

#[derive(Debug)]
struct Pressure {
    file: KeptFile,
    resource: &'static str,
    some: Slot,
    full: Slot,
}

impl Gauges {
    pub(super) fn new(root: &Path) -> Self {
        let first = |path: &str, metric| First { file: KeptFile::new(root.join(path)), metric, slot: Slot::default() };
        let pressure = |resource: &'static str| Pressure {
            file: KeptFile::new(root.join("proc/pressure").join(resource)),
            resource,
            some: Slot::default(),
            full: Slot::default(),
        };
        Self {
            loadavg: KeptFile::new(root.join("proc/loadavg")),
            load: Default::default(),
            tasks: Slot::default(),
            firsts: [
                first("proc/uptime", &UPTIME),
                first("proc/sys/fs/file-nr", &OPEN_FILES),
                first("proc/sys/net/netfilter/nf_conntrack_count", &CONNTRACK),
            ],
            pressures: [pressure("cpu"), pressure("io"), pressure("memory")],
        }
    }

    pub(super) fn sample(&mut self, reader: &mut Reader, registry: &mut Registry) {
        if let Some(text) = self.loadavg.read(reader) {
            let mut words = words(text);
            for ((metric, slot), word) in LOAD.iter().zip(&mut self.load).zip(words.by_ref()) {
                if let Some(load) = hundredths(word) {
                    registry.put(slot, metric, &[], load);
                }
            }
            let tasks = text.split(|byte| *byte == b'/').nth(1).and_then(number);
            if let Some(tasks) = tasks {
                registry.put(&mut self.tasks, &TASKS, &[], tasks);
            }
        }
        for First { file, metric, slot } in &mut self.firsts {
            if let Some(value) = file.read(reader).and_then(number) {
                registry.put(slot, metric, &[], value);
            }
        }
        for pressure in &mut self.pressures {
            pressure.sample(reader, registry);
        }
    }
}

impl Pressure {
    fn sample(&mut self, reader: &mut Reader, registry: &mut Registry) {
        let Some(text) = self.file.read(reader) else { return };
        for line in lines(text) {
            let (kind, slot) =
                if line.starts_with(b"some") { ("some", &mut self.some) } else { ("full", &mut self.full) };
            if let Some(total) = pair(line, b"total").and_then(number) {
                registry.put(slot, &PRESSURE, &[self.resource, kind], total);
            }
        }
    }
}
