//! Finding containers in the cgroup tree, without asking an engine.
//!
//! Docker puts a container's cgroup at `docker/ID` (its own driver) or `system.slice/docker-ID.scope` (systemd's).
//! Directories are listed again only when their number of subdirectories changed, or after a while.

use std::{
    fs,
    os::linux::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How often the tree is listed even though nothing seems to have changed.
const RESCAN_US: i64 = 10_000_000;
const ID_DIGITS: usize = 64;

/// A container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The full id.
    pub(super) id: String,
    /// Relative to the hierarchy's mount.
    pub(super) path: PathBuf,
}

/// The places where containers are looked for, and what they looked like the last time.
#[derive(Debug)]
pub(super) struct Discovery {
    parents: [Parent; 2],
    rescan_at_us: Option<i64>,
}

#[derive(Debug)]
struct Parent {
    path: PathBuf,
    relative: &'static str,
    subdirectories: Option<u64>,
}

impl Discovery {
    pub(super) fn new(hierarchy: &Path) -> Self {
        let parent = |relative| Parent { path: hierarchy.join(relative), relative, subdirectories: None };
        Self { parents: [parent("docker"), parent("system.slice")], rescan_at_us: None }
    }

    /// Every container there is, or `None` where nothing changed since the last call. `is_stale` says that a known
    /// container was found gone.
    pub(super) fn scan(&mut self, now_us: i64, is_stale: bool) -> Option<Vec<Found>> {
        let is_due = self.rescan_at_us.is_none_or(|at| now_us >= at || at - now_us > RESCAN_US);
        let mut has_changed = is_due || is_stale;
        for parent in &mut self.parents {
            // Every subdirectory links to its parent, so their number is there for the asking.
            let subdirectories = fs::metadata(&parent.path).ok().map(|metadata| metadata.st_nlink());
            has_changed |= subdirectories != parent.subdirectories;
            parent.subdirectories = subdirectories;
        }
        if !has_changed {
            return None;
        }
        self.rescan_at_us = Some(now_us.saturating_add(RESCAN_US));
        let mut found: Vec<Found> =
            self.parents.iter().filter(|parent| parent.subdirectories.is_some()).flat_map(Parent::list).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.dedup_by(|a, b| a.id == b.id);
        Some(found)
    }
}

impl Parent {
    fn list(&self) -> Vec<Found> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let containers = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let id = container_id(&name)?.to_owned();
            Some(Found { id, path: Path::new(self.relative).join(name) })
        });
        containers.collect()
    }
}

fn container_id(name: &str) -> Option<&str> {
    let id = name.strip_prefix("docker-").and_then(|name| name.strip_suffix(".scope")).unwrap_or(name);
    (id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drivers_directories_are_found_and_nothing_else() {
        let tree = tempfile::tempdir().expect("a directory");
        let (a, b) = ("a".repeat(ID_DIGITS), "b".repeat(ID_DIGITS));
        let add = |path: String| fs::create_dir_all(tree.path().join(path)).expect("a directory");
        add(format!("docker/{b}"));
        add("docker/buildkit".to_owned());
        add(format!("system.slice/docker-{a}.scope/init.scope"));
        add("system.slice/docker.service".to_owned());

        let mut discovery = Discovery::new(tree.path());
        let found = discovery.scan(0, false).expect("a first scan");
        assert_eq!(found.iter().map(|found| &found.id).collect::<Vec<_>>(), [&a, &b]);
        assert_eq!(found[0].path, Path::new("system.slice").join(format!("docker-{a}.scope")));

        assert_eq!(discovery.scan(1, false), None);
        assert!(discovery.scan(1, true).is_some());
        add(format!("docker/{}", "c".repeat(ID_DIGITS)));
        assert_eq!(discovery.scan(2, false).map(|found| found.len()), Some(3));
        assert!(discovery.scan(3 + RESCAN_US, false).is_some());
    }
}
