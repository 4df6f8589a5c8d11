//! Whether the host's clock can be relied on: certificates and commands expire by it.

use muster_shared::{
    facts::Clock,
    preflight::{CheckName, CheckResult, MAX_CLOCK_SKEW_SECONDS},
};

const NAME: CheckName = CheckName::ClockSkew;
const REMEDY: &str = "Let a time service keep the clock: timedatectl set-ntp true, or install chrony.";
const SECOND_US: u64 = 1_000_000;

/// `offset_us` is this host's time minus the control plane's, where it is known.
pub(super) fn decide(clock: &Clock, offset_us: Option<i64>) -> CheckResult {
    let off_seconds = offset_us.map(|offset| offset.unsigned_abs() / SECOND_US);
    let service = clock.service.as_deref().map_or_else(String::new, |service| format!(" by {service}"));
    match (off_seconds, clock.synchronized) {
        (Some(seconds), _) if seconds > u64::from(MAX_CLOCK_SKEW_SECONDS) => {
            CheckResult::warning(NAME, format!("the clock is {seconds} s off"), REMEDY)
        }
        (_, Some(true)) => CheckResult::passed(NAME, format!("the clock is kept{service}")),
        (Some(seconds), _) => CheckResult::passed(NAME, format!("the clock is at most {} s off", seconds + 1)),
        (None, Some(false)) => CheckResult::warning(NAME, "the kernel says that nothing keeps its clock", REMEDY),
        (None, None) if clock.service.is_some() => CheckResult::passed(NAME, format!("the clock is kept{service}")),
        (None, None) => CheckResult::warning(NAME, "nothing on this host tells whether the clock is kept", REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::preflight::CheckStatus;

    use super::*;

    #[test]
    fn a_measured_offset_outweighs_what_the_kernel_says() {
        let clock = |synchronized| Clock { synchronized, ..Clock::default() };
        let status = |synchronized, offset_us| decide(&clock(synchronized), offset_us).status;
        assert_eq!(status(Some(true), Some(61_000_000)), CheckStatus::Warning);
        assert_eq!(status(Some(true), Some(-3_600_000_000)), CheckStatus::Warning);
        assert_eq!(status(Some(false), Some(-1_000)), CheckStatus::Passed);
        assert_eq!(status(Some(false), None), CheckStatus::Warning);
        assert_eq!(status(Some(true), None), CheckStatus::Passed);
        assert_eq!(status(None, None), CheckStatus::Warning);
    }
}
