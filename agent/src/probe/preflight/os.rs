//! Whether the system is one that deployments support.

use muster_shared::{
    facts::{Os, SupportTier},
    preflight::{CheckName, CheckResult},
};

const NAME: CheckName = CheckName::OsCompatibility;
const SUPPORTED: &str = "Use Ubuntu 20.04 or later, Debian 11 or later, Rocky Linux, AlmaLinux or CentOS 8 or later, Alpine 3.17 or later, or Arch.";

pub(super) fn decide(os: &Os) -> CheckResult {
    let name = if os.pretty_name.is_empty() { format!("{} {}", os.name, os.version) } else { os.pretty_name.clone() };
    match os.support_tier {
        SupportTier::Full => CheckResult::passed(NAME, format!("{name} is fully supported")),
        SupportTier::Partial => CheckResult::passed(NAME, format!("{name} is supported in part")),
        SupportTier::Experimental => CheckResult::warning(
            NAME,
            format!("{name} is supported experimentally"),
            "For production prefer a fully supported system: Ubuntu 20.04, 22.04 or 24.04, or Debian 11 or 12.",
        ),
        SupportTier::Unsupported if os.id.is_empty() => {
            CheckResult::failed(NAME, "the system does not say what it is: /etc/os-release is missing", SUPPORTED)
        }
        SupportTier::Unsupported => CheckResult::failed(NAME, format!("{name} is not supported"), SUPPORTED),
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::preflight::CheckStatus;

    use super::*;

    #[test]
    fn tiers_become_results() {
        let status = |support_tier| decide(&Os { id: "x".into(), support_tier, ..Os::default() }).status;
        assert_eq!(status(SupportTier::Full), CheckStatus::Passed);
        assert_eq!(status(SupportTier::Partial), CheckStatus::Passed);
        assert_eq!(status(SupportTier::Experimental), CheckStatus::Warning);
        assert_eq!(status(SupportTier::Unsupported), CheckStatus::Failed);
    }
}
