//! `/proc/stat`: processor time by mode, altogether and by core, and what the scheduler counts.

use std::path::Path;

use muster_shared::metric::names;

use super::{
    metric::{MICRO, Metric},
    reader::{KeptFile, Reader},
    registry::{Registry, Slot},
    scan::{lines, number, words},
};

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
/// The kernel shows these times in hundredths of a second on every architecture supported.
const TICK_US: i64 = 10_000;

const CPU: Metric =
    Metric::counter(names::HOST_CPU_SECONDS_TOTAL, MICRO, &["mode"], "Processor time of all cores together, by mode.");
const CORE: Metric =
    Metric::counter("host_cpu_core_seconds_total", MICRO, &["core", "mode"], "Processor time of one core, by mode.");
const COUNTS: [(&[u8], Metric); 5] = [
    (b"intr", Metric::counter("host_interrupts_total", 0, &[], "Interrupts served.")),
    (b"ctxt", Metric::counter("host_context_switches_total", 0, &[], "Switches from one task to another.")),
    (b"processes", Metric::counter("host_forks_total", 0, &[], "Processes and threads started.")),
    (b"procs_running", Metric::gauge("host_tasks_runnable", 0, &[], "Tasks running or ready to run.")),
    (b"procs_blocked", Metric::gauge("host_tasks_blocked", 0, &[], "Tasks waiting for a disk.")),
];

pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    [&CPU, &CORE].into_iter().chain(COUNTS.iter().map(|(_, metric)| metric))
}

#[derive(Debug)]
pub(super) struct Processor {
    file: KeptFile,
    total: [Slot; MODES.len()],
    cores: Vec<Core>,
    counts: [Slot; COUNTS.len()],
}

#[derive(Debug)]
struct Core {
    name: String,
    slots: [Slot; MODES.len()],
}

impl Processor {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            file: KeptFile::new(root.join("proc/stat")),
            total: Default::default(),
            cores: Vec::new(),
            counts: Default::default(),
        }
    }

    pub(super) fn sample(&mut self, reader: &mut Reader, registry: &mut Registry) {
        let Some(text) = self.file.read(reader) else { return };
        for line in lines(text) {
            let mut words = words(line);
            let Some(key) = words.next() else { continue };
            match key.strip_prefix(b"cpu") {
                Some(b"") => put_modes(words, &mut self.total, &CPU, &[], registry),
                Some(core) => {
                    let Some(core) = number(core).and_then(|core| usize::try_from(core).ok()) else { continue };
                    let Some(core) = core_at(&mut self.cores, core) else { continue };
                    put_modes(words, &mut core.slots, &CORE, &[&core.name], registry);
                }
                None => {
                    let known = COUNTS.iter().zip(&mut self.counts).find(|((known, _), _)| *known == key);
                    if let (Some(((_, metric), slot)), Some(value)) = (known, words.next().and_then(number)) {
                        registry.put(slot, metric, &[], value);
                    }
                }
            }
        }
    }
}

/// Most cores that are told apart.
const MAX_CORES: usize = 1024;

fn core_at(cores: &mut Vec<Core>, number: usize) -> Option<&mut Core> {
    while cores.len() <= number && number < MAX_CORES {
        cores.push(Core { name: cores.len().to_string(), slots: Default::default() });
    }
    cores.get_mut(number)
}

fn put_modes<'t>(
    values: impl Iterator<Item = &'t [u8]>,
    slots: &mut [Slot; MODES.len()],
    metric: &Metric,
    core: &[&str],
    registry: &mut Registry,
) {
    for ((mode, slot), value) in MODES.iter().zip(slots).zip(values) {
        let Some(value) = number(value) else { continue };
        match core {
            [core] => registry.put(slot, metric, &[core, mode], value * TICK_US),
            _ => registry.put(slot, metric, &[mode], value * TICK_US),
        }
    }
}
