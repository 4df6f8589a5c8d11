//! One container under cgroup version 1: a directory of the same name in each controller's tree.

use std::path::{Path, PathBuf};

use super::catalogue::{Readings, Value};
use crate::{
    os::cgroup::ControllersV1,
    sample::{
        reader::{KeptFile, Reader},
        scan::{keyed, lines, number, words},
    },
};

/// Limits at and above this are the kernel's way of saying none.
const NO_LIMIT_BYTES: i64 = i64::MAX / 2;
const NANOSECONDS_PER_MICROSECOND: i64 = 1000;
/// The unit of `cpuacct.stat`, on every architecture supported.
const TICK_US: i64 = 10_000;

const CAUSED_BY_PROCESSES: [Value; 9] = [
    Value::CpuUser,
    Value::CpuSystem,
    Value::CpuPeriods,
    Value::CpuThrottledPeriods,
    Value::CpuThrottled,
    Value::Memory,
    Value::MemoryCache,
    Value::MemorySwap,
    Value::OomKills,
];

#[derive(Debug)]
pub(super) struct Files {
    cpu_usage: Option<KeptFile>,
    cpu_split: Option<KeptFile>,
    cpu_throttling: Option<KeptFile>,
    memory_usage: Option<KeptFile>,
    memory_stat: Option<KeptFile>,
    memory_oom: Option<KeptFile>,
    io_bytes: Option<KeptFile>,
    io_operations: Option<KeptFile>,
    pids: Option<KeptFile>,
}

impl Files {
    pub(super) fn new(controllers: &ControllersV1, container: &Path) -> Self {
        let file = |controller: &Option<PathBuf>, name: &str| {
            controller.as_ref().map(|mount| KeptFile::new(mount.join(container).join(name)))
        };
        Self {
            cpu_usage: file(&controllers.cpuacct, "cpuacct.usage"),
            cpu_split: file(&controllers.cpuacct, "cpuacct.stat"),
            cpu_throttling: file(&controllers.cpu, "cpu.stat"),
            memory_usage: file(&controllers.memory, "memory.usage_in_bytes"),
            memory_stat: file(&controllers.memory, "memory.stat"),
            memory_oom: file(&controllers.memory, "memory.oom_control"),
            io_bytes: file(&controllers.blkio, "blkio.throttle.io_service_bytes_recursive"),
            io_operations: file(&controllers.blkio, "blkio.throttle.io_serviced_recursive"),
            pids: file(&controllers.pids, "pids.current"),
        }
    }

    /// Reads what changes; `false` where the cgroup is gone. What can't have changed is taken from the `last` reading.
    pub(super) fn read(&mut self, reader: &mut Reader, last: &Readings, readings: &mut Readings) -> bool {
        let cpu = read(&mut self.cpu_usage, reader).and_then(number);
        readings.set(Value::Cpu, cpu.map(|nanoseconds| nanoseconds / NANOSECONDS_PER_MICROSECOND));
        let charged = read(&mut self.memory_usage, reader).and_then(number);
        readings.set(Value::MemoryCharged, charged);
        if cpu.is_none() && charged.is_none() {
            return false;
        }
        if readings.is_idle_since(last) {
            readings.keep(last, &CAUSED_BY_PROCESSES);
        } else {
            self.read_caused_by_processes(reader, readings);
        }
        // Written back later, on the kernel's own time.
        if let Some(text) = read(&mut self.io_bytes, reader) {
            readings.set(Value::BlockReadBytes, sum(text, b"Read"));
            readings.set(Value::BlockWrittenBytes, sum(text, b"Write"));
        }
        if let Some(text) = read(&mut self.io_operations, reader) {
            readings.set(Value::BlockReads, sum(text, b"Read"));
            readings.set(Value::BlockWrites, sum(text, b"Write"));
        }
        readings.set(Value::Tasks, read(&mut self.pids, reader).and_then(number));
        true
    }

