//! A host under cgroup version 1 as its kernel (6.1) showed it, before and after a container's only process was killed by
//! somebody who left the cgroup behind.

use std::{fs, path::Path};

use muster_agent::sample::{Sampler, SamplerOptions};
use muster_shared::metric::{Series, SeriesId};

const MOUNTS: &str = "\
tmpfs /sys/fs/cgroup tmpfs ro,relatime,size=4096k,nr_inodes=1024,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/cpuacct cgroup rw,relatime,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
";
/// Long after the first inventory was waited for.
const LATER_US: i64 = 10_000_000;

/// The files of a container's cgroup while a process is in it, by their place below the mounts.
fn files(id: &str, process: &str) -> Vec<(String, String)> {
    let tasks = if process.is_empty() { "0\n" } else { "1\n" };
    let files = [
        ("memory", "cgroup.procs", process),
        ("memory", "memory.usage_in_bytes", "0\n"),
        ("memory", "memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"),
        ("cpuacct", "cgroup.procs", process),
        ("cpuacct", "cpuacct.usage", "174456\n"),
        ("cpuacct", "cpuacct.stat", "user 0\nsystem 0\n"),
        ("cpu", "cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\nnr_bursts 0\nburst_time 0\n"),
        ("pids", "cgroup.procs", process),
        ("pids", "pids.current", tasks),
        ("pids", "pids.max", "max\n"),
    ];
    files
        .iter()
        .map(|(controller, name, text)| (format!("sys/fs/cgroup/{controller}/docker/{id}/{name}"), (*text).to_owned()))
        .collect()
}

fn write(root: &Path, files: Vec<(String, String)>) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }
}

/// How many containers run, and how many series tell of containers.
fn told(sampler: &mut Sampler, declared: &mut Vec<(SeriesId, Series)>, now_us: i64) -> (i64, usize) {
    let tick = sampler.tick(now_us);
    declared.extend(tick.declared);
    let series = |id| &declared.iter().find(|(known, _)| *known == id).expect("declared").1;
    let running = tick.values.iter().find(|(id, _)| series(*id).name == "host_containers_running");
    let of_containers = tick.values.iter().filter(|(id, _)| series(*id).labels.contains_key("container"));
    (running.map_or(0, |(_, value)| *value), of_containers.count())
}

#[test]
fn a_cgroup_whose_processes_were_killed_is_no_running_container() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    write(root, vec![("proc/mounts".to_owned(), MOUNTS.to_owned())]);
    let (lives, killed) = ("a".repeat(64), "b".repeat(64));
    write(root, files(&lives, "774\n"));
    write(root, files(&killed, "801\n"));
    let mut sampler = Sampler::new(root, &SamplerOptions::default());
    let mut declared = Vec::new();
    told(&mut sampler, &mut declared, 1);
    let (running, both) = told(&mut sampler, &mut declared, LATER_US);
    assert_eq!(running, 2);

    write(root, files(&killed, ""));
    assert_eq!(told(&mut sampler, &mut declared, LATER_US + 1_000_000), (1, both / 2), "at the very next tick");
    assert_eq!(told(&mut sampler, &mut declared, 3 * LATER_US), (1, both / 2), "also when the tree is listed again");

    // An agent that starts later never takes it for a container.
    let mut late = Sampler::new(root, &SamplerOptions::default());
    let mut declared = Vec::new();
    told(&mut late, &mut declared, 1);
    assert_eq!(told(&mut late, &mut declared, LATER_US), (1, both / 2));
    write(root, files(&killed, "915\n"));
    assert_eq!(told(&mut late, &mut declared, 3 * LATER_US).0, 2, "it was started again");
}

#[test]
fn a_cgroup_that_is_made_before_its_process_is_looked_at_again_at_once() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    write(root, vec![("proc/mounts".to_owned(), MOUNTS.to_owned())]);
    write(root, files(&"a".repeat(64), "774\n"));
    let mut sampler = Sampler::new(root, &SamplerOptions::default());
    let mut declared = Vec::new();
    told(&mut sampler, &mut declared, 1);
    told(&mut sampler, &mut declared, LATER_US);
    write(root, files(&"c".repeat(64), ""));
    assert_eq!(told(&mut sampler, &mut declared, LATER_US + 1_000_000).0, 1);
    write(root, files(&"c".repeat(64), "990\n"));
    assert_eq!(told(&mut sampler, &mut declared, LATER_US + 2_000_000).0, 2);
}
