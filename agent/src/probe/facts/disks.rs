//! Mounted file systems and block devices.

use muster_shared::facts::{Disk, Mount};

use crate::{
    os::{mounts, text},
    probe::host::Host,
};

/// Block devices' sizes are in these units, whatever their own sectors are.
const SECTOR_BYTES: u64 = 512;
/// Most mounts and disks reported.
const MAX_MOUNTS: usize = 256;
const MAX_DISKS: usize = 256;
/// Where deployments keep their data unless the engine says otherwise.
const DATA_DIRECTORY: &str = "/var/lib/docker";
const NOT_DISKS: [&str; 6] = ["loop", "ram", "zram", "sr", "fd", "dm-"];

/// Mounted local file systems, each device once.
pub(super) fn mounts(host: &Host) -> Vec<Mount> {
    let entries = mounts::read_local(host.root());
    let mounts = entries.into_iter().take(MAX_MOUNTS).map(|entry| {
        let space = rustix::fs::statvfs(host.path(&entry.path)).ok();
        let bytes = |blocks: u64, unit: u64| blocks.saturating_mul(unit);
        Mount {
            total_bytes: space.as_ref().map_or(0, |space| bytes(space.f_blocks, space.f_frsize)),
            available_bytes: space.as_ref().map_or(0, |space| bytes(space.f_bavail, space.f_frsize)),
            path: text::clean(&entry.path),
            device: text::clean(&entry.device),
            fs_type: text::clean(&entry.fs_type),
            read_only: entry.read_only,
        }
    });
    mounts.collect()
}

/// The mount on which `data_directory` (the engine's, where it is known) lies.
pub(super) fn data_disk(mounts: &[Mount], data_directory: Option<&str>) -> Option<Mount> {
    let directory = data_directory.unwrap_or(DATA_DIRECTORY);
    let holds = |mount: &&Mount| {
        let inside = directory.strip_prefix(mount.path.trim_end_matches('/'));
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts.iter().filter(holds).max_by_key(|mount| mount.path.len()).cloned()
}

pub(super) fn disks(host: &Host) -> Vec<Disk> {
    let names = host.list("/sys/block").into_iter();
    let names = names.filter(|name| !NOT_DISKS.iter().any(|prefix| name.starts_with(prefix)));
    let disks = names.take(MAX_DISKS).filter_map(|name| {
        let attribute = |path: &str| format!("/sys/block/{name}/{path}");
        let size_bytes = host.read_number(&attribute("size"))?.saturating_mul(SECTOR_BYTES);
        Some(Disk {
            size_bytes,
            rotational: host.read_number(&attribute("queue/rotational")) == Some(1),
            model: host.read_word(&attribute("device/model")).unwrap_or_default(),
            name: text::clean(&name),
        })
    });
    disks.filter(|disk| disk.size_bytes > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str) -> Mount {
        Mount { path: path.to_owned(), ..Mount::default() }
    }

    #[test]
    fn the_data_disk_is_the_nearest_mount_above_the_data_directory() {
        let mounts = [mount("/"), mount("/var"), mount("/var/lib/docker-old"), mount("/srv")];
        assert_eq!(data_disk(&mounts, None), Some(mount("/var")));
        assert_eq!(data_disk(&mounts, Some("/srv/docker")), Some(mount("/srv")));
        assert_eq!(data_disk(&mounts, Some("/home/x")), Some(mount("/")));
        assert_eq!(data_disk(&[], None), None);
    }
}
