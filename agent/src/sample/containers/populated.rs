//! Whether anything runs in a cgroup. What can't be read is taken to run: a figure too many is better than one too few.

use std::{fs, path::Path};

use crate::{os::cgroup::Hierarchy, sample::scan::keyed};

/// How deep a container's own cgroups are looked through under version 1: systemd in a container makes two levels.
const MAX_DEPTH: usize = 8;

/// Whether a process is in the cgroup at `path` in `hierarchy`, or in one below it.
pub(super) fn is_populated(hierarchy: &Hierarchy, path: &Path) -> bool {
    match hierarchy {
        Hierarchy::V2 { root } => {
            let events = fs::read(root.join(path).join("cgroup.events")).unwrap_or_default();
            keyed(&events, b"populated") != Some(0)
        }
        Hierarchy::V1(_) => hierarchy.directory().is_none_or(|mount| has_process(&mount.join(path), MAX_DEPTH)),
    }
}

/// Version 1 says of each cgroup alone which processes are in it.
fn has_process(cgroup: &Path, depth: usize) -> bool {
    // Read, since a file of the kernel's has no length.
    let is_empty = fs::read(cgroup.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty());
    if !is_empty || depth == 0 {
        return true;
    }
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    below
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| has_process(&entry.path(), depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::cgroup::ControllersV1;

    #[test]
    fn a_process_anywhere_below_counts_and_what_can_t_be_read_does_too() {
        let tree = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("written");
        };
        let v2 = Hierarchy::V2 { root: tree.path().to_owned() };
        write("runs/cgroup.events", "populated 1\nfrozen 0\n");
        write("ended/cgroup.events", "populated 0\nfrozen 0\n");
        let populated = |hierarchy: &Hierarchy, path: &str| is_populated(hierarchy, Path::new(path));
        assert_eq!(["runs", "ended", "unknown"].map(|path| populated(&v2, path)), [true, false, true]);

        let memory = Some(tree.path().to_owned());
        let v1 = Hierarchy::V1(ControllersV1 { memory, ..ControllersV1::default() });
        write("flat/cgroup.procs", "774\n");
        write("empty/cgroup.procs", "");
        write("empty/tasks", "");
        write("systemd/cgroup.procs", "");
        write("systemd/init.scope/cgroup.procs", "");
        write("systemd/system.slice/cron.service/cgroup.procs", "801\n");
        write("systemd/system.slice/cgroup.procs", "");
        write("left/cgroup.procs", "");
        write("left/init.scope/cgroup.procs", "");
        let paths = ["flat", "empty", "systemd", "left", "unknown"];
        assert_eq!(paths.map(|path| populated(&v1, path)), [true, false, true, false, true]);
    }
}
