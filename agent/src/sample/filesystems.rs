//! Space on local file systems. It changes slowly and asking costs, so it is asked every ten seconds; in between the
//! last answer stands.

use std::path::{Path, PathBuf};

use muster_shared::metric::names;

use super::{
    metric::Metric,
    registry::{Registry, Slot},
};
use crate::os::mounts;

const REFRESH_US: i64 = 10_000_000;
/// Most file systems sampled; later ones in the mount table are not.
const MAX_FILESYSTEMS: usize = 256;

const MOUNTPOINT: &[&str] = &["mountpoint"];
pub(super) const METRICS: [Metric; 5] = [
    Metric::gauge(names::HOST_FILESYSTEM_SIZE_BYTES, 0, MOUNTPOINT, "Size of the file system."),
    Metric::gauge("host_filesystem_free_bytes", 0, MOUNTPOINT, "Free space, root's reserve included."),
    Metric::gauge(names::HOST_FILESYSTEM_AVAILABLE_BYTES, 0, MOUNTPOINT, "Space free for unprivileged users."),
    Metric::gauge("host_filesystem_inodes", 0, MOUNTPOINT, "Inodes of the file system."),
    Metric::gauge("host_filesystem_inodes_free", 0, MOUNTPOINT, "Inodes nobody uses."),
];

#[derive(Debug)]
pub(super) struct Filesystems {
    root: PathBuf,
    mounted: Vec<Filesystem>,
    refresh_at_us: Option<i64>,
}

#[derive(Debug)]
struct Filesystem {
    mountpoint: String,
    slots: [Slot; METRICS.len()],
    /// `None` where it could not be asked the last time.
    values: Option<[i64; METRICS.len()]>,
}

impl Filesystems {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), mounted: Vec::new(), refresh_at_us: None }
    }

    pub(super) fn sample(&mut self, now_us: i64, registry: &mut Registry) {
        // A clock that was set back must not stop the refresh until it has caught up.
        let is_due = self.refresh_at_us.is_none_or(|at| now_us >= at || at - now_us > REFRESH_US);
        if is_due {
            self.refresh(registry);
            self.refresh_at_us = Some(now_us.saturating_add(REFRESH_US));
        }
        for filesystem in &mut self.mounted {
            let Some(values) = filesystem.values else { continue };
            for ((metric, slot), value) in METRICS.iter().zip(&mut filesystem.slots).zip(values) {
                registry.put(slot, metric, &[&filesystem.mountpoint], value);
            }
        }
    }

    fn refresh(&mut self, registry: &mut Registry) {
        let entries = mounts::read_local(&self.root);
        self.mounted.retain_mut(|filesystem| {
            let is_there = entries.iter().any(|entry| entry.path == filesystem.mountpoint);
            if !is_there {
                registry.retire(&mut filesystem.slots);
            }
            is_there
        });
        for entry in entries.into_iter().take(MAX_FILESYSTEMS) {
            if !self.mounted.iter().any(|filesystem| filesystem.mountpoint == entry.path) {
                self.mounted.push(Filesystem { mountpoint: entry.path, slots: Default::default(), values: None });
            }
        }
        for filesystem in &mut self.mounted {
            filesystem.values = ask(&self.root.join(filesystem.mountpoint.trim_start_matches('/')));
        }
    }
}

fn ask(path: &Path) -> Option<[i64; METRICS.len()]> {
    let answer = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(answer.f_frsize)).unwrap_or(i64::MAX);
    let count = |inodes: u64| i64::try_from(inodes).unwrap_or(i64::MAX);
    Some([
        bytes(answer.f_blocks),
        bytes(answer.f_bfree),
        bytes(answer.f_bavail),
        count(answer.f_files),
        count(answer.f_ffree),
    ])
}
