//! What a tree of processes costs, as the kernel counts it.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// What a tree of processes has used so far.
#[derive(Debug, Clone)]
pub struct Usage {
    at: Instant,
    processes: BTreeMap<u32, Used>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Used {
    /// Time on a processor by the scheduler's own account, in nanoseconds.
    scheduled_ns: u64,
    /// User and system time in clock ticks: coarse, but not blind to short-lived threads.
    ticks: u64,
}

/// What a tree of processes used between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub over: Duration,
    /// Share of one processor, by the scheduler's account.
    pub scheduled_percent: f64,
    /// Share of one processor, by user and system time.
    pub ticks_percent: f64,
    /// Processor time by the scheduler's account.
    pub scheduled: Duration,
}

/// A process and all its descendants.
///
/// # Errors
/// When `/proc` can't be read.
pub fn tree(root: u32) -> Result<Vec<u32>> {
    let mut children = BTreeMap::<u32, Vec<u32>>::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = stat_field(pid, 1).and_then(|field| field.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        tree.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        next += 1;
    }
    Ok(tree)
}

/// A field of `/proc/PID/stat`, counted from the state, which is 0.
fn stat_field(pid: u32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(index).map(ToOwned::to_owned)
}

impl Usage {
    /// What the tree below `root` has used until now.
    ///
    /// # Errors
    /// When `/proc` can't be read.
    pub fn of(root: u32) -> Result<Self> {
        let processes = tree(root)?.into_iter().map(|pid| (pid, Used::of(pid))).collect();
        Ok(Self { at: Instant::now(), processes })
    }

    /// What has been used since `earlier`. What a process used that ended in between is not known.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Spent {
        let (mut scheduled_ns, mut ticks) = (0, 0);
        for (pid, used) in &self.processes {
            let before = earlier.processes.get(pid).copied().unwrap_or_default();
            scheduled_ns += used.scheduled_ns.saturating_sub(before.scheduled_ns);
            ticks += used.ticks.saturating_sub(before.ticks);
        }
        let (over, scheduled) = (self.at - earlier.at, Duration::from_nanos(scheduled_ns));
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Spent {
            over,
            scheduled_percent: scheduled.as_secs_f64() / over.as_secs_f64() * 100.0,
            ticks_percent: seconds / over.as_secs_f64() * 100.0,
            scheduled,
        }
    }
}

impl Used {
    fn of(pid: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let scheduled_ns = threads.filter_map(|thread| {
            let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            line.split(' ').next()?.parse::<u64>().ok()
        });
        let field = |index| stat_field(pid, index).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        Self { scheduled_ns: scheduled_ns.sum(), ticks: field(11) + field(12) }
    }
}

/// Proportional set size of the tree below `root`, in bytes.
///
/// # Errors
/// When `/proc` can't be read.
pub fn pss_bytes(root: u32) -> Result<u64> {
    Ok(tree(root)?.into_iter().map(|pid| kib_of(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum::<u64>() * 1024)
}

/// Resident set size of one process, in bytes.
#[must_use]
pub fn rss_bytes(pid: u32) -> u64 {
    kib_of(&format!("/proc/{pid}/status"), "VmRSS:") * 1024
}

fn kib_of(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// Size of the program a process runs, in bytes.
///
/// # Errors
/// When it is gone.
pub fn program_bytes(pid: u32) -> Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/exe")).context("a running program")?.len())
}

/// The middle one of some figures; 0 of none.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50)
}

/// What `percent` of some figures are no greater than; 0 of none.
#[must_use]
pub fn percentile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

/// [`percentile`] of durations, in milliseconds.
#[must_use]
pub fn percentile_ms(durations: &[Duration], percent: usize) -> f64 {
    let figures: Vec<_> = durations.iter().map(|duration| duration.as_secs_f64() * 1e3).collect();
    percentile(&figures, percent)
}

/// Lets this process and its children hold as many descriptors as the system permits.
pub fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        eprintln!("the limit on descriptors stays at {:?}: {error}", limit.current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::SOON;

    #[test]
    fn work_is_seen_and_rest_is_not() {
        let own = std::process::id();
        let before = Usage::of(own).expect("readable");
        let begun = Instant::now();
        let spent = || Usage::of(own).expect("readable").since(&before);
        while spent().scheduled < Duration::from_millis(20) {
            assert!(begun.elapsed() < SOON, "{:?}", spent());
        }
        assert!(pss_bytes(own).expect("readable") > 1 << 20);
        assert!(rss_bytes(own) > 1 << 20 && program_bytes(own).expect("readable") > 1 << 20);
    }
}
