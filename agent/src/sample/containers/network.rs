//! A container's network, as a process in it sees it: `/proc/PID/net/dev`.
//!
//! A kept descriptor of that file keeps the container's network namespace alive, so it is closed as soon as the
//! container's cgroup is gone.

use std::{fs, os::linux::fs::MetadataExt, path::Path};

use super::catalogue::{Readings, Value};
use crate::sample::{
    reader::{KeptFile, Reader},
    scan::{lines, number, words},
};

/// How deep below a container's cgroup a process is looked for, where an init system in it made its own.
const MAX_DEPTH: usize = 3;
/// Most cgroups below a container's that are looked into.
const MAX_CHILDREN: usize = 16;
/// Most processes of a cgroup that are tried: what the engine ran in the container may just have ended.
const MAX_PROCESSES: usize = 16;

/// In the order they stand in the file, with their columns.
const COLUMNS: [(usize, Value); 8] = [
    (0, Value::ReceiveBytes),
    (1, Value::ReceivePackets),
    (2, Value::ReceiveErrors),
    (3, Value::ReceiveDrops),
    (8, Value::TransmitBytes),
    (9, Value::TransmitPackets),
    (10, Value::TransmitErrors),
    (11, Value::TransmitDrops),
];

/// Where the numbers come from.
#[derive(Debug)]
pub(super) enum Network {
    /// No process was found yet, or the one known has ended.
    Unknown,
    /// On the host's own network: its traffic is the host's.
    Host,
    Own(KeptFile),
}

impl Network {
    /// Looks for a process in `cgroup` where none is known, or the one known was on the host's network: so is every
    /// container's first process for a moment, before it is given a network of its own.
    pub(super) fn look_for(&mut self, root: &Path, cgroup: &Path) {
        if !matches!(self, Self::Own(_)) {
            *self = find(root, cgroup);
        }
    }

    /// Reads the counters of all interfaces but loopback.
    pub(super) fn read(&mut self, reader: &mut Reader, readings: &mut Readings) {
        let Self::Own(file) = self else { return };
        match file.read(reader) {
            Some(text) => sum(text, readings),
            None => *self = Self::Unknown,
        }
    }

    pub(super) fn close(&mut self, reader: &mut Reader) {
        if let Self::Own(file) = self {
            file.close(reader);
        }
        *self = Self::Unknown;
    }
}

fn find(root: &Path, cgroup: &Path) -> Network {
    // Each network namespace has its own tree of these files, so the same inode is the same namespace. It needs no
    // privilege, unlike reading the namespace's link.
    let inode = |path: &Path| fs::metadata(path).map(|metadata| (metadata.st_dev(), metadata.st_ino())).ok();
    let host = inode(&root.join("proc/net/dev"));
    let network_of = |process: i64| {
        let file = root.join("proc").join(process.to_string()).join("net/dev");
        let container = inode(&file)?;
        Some(if Some(container) == host { Network::Host } else { Network::Own(KeptFile::new(file)) })
    };
    first_process(cgroup, MAX_DEPTH, &network_of).unwrap_or(Network::Unknown)
}

/// What `ask` says of the first process it knows anything of; one that has ended is still listed for a while.
fn first_process(cgroup: &Path, depth: usize, ask: &impl Fn(i64) -> Option<Network>) -> Option<Network> {
    let processes = fs::read(cgroup.join("cgroup.procs")).ok()?;
    // A process of another PID namespace is written as 0.
    let processes = lines(&processes).filter_map(number).filter(|process| *process > 0);
    if let Some(answer) = processes.take(MAX_PROCESSES).find_map(ask) {
        return Some(answer);
    }
    let deeper = depth.checked_sub(1)?;
    let children =
        fs::read_dir(cgroup).ok()?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    children.take(MAX_CHILDREN).find_map(|child| first_process(&child.path(), deeper, ask))
}

fn sum(text: &[u8], readings: &mut Readings) {
    let mut sums = [0i64; COLUMNS.len()];
    for line in lines(text) {
        let Some(colon) = line.iter().rposition(|byte| *byte == b':') else { continue };
        if line[..colon].trim_ascii_start() == b"lo" {
            continue;
        }
        let mut columns = COLUMNS.iter().zip(&mut sums).peekable();
        for (at, word) in words(&line[colon + 1..]).enumerate() {
            if let Some((_, sum)) = columns.next_if(|((column, _), _)| *column == at) {
                *sum = sum.saturating_add(number(word).unwrap_or(0));
            }
        }
    }
    for ((_, value), sum) in COLUMNS.iter().zip(sums) {
        readings.set(*value, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with the network of each of `processes`, and a cgroup that lists `listed`.
    fn host(processes: &[(i64, &str)], listed: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: String, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("written");
        };
        write("proc/net/dev".into(), "eth0: 9\n");
        for (process, text) in processes {
            write(format!("proc/{process}/net/dev"), text);
        }
        write("cgroup/cgroup.procs".into(), listed);
        root
    }

    fn received(network: &mut Network, root: &Path) -> Option<i64> {
        network.look_for(root, &root.join("cgroup"));
        let mut readings = Readings::default();
        network.read(&mut Reader::new(), &mut readings);
        readings.get(Value::ReceiveBytes)
    }

    #[test]
    fn a_process_that_has_ended_is_passed_over() {
        let root = host(&[(12, "eth0: 5\n")], "11\n12\n");
        assert_eq!(received(&mut Network::Unknown, root.path()), Some(5));
    }

    #[test]
    fn a_container_seen_before_it_has_its_own_network_is_looked_at_again() {
        let root = host(&[(12, "eth0: 5\n")], "11\n");
        let mut network = Network::Unknown;
        fs::create_dir_all(root.path().join("proc/11/net")).expect("a directory");
        fs::hard_link(root.path().join("proc/net/dev"), root.path().join("proc/11/net/dev")).expect("linked");
        assert_eq!(received(&mut network, root.path()), None);
        assert!(matches!(network, Network::Host));
        fs::write(root.path().join("cgroup/cgroup.procs"), "12\n").expect("written");
        assert_eq!(received(&mut network, root.path()), Some(5));
    }

    #[test]
    fn interfaces_are_summed_and_loopback_left_out() {
        let text = b"Inter-| Receive | Transmit\n face |bytes packets\n    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n  eth1:10 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n";
        let mut readings = Readings::default();
        sum(text, &mut readings);
        let read = [Value::ReceiveBytes, Value::ReceiveDrops, Value::TransmitBytes, Value::TransmitDrops]
            .map(|value| readings.get(value));
        assert_eq!(read, [Some(11), Some(4), Some(6), Some(8)]);
    }
}
