//! Readiness for deployments: the checks, their results and what they add up to. Pure.

use serde::{Deserialize, Serialize};

use crate::facts::Os;

/// Free space a deployment needs on the data disk.
pub const MIN_FREE_DISK_BYTES: u64 = 20 * 1_000_000_000;
/// Minimum and recommended specifications.
pub const MIN_CPU_CORES: u32 = 2;
pub const RECOMMENDED_CPU_CORES: u32 = 4;
pub const MIN_MEMORY_BYTES: u64 = 4 * 1_000_000_000;
pub const RECOMMENDED_MEMORY_BYTES: u64 = 8 * 1_000_000_000;
pub const MIN_DISK_BYTES: u64 = 80 * 1_000_000_000;
pub const RECOMMENDED_DISK_BYTES: u64 = 160 * 1_000_000_000;
/// Oldest Docker Engine that deployments run on.
pub const MIN_DOCKER_VERSION: (u32, u32) = (20, 10);
/// Skew between host and control plane above which certificates and command expiries become unreliable.
pub const MAX_CLOCK_SKEW_SECONDS: u32 = 60;
/// Age after which a report no longer counts as fresh, and after which it no longer counts.
pub const STALE_AFTER_DAYS: i64 = 7;
pub const EXPIRED_AFTER_DAYS: i64 = 30;

const DAY_US: i64 = 86_400_000_000;

/// A check. The first nine decide; the others warn early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    SshConnectivity,
    RootAccess,
    OsCompatibility,
    DockerInstalled,
    DockerRunning,
    DockerPermissions,
    DiskSpace,
    NetworkConnectivity,
    PortsAvailable,
    Specifications,
    ClockSkew,
    CgroupVersion,
    DockerAddressPools,
    InotifyHeadroom,
}

impl CheckName {
    /// Every check, in the order they run.
    pub const ALL: [Self; 14] = [
        Self::SshConnectivity,
        Self::RootAccess,
        Self::OsCompatibility,
        Self::DockerInstalled,
        Self::DockerRunning,
        Self::DockerPermissions,
        Self::DiskSpace,
        Self::NetworkConnectivity,
        Self::PortsAvailable,
        Self::Specifications,
        Self::ClockSkew,
        Self::CgroupVersion,
        Self::DockerAddressPools,
        Self::InotifyHeadroom,
    ];

    /// The command that mends a failure of this check, where one exists.
    #[must_use]
    pub fn fix(self) -> Option<&'static str> {
        match self {
            Self::RootAccess => Some("configure_sudo"),
            Self::DockerInstalled => Some("install_docker"),
            Self::DockerRunning => Some("start_docker"),
            Self::DockerPermissions => Some("add_to_docker_group"),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    Passed,
    Warning,
    Failed,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct CheckResult {
    pub name: CheckName,
    pub status: CheckStatus,
    /// `status` is not `failed`.
    pub passed: bool,
    /// A command can mend it.
    pub fixable: bool,
    /// What was seen.
    pub evidence: String,
    /// What to do, in words; empty where nothing is to be done.
    #[serde(default)]
    pub remedy: String,
}

impl CheckResult {
    /// All is well: `evidence` says what was seen.
    #[must_use]
    pub fn passed(name: CheckName, evidence: impl Into<String>) -> Self {
        Self::new(name, CheckStatus::Passed, evidence, "")
    }

    /// It works today; `remedy` says what to change.
    #[must_use]
    pub fn warning(name: CheckName, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, CheckStatus::Warning, evidence, remedy)
    }

    /// Deployments would fail; `remedy` says what to change.
    #[must_use]
    pub fn failed(name: CheckName, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, CheckStatus::Failed, evidence, remedy)
    }

    fn new(name: CheckName, status: CheckStatus, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            status,
            passed: status != CheckStatus::Failed,
            fixable: status == CheckStatus::Failed && name.fix().is_some(),
            evidence: evidence.into(),
            remedy: remedy.into(),
        }
    }
}

/// All results of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PreflightReport {
    pub checked_at_us: i64,
    pub checks: Vec<CheckResult>,
    /// What the checks ran on; absent where nothing could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
}

/// The operating system that was looked at, and the machine it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct System {
    pub os: Os,
    /// As `uname -m` names it.
    pub arch: String,
}

impl PreflightReport {
    /// How many checks ended with `status`.
    #[must_use]
    pub fn count(&self, status: CheckStatus) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }

    /// What the results alone add up to.
    #[must_use]
    pub fn verdict(&self) -> Qualification {
        let failed = || self.checks.iter().filter(|check| check.status == CheckStatus::Failed);
        if failed().next().is_none() {
            Qualification::Qualified
        } else if failed().all(|check| check.fixable) {
            Qualification::NeedsSetup
        } else {
            Qualification::Unqualified
        }
    }

    /// What the results are worth at `now_us`: they age into stale and expired.
    #[must_use]
    pub fn qualification(&self, now_us: i64) -> Qualification {
        self.verdict().aged(self.checked_at_us, now_us)
    }
}

/// Whether a server is ready for deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Qualification {
    Qualified,
    /// Every failure has a fix.
    NeedsSetup,
    /// A failure needs a person.
    Unqualified,
    /// Last checked more than 7 days ago.
    Stale,
    /// Last checked more than 30 days ago: check again before use.
    Expired,
}

impl Qualification {
    /// What a verdict reached at `checked_at_us` is worth at `now_us`.
    #[must_use]
    pub fn aged(self, checked_at_us: i64, now_us: i64) -> Self {
        let age_us = now_us.saturating_sub(checked_at_us);
        if age_us > EXPIRED_AFTER_DAYS * DAY_US {
            Self::Expired
        } else if age_us > STALE_AFTER_DAYS * DAY_US {
            Self::Stale
        } else {
            self
        }
    }

    /// The qualification named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Qualified, Self::NeedsSetup, Self::Unqualified, Self::Stale, Self::Expired]
            .into_iter()
            .find(|qualification| qualification.as_str() == word)
    }

    /// The status word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qualified => "qualified",
            Self::NeedsSetup => "needs_setup",
            Self::Unqualified => "unqualified",
            Self::Stale => "stale",
            Self::Expired => "expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<CheckResult>) -> PreflightReport {
        PreflightReport { checked_at_us: 0, checks, system: None }
    }

    #[test]
    fn warnings_still_qualify() {
        let report = report(vec![CheckResult::warning(CheckName::Specifications, "1 core", "add a core")]);
        assert_eq!(report.verdict(), Qualification::Qualified);
    }

    #[test]
    fn one_unfixable_failure_outweighs_fixable_ones() {
        let docker = CheckResult::failed(CheckName::DockerInstalled, "no docker", "install it");
        assert!(docker.fixable);
        assert_eq!(report(vec![docker.clone()]).verdict(), Qualification::NeedsSetup);
        let disk = CheckResult::failed(CheckName::DiskSpace, "1 GB free", "free some");
        assert_eq!(report(vec![docker, disk]).verdict(), Qualification::Unqualified);
    }

    #[test]
    fn reports_age() {
        let report = report(vec![]);
        assert_eq!(report.qualification(7 * DAY_US), Qualification::Qualified);
        assert_eq!(report.qualification(7 * DAY_US + 1), Qualification::Stale);
        assert_eq!(report.qualification(30 * DAY_US + 1), Qualification::Expired);
    }
}
