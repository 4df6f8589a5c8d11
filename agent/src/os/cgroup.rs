//! Where the cgroup hierarchies are mounted, version 1 or 2.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::mounts::{self, MountEntry};

/// The cgroup layout of a host. Paths include the root they were looked for under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// One tree for all controllers.
    V2 { root: PathBuf },
    /// One tree a controller; several may share a mount.
    V1(ControllersV1),
}

/// The mounts of the version 1 controllers that are sampled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControllersV1 {
    pub cpu: Option<PathBuf>,
    pub cpuacct: Option<PathBuf>,
    pub memory: Option<PathBuf>,
    pub pids: Option<PathBuf>,
    pub blkio: Option<PathBuf>,
}

impl Hierarchy {
    /// 1 or 2.
    #[must_use]
    pub fn version(&self) -> u8 {
        match self {
            Self::V1(_) => 1,
            Self::V2 { .. } => 2,
        }
    }

    /// The tree in which containers are looked for.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::V2 { root } => Some(root),
            Self::V1(controllers) => controllers.memory.as_deref().or(controllers.cpuacct.as_deref()),
        }
    }
}

/// The layout of the host whose root is `root`; `None` where no hierarchy with controllers is mounted.
#[must_use]
pub fn detect(root: &Path) -> Option<Hierarchy> {
    let entries = mounts::read(root);
    let unified = entries.iter().find(|entry| entry.fs_type == "cgroup2").map(|entry| under(root, &entry.path));
    // In the hybrid layout a version 2 tree is mounted too, but the controllers are on version 1.
    if let Some(tree) = unified
        && fs::read_to_string(tree.join("cgroup.controllers")).is_ok_and(|list| list.contains("memory"))
    {
        return Some(Hierarchy::V2 { root: tree });
    }
    let controllers = controllers_v1(root, &entries);
    (controllers != ControllersV1::default()).then_some(Hierarchy::V1(controllers))
}

fn controllers_v1(root: &Path, entries: &[MountEntry]) -> ControllersV1 {
    let mount_of = |controller: &str| {
        entries
            .iter()
            .find(|entry| entry.fs_type == "cgroup" && entry.options.split(',').any(|option| option == controller))
            .map(|entry| under(root, &entry.path))
    };
    ControllersV1 {
        cpu: mount_of("cpu"),
        cpuacct: mount_of("cpuacct"),
        memory: mount_of("memory"),
        pids: mount_of("pids"),
        blkio: mount_of("blkio"),
    }
}

fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(mounts: &str, controllers: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc")).expect("proc");
        fs::create_dir_all(root.path().join("sys/fs/cgroup")).expect("cgroup");
        fs::write(root.path().join("proc/mounts"), mounts).expect("mounts");
        fs::write(root.path().join("sys/fs/cgroup/cgroup.controllers"), controllers).expect("controllers");
        root
    }

    #[test]
    fn a_unified_tree_with_controllers_is_version_2() {
        let root = host("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cpu io memory pids\n");
        assert_eq!(detect(root.path()).map(|hierarchy| hierarchy.version()), Some(2));
    }

    #[test]
    fn a_hybrid_layout_is_version_1() {
        let table = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n\
                     cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                     cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
        let root = host(table, "\n");
        let Some(Hierarchy::V1(controllers)) = detect(root.path()) else { panic!("expected version 1") };
        assert_eq!(controllers.cpu, controllers.cpuacct);
        assert_eq!(controllers.memory, Some(root.path().join("sys/fs/cgroup/memory")));
        assert_eq!(controllers.pids, None);
    }

    #[test]
    fn no_hierarchy_is_none() {
        assert_eq!(detect(host("proc /proc proc rw 0 0\n", "").path()), None);
    }
}
