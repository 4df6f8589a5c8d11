//! What is measured each second: the host, and every container on it.
//!
//! A [`Sampler`] reads the kernel's files through descriptors it keeps, takes the numbers out without allocating, and
//! hands over one [`Tick`]: integers under series ids. Counters travel raw. The whole list of metrics is in
//! `docs/metrics.md`, which is written from the tables in this module.

mod containers;
mod devices;
mod filesystems;
mod gauges;
mod keyed;
mod metric;
mod processor;
mod protocols;
mod reader;
mod registry;
mod scan;
mod tables;

use std::path::Path;

use muster_shared::{
    facts,
    metric::{MAX_SERIES_PER_HOST, Series, SeriesId},
};

use self::{
    containers::Containers,
    devices::DeviceFile,
    filesystems::Filesystems,
    gauges::Gauges,
    keyed::KeyedFile,
    processor::Processor,
    protocols::{Layout, ProtocolFile},
    reader::Reader,
    registry::{Registry, Slot},
};

pub use self::metric::Metric;

const REFUSED: Metric =
    Metric::counter("agent_series_refused_total", 0, &[], "Series not sampled because the host has too many.");

/// How a host is sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplerOptions {
    /// Most series alive at once; those of the youngest containers are refused beyond it, and counted.
    pub max_series: usize,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self { max_series: MAX_SERIES_PER_HOST }
    }
}

/// One second's sample.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tick {
    /// When it was taken, microseconds since the epoch.
    pub at_us: i64,
    /// Ids ascending. A series without a value at a tick is not there.
    pub values: Vec<(SeriesId, i64)>,
    /// Series that appear in this tick for the first time. Their ids are never used for another series.
    pub declared: Vec<(SeriesId, Series)>,
}

/// Samples one host.
#[derive(Debug)]
pub struct Sampler {
    reader: Reader,
    registry: Registry,
    processor: Processor,
    keyed: [KeyedFile; 4],
    protocols: [ProtocolFile; 4],
    gauges: Gauges,
    devices: [DeviceFile<16>; 2],
    filesystems: Filesystems,
    containers: Containers,
    refused: Slot,
}

impl Sampler {
    /// A sampler of the host whose root directory is `root`: `/`, or a recorded tree.
    #[must_use]
    pub fn new(root: &Path, options: &SamplerOptions) -> Self {
        Self {
            reader: Reader::new(),
            registry: Registry::new(options.max_series),
            processor: Processor::new(root),
            keyed: [
                KeyedFile::new(root, "proc/meminfo", &tables::MEMINFO),
                KeyedFile::new(root, "proc/vmstat", &tables::VMSTAT),
                KeyedFile::new(root, "proc/net/snmp6", &tables::SNMP6),
                KeyedFile::new(root, "proc/softirqs", &tables::SOFTIRQS),
            ],
            protocols: [
                ProtocolFile::new(root, "proc/net/sockstat", Layout::Alternating, &tables::SOCKSTAT),
                ProtocolFile::new(root, "proc/net/sockstat6", Layout::Alternating, &tables::SOCKSTAT6),
                ProtocolFile::new(root, "proc/net/snmp", Layout::TwoLines, &tables::SNMP),
                ProtocolFile::new(root, "proc/net/netstat", Layout::TwoLines, &tables::NETSTAT),
            ],
            gauges: Gauges::new(root),
            devices: [DeviceFile::disks(root), DeviceFile::interfaces(root)],
            filesystems: Filesystems::new(root),
            containers: Containers::new(root),
            refused: Slot::default(),
        }
    }

    /// Takes over the engine's containers: their names and states, and which cgroups are theirs.
    pub fn set_inventory(&mut self, containers: &[facts::Container]) {
        self.containers.set_inventory(containers, &mut self.reader, &mut self.registry);
    }

    /// Whether a container has appeared that no inventory told of.
    #[must_use]
    pub fn wants_inventory(&self) -> bool {
        self.containers.wants_inventory()
    }

    /// Reads everything once. What can't be read has no value in the tick.
    pub fn tick(&mut self, now_us: i64) -> Tick {
        let (reader, registry) = (&mut self.reader, &mut self.registry);
        self.processor.sample(reader, registry);
        self.gauges.sample(reader, registry);
        for file in &mut self.keyed {
            file.sample(reader, registry);
        }
        for file in &mut self.protocols {
            file.sample(reader, registry);
        }
        for file in &mut self.devices {
            file.sample(reader, registry);
        }
        self.filesystems.sample(now_us, registry);
        registry.put(&mut self.refused, &REFUSED, &[], i64::try_from(registry.refused()).unwrap_or(i64::MAX));
        self.containers.sample(now_us, reader, registry);
        registry.finish(now_us)
    }
}

/// Every metric, host first, in the order of the documentation.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    let keyed =
        [&tables::SOFTIRQS[..], &tables::MEMINFO, &tables::VMSTAT].into_iter().flatten().map(|field| &field.metric);
    let protocols = [&tables::SOCKSTAT[..], &tables::SOCKSTAT6, &tables::SNMP, &tables::NETSTAT].into_iter().flatten();
    let ipv6 = tables::SNMP6.iter().map(|field| &field.metric);
    let devices = devices::DISKS.iter().chain(&devices::INTERFACES).map(|column| &column.metric);
    processor::metrics()
        .chain(gauges::metrics())
        .chain(keyed)
        .chain(devices)
        .chain(&filesystems::METRICS)
        .chain(protocols.map(|field| &field.metric))
        .chain(ipv6)
        .chain(containers::metrics())
        .chain([&REFUSED])
}
