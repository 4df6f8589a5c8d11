//! Free space where deployments keep their data.

use muster_shared::{
    facts::Mount,
    preflight::{CheckName, CheckResult, MIN_FREE_DISK_BYTES},
};

use super::specifications::gigabytes;

const NAME: CheckName = CheckName::DiskSpace;

pub(super) fn decide(data_disk: Option<&Mount>) -> CheckResult {
    let Some(disk) = data_disk else {
        return CheckResult::failed(
            NAME,
            "no local file system was found for the data of deployments",
            "Mount a local disk for /var/lib/docker.",
        );
    };
    let seen = format!("{} of {} free on {}", gigabytes(disk.available_bytes), gigabytes(disk.total_bytes), disk.path);
    if disk.read_only {
        return CheckResult::failed(
            NAME,
            format!("{} is mounted read-only", disk.path),
            "Look for disk errors (dmesg) and mount it writable.",
        );
    }
    if disk.available_bytes >= MIN_FREE_DISK_BYTES {
        return CheckResult::passed(NAME, seen);
    }
    let remedy = format!(
        "Free at least {} there (docker system prune removes what no container uses), or enlarge the disk.",
        gigabytes(MIN_FREE_DISK_BYTES - disk.available_bytes)
    );
    CheckResult::failed(NAME, seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_gigabytes_must_be_free() {
        let disk =
            |available_bytes| Mount { path: "/".into(), total_bytes: 1 << 40, available_bytes, ..Mount::default() };
        assert!(decide(Some(&disk(MIN_FREE_DISK_BYTES))).passed);
        let full = decide(Some(&disk(MIN_FREE_DISK_BYTES - 1_500_000_000)));
        assert!(!full.passed && full.remedy.contains("1.5 GB") && full.evidence.contains("18.5 GB"));
        assert!(!decide(Some(&Mount { read_only: true, ..disk(1 << 40) })).passed);
        assert!(!decide(None).passed);
    }
}