    fn read_caused_by_processes(&mut self, reader: &mut Reader, readings: &mut Readings) {
        if let Some(text) = read(&mut self.cpu_split, reader) {
            readings.set(Value::CpuUser, keyed(text, b"user").map(|ticks| ticks * TICK_US));
            readings.set(Value::CpuSystem, keyed(text, b"system").map(|ticks| ticks * TICK_US));
        }
        if let Some(text) = read(&mut self.cpu_throttling, reader) {
            parse_throttling(text, readings);
        }
        if let Some(text) = read(&mut self.memory_stat, reader) {
            parse_memory(text, readings);
        }
        readings.set(Value::OomKills, read(&mut self.memory_oom, reader).and_then(|text| keyed(text, b"oom_kill")));
    }

    pub(super) fn close(&mut self, reader: &mut Reader) {
        let Self {
            cpu_usage,
            cpu_split,
            cpu_throttling,
            memory_usage,
            memory_stat,
            memory_oom,
            io_bytes,
            io_operations,
            pids,
        } = self;
        let files = [
            cpu_usage,
            cpu_split,
            cpu_throttling,
            memory_usage,
            memory_stat,
            memory_oom,
            io_bytes,
            io_operations,
            pids,
        ];
        for file in files.into_iter().flatten() {
            file.close(reader);
        }
    }
}

/// The limits of the container at `container` in each controller's tree.
pub(super) fn read_limits(controllers: &ControllersV1, container: &Path, readings: &mut Readings) {
    let read = |controller: &Option<PathBuf>, name: &str| {
        let text = std::fs::read(controller.as_ref()?.join(container).join(name)).ok()?;
        number(&text)
    };
    let quota = read(&controllers.cpu, "cpu.cfs_quota_us").filter(|quota| *quota > 0);
    let period = read(&controllers.cpu, "cpu.cfs_period_us");
    let cores = quota.zip(period).and_then(|(quota, period)| quota.checked_mul(1000)?.checked_div(period));
    readings.set(Value::CpuLimit, cores);
    let bytes = read(&controllers.memory, "memory.limit_in_bytes").filter(|bytes| *bytes < NO_LIMIT_BYTES);
    readings.set(Value::MemoryLimit, bytes);
    readings.set(Value::TasksLimit, read(&controllers.pids, "pids.max"));
}

fn read<'b>(file: &mut Option<KeptFile>, reader: &'b mut Reader) -> Option<&'b [u8]> {
    file.as_mut()?.read(reader)
}

fn parse_throttling(text: &[u8], readings: &mut Readings) {
    readings.set(Value::CpuPeriods, keyed(text, b"nr_periods"));
    readings.set(Value::CpuThrottledPeriods, keyed(text, b"nr_throttled"));
    readings.set(
        Value::CpuThrottled,
        keyed(text, b"throttled_time").map(|nanoseconds| nanoseconds / NANOSECONDS_PER_MICROSECOND),
    );
}

/// The `total_` values include cgroups the container made itself, as the usage does.
fn parse_memory(text: &[u8], readings: &mut Readings) {
    readings.set(Value::MemoryCache, keyed(text, b"total_cache"));
    readings.set(Value::MemorySwap, keyed(text, b"total_swap"));
    let droppable = keyed(text, b"total_inactive_file");
    let charged = readings.get(Value::MemoryCharged);
    readings.set(Value::Memory, charged.zip(droppable).map(|(charged, droppable)| (charged - droppable).max(0)));
}

/// The sum over devices of lines like `254:0 Read 4096`.
fn sum(text: &[u8], operation: &[u8]) -> i64 {
    let values = lines(text).filter_map(|line| {
        let mut words = words(line).skip(1);
        (words.next()? == operation).then(|| words.next().and_then(number))?
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_summed_over_devices_and_totals_left_out() {
        let text = b"254:0 Read 10\n254:0 Write 4\n254:0 Total 14\n8:0 Read 5\n8:0 Write 0\nTotal 19\n";
        assert_eq!((sum(text, b"Read"), sum(text, b"Write")), (15, 4));
        assert_eq!(sum(b"Total 0\n", b"Read"), 0);
    }

    #[test]
    fn memory_counts_without_what_can_be_dropped() {
        let mut readings = Readings::default();
        readings.set(Value::MemoryCharged, 100);
        let text = b"inactive_file 1\ntotal_cache 50\ntotal_swap 3\ntotal_inactive_file 40\n";
        parse_memory(text, &mut readings);
        assert_eq!((readings.get(Value::Memory), readings.get(Value::MemorySwap)), (Some(60), Some(3)));
    }
}
