//! What a run's checks add up to, and whose word counts on whether one can log in. Pure.

use muster_shared::preflight::{CheckName, CheckResult, CheckStatus, PreflightReport, Qualification};
use serde::Serialize;

use crate::ssh::SshError;

/// The last event of a run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Complete {
    status: Qualification,
    passed: usize,
    failed: usize,
    warnings: usize,
}

impl Complete {
    pub(super) fn of(report: &PreflightReport) -> Self {
        Self {
            status: report.verdict(),
            passed: report.count(CheckStatus::Passed),
            failed: report.count(CheckStatus::Failed),
            warnings: report.count(CheckStatus::Warning),
        }
    }
}

/// A login that worked.
pub(super) fn login_worked(host: &str, port: u16, username: &str) -> CheckResult {
    CheckResult::passed(CheckName::SshConnectivity, format!("logged in to {host} port {port} as {username}"))
}

/// A login that failed.
pub(super) fn login_failed(error: &SshError) -> CheckResult {
    CheckResult::failed(CheckName::SshConnectivity, error.to_string(), error.remedy())
}

/// The host's report with the control plane's judgement of the login in it, where there is one.
pub(super) fn judged(mut report: PreflightReport, login: Option<CheckResult>) -> PreflightReport {
    if let Some(login) = login {
        report.checks.retain(|check| check.name != login.name);
        report.checks.insert(0, login);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::Unreachable;

    fn host_report() -> PreflightReport {
        let checks = vec![
            CheckResult::passed(CheckName::SshConnectivity, "an SSH server listens"),
            CheckResult::passed(CheckName::DiskSpace, "90 GB free"),
            CheckResult::warning(CheckName::Specifications, "2 cores", "add two"),
            CheckResult::failed(CheckName::DockerInstalled, "no docker", "install it"),
        ];
        PreflightReport { checked_at_us: 1, checks, system: None }
    }

    #[test]
    fn each_check_counts_once() {
        let complete = serde_json::to_value(Complete::of(&host_report())).expect("serialises");
        let expected = serde_json::json!({ "status": "needs_setup", "passed": 2, "failed": 1, "warnings": 1 });
        assert_eq!(complete, expected);
    }

    #[test]
    fn a_login_that_fails_outweighs_what_the_host_believes() {
        let why = SshError::Unreachable { address: "203.0.113.10".into(), port: 22, why: Unreachable::Refused };
        let report = judged(host_report(), Some(login_failed(&why)));
        assert_eq!(report.checks.len(), 4);
        assert_eq!(report.checks[0].name, CheckName::SshConnectivity);
        assert_eq!(report.verdict(), Qualification::Unqualified);
        assert!(!report.checks[0].remedy.is_empty());
    }

    #[test]
    fn without_credentials_the_host_s_own_view_stands() {
        assert_eq!(judged(host_report(), None), host_report());
    }
}
