//! One walk over the processes: their names, units, and which sockets and inotify instances they hold.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use crate::{os::text, probe::host::Host};

/// Most processes looked at, and most open files of each.
const MAX_PROCESSES: usize = 20_000;
const MAX_FILES: usize = 20_000;

/// A process that holds something of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::probe) struct Process {
    pub(in crate::probe) pid: u32,
    pub(in crate::probe) name: String,
    /// The systemd unit it runs in.
    pub(in crate::probe) unit: Option<String>,
}

/// What the processes of a host hold, as far as this user may see.
#[derive(Debug, Default)]
pub(in crate::probe) struct Processes {
    /// Whether every process' open files could be read.
    pub(in crate::probe) sees_all: bool,
    names: BTreeMap<String, u32>,
    by_socket: HashMap<u64, u32>,
    inotify_by_user: HashMap<u32, u64>,
    root: std::path::PathBuf,
}

impl Processes {
    pub(in crate::probe) fn read(host: &Host) -> Self {
        let mut processes = Self { sees_all: true, root: host.root().to_owned(), ..Self::default() };
        let pids = host.list("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
        for pid in pids.take(MAX_PROCESSES) {
            processes.look_at(pid, &host.path(&format!("/proc/{pid}")));
        }
        processes
    }

    fn look_at(&mut self, pid: u32, directory: &Path) {
        let Ok(name) = fs::read(directory.join("comm")) else { return };
        self.names.entry(text::clean_bytes(&name)).or_insert(pid);
        match fs::read_dir(directory.join("fd")) {
            Ok(files) => {
                for file in files.flatten().take(MAX_FILES) {
                    let Ok(target) = fs::read_link(file.path()) else { continue };
                    self.note(pid, directory, &target.to_string_lossy());
                }
            }
            // A process that ended meanwhile hides nothing.
            Err(error) => self.sees_all &= error.kind() != std::io::ErrorKind::PermissionDenied,
        }
    }

    fn note(&mut self, pid: u32, directory: &Path, target: &str) {
        if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok()) {
            // A socket is often inherited by many; the lowest id is the one that opened it.
            self.by_socket.entry(inode).and_modify(|owner| *owner = pid.min(*owner)).or_insert(pid);
        } else if matches!(target, "anon_inode:inotify" | "inotify") {
            let user = fs::metadata(directory).map_or(0, |metadata| std::os::linux::fs::MetadataExt::st_uid(&metadata));
            *self.inotify_by_user.entry(user).or_default() += 1;
        }
    }

    /// The process that holds the socket.
    pub(in crate::probe) fn owner(&self, socket: u64) -> Option<Process> {
        let pid = *self.by_socket.get(&socket)?;
        let directory = self.root.join("proc").join(pid.to_string());
        let name = fs::read(directory.join("comm")).map(|name| text::clean_bytes(&name)).ok()?;
        let cgroups = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        Some(Process { pid, name, unit: unit(&cgroups) })
    }

    /// Whether a process of this name runs. The kernel keeps 15 bytes of a name.
    pub(in crate::probe) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name.get(..15).unwrap_or(name))
    }

    /// Inotify instances of the user who has most.
    pub(super) fn most_inotify_instances(&self) -> u64 {
        self.inotify_by_user.values().copied().max().unwrap_or(0)
    }
}

/// The unit in `/proc/PID/cgroup`: systemd's own hierarchy of version 1, or the only one of version 2.
fn unit(cgroups: &str) -> Option<String> {
    let path_of = |mark: &str| cgroups.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(mark));
    let path = path_of("name=systemd:").or_else(|| path_of(":"))?;
    let is_unit = |name: &&str| [".service", ".socket", ".scope"].iter().any(|suffix| name.ends_with(suffix));
    path.split('/').find(is_unit).map(text::clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_under_both_cgroup_versions() {
        let v1 = "4:memory:/system.slice/nginx.service\n1:name=systemd:/system.slice/nginx.service\n0::/\n";
        assert_eq!(unit(v1), Some("nginx.service".to_owned()));
        assert_eq!(
            unit("0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n"),
            Some("postgresql@15-main.service".to_owned())
        );
        assert_eq!(unit("0::/system.slice/docker-0a.scope/init.scope\n"), Some("docker-0a.scope".to_owned()));
        assert_eq!(unit("0::/\n"), None);
        assert_eq!(unit("1:name=systemd:/\n0::/x\n"), None);
    }

    #[test]
    fn this_process_is_found_with_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&listener));
        let target = fs::read_link(link).expect("a link");
        let inode: u64 =
            target.to_string_lossy().trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number");
        let processes = Processes::read(&Host::new(Path::new("/")));
        assert_eq!(processes.owner(inode).map(|owner| owner.pid), Some(std::process::id()));
    }
}
