//! Which boot of the host this is, and when it began.

use std::{fmt::Write as _, fs, path::Path};

use super::text;

/// A clock tick as `/proc` counts them, whatever the kernel's own rate.
const TICK_US: i64 = 10_000;
/// Position of the start time among the fields of `/proc/PID/stat` that follow the program's name.
const START_TIME: usize = 19;

/// A boot. Two boots of one host never have the same id, and two processes of one boot read the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's boot id, a colon, and when the first process started, in clock ticks since the kernel did. A
    /// kernel's boot id alone would not tell a container started anew, whose kernel goes on; and a system manager that
    /// executes itself again keeps its start time, as it should. Empty where `/proc` does not say.
    pub id: String,
    /// When the first process started, in microseconds since the epoch.
    pub began_at_us: Option<i64>,
}

impl Boot {
    /// The boot of the host whose root is `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let Some(kernel) = read("proc/sys/kernel/random/boot_id") else { return Self::default() };
        let Some(ticks) = read("proc/1/stat").and_then(|stat| start_ticks(&stat)) else { return Self::default() };
        let mut id = text::clean(&kernel);
        let _ = write!(id, ":{ticks}");
        let kernel_began_s: Option<i64> = read("proc/stat")
            .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok());
        let began_at_us = kernel_began_s
            .and_then(|seconds| seconds.checked_mul(1_000_000))
            .and_then(|began| began.checked_add(ticks.checked_mul(TICK_US)?));
        Self { id, began_at_us }
    }
}

/// The program's name may hold spaces and brackets; what follows the last bracket does not.
fn start_ticks(stat: &str) -> Option<i64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(START_TIME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(boot_id: &str, first_process: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("sys/kernel/random")).expect("directories");
        fs::create_dir_all(proc.join("1")).expect("directories");
        fs::write(proc.join("sys/kernel/random/boot_id"), boot_id).expect("boot id");
        fs::write(proc.join("1/stat"), first_process).expect("stat");
        fs::write(proc.join("stat"), "cpu 1 2 3\nbtime 1700000000\n").expect("stat");
        root
    }

    fn stat(name: &str, ticks: u32) -> String {
        format!("1 ({name}) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 {ticks} 100 1 18446744073709551615")
    }

    #[test]
    fn a_new_kernel_and_a_new_first_process_are_new_boots() {
        let read = |boot_id, name, ticks| Boot::read(host(boot_id, &stat(name, ticks)).path());
        let boot = read("8c1f\n", "systemd", 7);
        assert_eq!(boot, Boot { id: "8c1f:7".into(), began_at_us: Some(1_700_000_000_070_000) });
        assert_eq!(read("8c1f\n", "init) (x", 7).id, boot.id);
        assert_ne!(read("8c1e\n", "systemd", 7).id, boot.id);
        assert_ne!(read("8c1f\n", "systemd", 9000).id, boot.id, "a container started anew");
    }

    #[test]
    fn what_proc_does_not_say_has_no_id() {
        assert_eq!(Boot::read(host("8c1f", "nonsense").path()), Boot::default());
        assert_eq!(Boot::read(tempfile::tempdir().expect("a directory").path()), Boot::default());
        assert!(Boot::read(Path::new("/")).id.len() > 36);
    }
}
