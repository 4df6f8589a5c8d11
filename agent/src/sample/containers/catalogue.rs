//! What is sampled of a container, whatever the cgroup version.

use muster_shared::metric::names;

use crate::sample::metric::{MICRO, Metric};

/// A value of a container; also its place in [`METRICS`] and [`Readings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sample) enum Value {
    Cpu,
    CpuUser,
    CpuSystem,
    CpuPeriods,
    CpuThrottledPeriods,
    CpuThrottled,
    CpuLimit,
    Memory,
    MemoryCharged,
    MemoryCache,
    MemorySwap,
    MemoryLimit,
    OomKills,
    Tasks,
    TasksLimit,
    BlockReadBytes,
    BlockWrittenBytes,
    BlockReads,
    BlockWrites,
    ReceiveBytes,
    ReceivePackets,
    ReceiveErrors,
    ReceiveDrops,
    TransmitBytes,
    TransmitPackets,
    TransmitErrors,
    TransmitDrops,
}

pub(in crate::sample) const VALUES: usize = 27;

/// What could be read of a container at one tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sample) struct Readings([Option<i64>; VALUES]);

impl Readings {
    pub(in crate::sample) fn set(&mut self, value: Value, reading: impl Into<Option<i64>>) {
        self.0[value as usize] = reading.into();
    }

    pub(in crate::sample) fn get(&self, value: Value) -> Option<i64> {
        self.0[value as usize]
    }

    /// Whether the container has neither run nor got or lost memory since an earlier reading. What its processes
    /// cause can't have changed then and need not be read.
    pub(in crate::sample) fn is_idle_since(&self, earlier: &Self) -> bool {
        let stands = |value| self.get(value).is_some() && self.get(value) == earlier.get(value);
        stands(Value::Cpu) && stands(Value::MemoryCharged)
    }

    /// Takes these values over from an earlier reading.
    pub(in crate::sample) fn keep(&mut self, earlier: &Self, values: &[Value]) {
        for value in values {
            self.set(*value, earlier.get(*value));
        }
    }

    pub(in crate::sample) fn iter(&self) -> impl Iterator<Item = Option<i64>> {
        self.0.iter().copied()
    }
}

pub(super) const LABELS: &[&str] = &["container", "name"];
const THOUSANDTHS: i32 = -3;

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric::counter(name, 0, LABELS, help)
}

const fn seconds(name: &'static str, help: &'static str) -> Metric {
    Metric::counter(name, MICRO, LABELS, help)
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric::gauge(name, 0, LABELS, help)
}

/// In the order of [`Value`].
pub(in crate::sample) const METRICS: [Metric; VALUES] = [
    seconds(names::CONTAINER_CPU_SECONDS_TOTAL, "Processor time used."),
    seconds("container_cpu_user_seconds_total", "Processor time used in programs."),
    seconds("container_cpu_system_seconds_total", "Processor time used in the kernel."),
    counter("container_cpu_periods_total", "Scheduling periods under a processor limit."),
    counter("container_cpu_throttled_periods_total", "Periods in which the limit was reached."),
    seconds("container_cpu_throttled_seconds_total", "Time spent waiting for the next period."),
    Metric::gauge("container_cpu_limit_cores", THOUSANDTHS, LABELS, "Processor limit; absent without one."),
    gauge(names::CONTAINER_MEMORY_BYTES, "Memory in use without page cache that can be dropped."),
    gauge("container_memory_charged_bytes", "Memory in use with all page cache."),
    gauge("container_memory_cache_bytes", "Page cache of the container's files."),
    gauge("container_memory_swap_bytes", "Swap in use."),
    gauge(names::CONTAINER_MEMORY_LIMIT_BYTES, "Memory limit; absent without one."),
    counter("container_oom_kills_total", "Processes killed for want of memory."),
    gauge("container_tasks", "Processes and threads."),
    gauge("container_tasks_limit", "Limit of processes and threads; absent without one."),
    counter("container_block_read_bytes_total", "Bytes read from disks."),
    counter("container_block_written_bytes_total", "Bytes written to disks."),
    counter("container_block_reads_total", "Reads from disks."),
    counter("container_block_writes_total", "Writes to disks."),
    counter(
        "container_network_receive_bytes_total",
        "Bytes received. Network series are absent on the host's network.",
    ),
    counter("container_network_receive_packets_total", "Packets received."),
    counter("container_network_receive_errors_total", "Packets received with errors."),
    counter("container_network_receive_drops_total", "Packets dropped on receipt."),
    counter("container_network_transmit_bytes_total", "Bytes sent."),
    counter("container_network_transmit_packets_total", "Packets sent."),
    counter("container_network_transmit_errors_total", "Packets not sent for errors."),
    counter("container_network_transmit_drops_total", "Packets dropped on sending."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_metrics_are_in_the_same_order() {
        assert_eq!(Value::TransmitDrops as usize + 1, VALUES);
        assert_eq!(METRICS[Value::Memory as usize].name, names::CONTAINER_MEMORY_BYTES);
        assert_eq!(METRICS[Value::MemoryLimit as usize].name, names::CONTAINER_MEMORY_LIMIT_BYTES);
        assert_eq!(METRICS[Value::BlockWrites as usize].name, "container_block_writes_total");
        assert_eq!(METRICS[Value::TransmitBytes as usize].name, "container_network_transmit_bytes_total");
    }
}
