//! Whether programs in containers will find inotify instances and watches to use.

use muster_shared::{
    facts::Inotify,
    preflight::{CheckName, CheckResult},
};

const NAME: CheckName = CheckName::InotifyHeadroom;
/// The kernel's own small default; a host below it was made smaller by hand.
const MIN_INSTANCES: u64 = 128;
const MIN_WATCHES: u64 = 8192;
/// From this share in use the next program may fail.
const LOW: (u64, u64) = (8, 10);
const REMEDY: &str =
    "Raise the limits in /etc/sysctl.d: fs.inotify.max_user_instances=1024 and fs.inotify.max_user_watches=524288.";

pub(super) fn decide(inotify: Option<&Inotify>) -> CheckResult {
    let Some(inotify) = inotify else {
        return CheckResult::passed(NAME, "the kernel has no inotify limits");
    };
    let Inotify { max_user_watches, max_user_instances, instances_in_use } = *inotify;
    let seen = format!("at most {max_user_instances} instances and {max_user_watches} watches a user");
    if max_user_instances < MIN_INSTANCES || max_user_watches < MIN_WATCHES {
        return CheckResult::warning(NAME, format!("{seen}: little"), REMEDY);
    }
    let Some(used) = instances_in_use else { return CheckResult::passed(NAME, seen) };
    let (numerator, denominator) = LOW;
    let seen = format!("{used} of {max_user_instances} instances in use by one user");
    if used.saturating_mul(denominator) >= max_user_instances.saturating_mul(numerator) {
        CheckResult::warning(NAME, format!("{seen}: few are left"), REMEDY)
    } else {
        CheckResult::passed(NAME, seen)
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::preflight::CheckStatus;

    use super::*;

    #[test]
    fn low_limits_and_limits_nearly_reached_warn() {
        let status = |max_user_watches, max_user_instances, instances_in_use| {
            decide(Some(&Inotify { max_user_watches, max_user_instances, instances_in_use })).status
        };
        assert_eq!(status(65_536, 128, Some(20)), CheckStatus::Passed);
        assert_eq!(status(65_536, 128, None), CheckStatus::Passed);
        assert_eq!(status(65_536, 128, Some(103)), CheckStatus::Warning);
        assert_eq!(status(65_536, 64, None), CheckStatus::Warning);
        assert_eq!(status(4096, 128, None), CheckStatus::Warning);
    }
}
