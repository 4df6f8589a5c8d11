//! Which series a summary is made of. Pure.

use std::collections::BTreeMap;

use muster_shared::metric::{Series, names};

/// What a series means to a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    CpuBusy,
    /// Idle or waiting for storage: time in which the processor could have worked.
    CpuIdle,
    MemoryTotal,
    MemoryAvailable,
    FilesystemSize(Box<str>),
    FilesystemAvailable(Box<str>),
    NetworkReceive,
    NetworkTransmit,
    Load,
    Uptime,
    Containers,
}

impl Role {
    /// The role of `series`; `None` for the many a summary doesn't need.
    pub(super) fn of(series: &Series) -> Option<Self> {
        let label = |name: &str| series.labels.get(name).map_or("", String::as_str);
        Some(match series.name.as_str() {
            names::HOST_CPU_SECONDS_TOTAL => match label("mode") {
                "idle" | "iowait" => Self::CpuIdle,
                _ => Self::CpuBusy,
            },
            names::HOST_MEMORY_TOTAL_BYTES => Self::MemoryTotal,
            names::HOST_MEMORY_AVAILABLE_BYTES => Self::MemoryAvailable,
            names::HOST_FILESYSTEM_SIZE_BYTES => Self::FilesystemSize(label("mountpoint").into()),
            names::HOST_FILESYSTEM_AVAILABLE_BYTES => Self::FilesystemAvailable(label("mountpoint").into()),
            names::HOST_NETWORK_RECEIVE_BYTES_TOTAL => Self::NetworkReceive,
            names::HOST_NETWORK_TRANSMIT_BYTES_TOTAL => Self::NetworkTransmit,
            names::HOST_LOAD_1M => Self::Load,
            names::HOST_UPTIME_SECONDS => Self::Uptime,
            names::HOST_CONTAINERS_RUNNING => Self::Containers,
            _ => return None,
        })
    }
}

/// How full the root file system is; where none is reported, how full the fullest other is.
pub(super) fn disk_usage_percent<'a>(mounts: impl Iterator<Item = (&'a Role, f64)>) -> f64 {
    let mut by_mount: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (role, value) in mounts {
        match role {
            Role::FilesystemSize(mount) => by_mount.entry(mount).or_default().0 = value,
            Role::FilesystemAvailable(mount) => by_mount.entry(mount).or_default().1 = value,
            _ => {}
        }
    }
    let usage = |(size, available): &(f64, f64)| {
        if *size > 0.0 { (100.0 * (size - available) / size).clamp(0.0, 100.0) } else { 0.0 }
    };
    match by_mount.get("/") {
        Some(root) => usage(root),
        None => by_mount.values().map(usage).fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_counts_and_the_fullest_where_there_is_no_root() {
        let size = |mount: &str| Role::FilesystemSize(mount.into());
        let free = |mount: &str| Role::FilesystemAvailable(mount.into());
        let others = [(size("/data"), 100), (free("/data"), 10), (size("/boot"), 100), (free("/boot"), 60)];
        let of =
            |mounts: &[(Role, i32)]| disk_usage_percent(mounts.iter().map(|(role, value)| (role, f64::from(*value))));
        assert_eq!(of(&others), 90.0);
        let with_root = [&others[..], &[(size("/"), 100), (free("/"), 75)]].concat();
        assert_eq!(of(&with_root), 25.0);
        assert_eq!(of(&[]), 0.0);
    }
}
