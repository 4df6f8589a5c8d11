//! Which cgroup version the host runs: version 1 is on its way out.

use muster_shared::preflight::{CheckName, CheckResult};

const NAME: CheckName = CheckName::CgroupVersion;

pub(super) fn decide(version: u8) -> CheckResult {
    match version {
        2.. => CheckResult::passed(NAME, "cgroup version 2"),
        1 => CheckResult::warning(
            NAME,
            "cgroup version 1, which systemd and Docker are dropping",
            "Boot with systemd.unified_cgroup_hierarchy=1, or upgrade to a release that uses version 2.",
        ),
        0 => CheckResult::warning(
            NAME,
            "no cgroup hierarchy is mounted, so containers can't be limited or measured",
            "Mount one: mount -t cgroup2 none /sys/fs/cgroup.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::preflight::CheckStatus;

    use super::*;

    #[test]
    fn only_version_2_passes() {
        assert_eq!(
            [0, 1, 2].map(|version| decide(version).status),
            [CheckStatus::Warning, CheckStatus::Warning, CheckStatus::Passed]
        );
    }
}
