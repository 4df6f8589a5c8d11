//! One container under cgroup version 2: all its files are in one directory.

use std::path::Path;

use super::catalogue::{Readings, Value};
use crate::sample::{
    reader::{KeptFile, Reader},
    scan::{keyed, lines, number, pair, words},
};

const CAUSED_BY_PROCESSES: [Value; 4] = [Value::Memory, Value::MemoryCache, Value::MemorySwap, Value::OomKills];

#[derive(Debug)]
pub(super) struct Files {
    cpu: KeptFile,
    memory_current: KeptFile,
    memory_stat: KeptFile,
    memory_events: KeptFile,
    swap: KeptFile,
    io: KeptFile,
    pids: KeptFile,
}

/// Files of limits, which seldom change.
const CPU_LIMIT: &str = "cpu.max";
const MEMORY_LIMIT: &str = "memory.max";
const PIDS_LIMIT: &str = "pids.max";

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        let file = |name: &str| KeptFile::new(directory.join(name));
        Self {
            cpu: file("cpu.stat"),
            memory_current: file("memory.current"),
            memory_stat: file("memory.stat"),
            memory_events: file("memory.events"),
            swap: file("memory.swap.current"),
            io: file("io.stat"),
            pids: file("pids.current"),
        }
    }

    /// Reads what changes; `false` where the cgroup is gone. What can't have changed is taken from the `last` reading.
    pub(super) fn read(&mut self, reader: &mut Reader, last: &Readings, readings: &mut Readings) -> bool {
        let Some(text) = self.cpu.read(reader) else { return false };
        parse_cpu(text, readings);
        readings.set(Value::MemoryCharged, self.memory_current.read(reader).and_then(number));
        if readings.is_idle_since(last) {
            readings.keep(last, &CAUSED_BY_PROCESSES);
        } else {
            self.read_caused_by_processes(reader, readings);
        }
        // Written back later, on the kernel's own time.
        if let Some(text) = self.io.read(reader) {
            parse_io(text, readings);
        }
        readings.set(Value::Tasks, self.pids.read(reader).and_then(number));
        true
    }

    fn read_caused_by_processes(&mut self, reader: &mut Reader, readings: &mut Readings) {
        if let Some(text) = self.memory_stat.read(reader) {
            parse_memory(text, readings);
        }
        readings.set(Value::OomKills, self.memory_events.read(reader).and_then(|text| keyed(text, b"oom_kill")));
        readings.set(Value::MemorySwap, self.swap.read(reader).and_then(number));
    }

    pub(super) fn close(&mut self, reader: &mut Reader) {
        let Self { cpu, memory_current, memory_stat, memory_events, swap, io, pids } = self;
        for file in [cpu, memory_current, memory_stat, memory_events, swap, io, pids] {
            file.close(reader);
        }
    }
}

/// The container's limits, read from `directory`.
pub(super) fn read_limits(directory: &Path, readings: &mut Readings) {
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap_or_default();
    readings.set(Value::CpuLimit, parse_cpu_limit(&read(CPU_LIMIT)));
    readings.set(Value::MemoryLimit, number(&read(MEMORY_LIMIT)));
    readings.set(Value::TasksLimit, number(&read(PIDS_LIMIT)));
}

fn parse_cpu(text: &[u8], readings: &mut Readings) {
    for line in lines(text) {
        let mut words = words(line);
        let (Some(key), Some(value)) = (words.next(), words.next().and_then(number)) else { continue };
        let value_of = match key {
            b"usage_usec" => Value::Cpu,
            b"user_usec" => Value::CpuUser,
            b"system_usec" => Value::CpuSystem,
            b"nr_periods" => Value::CpuPeriods,
            b"nr_throttled" => Value::CpuThrottledPeriods,
            b"throttled_usec" => Value::CpuThrottled,
            _ => continue,
        };
        readings.set(value_of, value);
    }
}

/// Page cache not used recently is what the kernel drops first; what remains is what the engine's own `stats` calls
/// usage.
fn parse_memory(text: &[u8], readings: &mut Readings) {
    readings.set(Value::MemoryCache, keyed(text, b"file"));
    let droppable = keyed(text, b"inactive_file");
    let charged = readings.get(Value::MemoryCharged);
    readings.set(Value::Memory, charged.zip(droppable).map(|(charged, droppable)| (charged - droppable).max(0)));
}

fn parse_io(text: &[u8], readings: &mut Readings) {
    let values = [
        (&b"rbytes"[..], Value::BlockReadBytes),
        (b"wbytes", Value::BlockWrittenBytes),
        (b"rios", Value::BlockReads),
        (b"wios", Value::BlockWrites),
    ];
    for (key, value) in values {
        readings.set(value, lines(text).filter_map(|line| pair(line, key).and_then(number)).sum::<i64>());
    }
}

/// `50000 100000` is half a core; `max 100000` is no limit. In thousandths of a core.
fn parse_cpu_limit(text: &[u8]) -> Option<i64> {
    let mut words = words(text);
    let (quota, period) = (words.next().and_then(number)?, words.next().and_then(number)?);
    quota.checked_mul(1000)?.checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_their_absence() {
        assert_eq!(parse_cpu_limit(b"50000 100000\n"), Some(500));
        assert_eq!(parse_cpu_limit(b"max 100000\n"), None);
        assert_eq!(number(b"max\n"), None);
    }

    #[test]
    fn block_io_is_summed_over_devices() {
        let mut readings = Readings::default();
        parse_io(
            b"254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:0 rbytes=5 wbytes=1 rios=1 wios=1\n",
            &mut readings,
        );
        assert_eq!(readings.get(Value::BlockReadBytes), Some(15));
        assert_eq!(readings.get(Value::BlockWrites), Some(3));
    }

    #[test]
    fn cache_that_changes_between_two_reads_never_makes_memory_negative() {
        let mut readings = Readings::default();
        readings.set(Value::MemoryCharged, 30);
        parse_memory(b"file 50\ninactive_file 40\n", &mut readings);
        assert_eq!(readings.get(Value::Memory), Some(0));
    }
}
