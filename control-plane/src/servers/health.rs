//! How a server is, decided from everything known of it. Pure.

use muster_shared::preflight::{MIN_DOCKER_VERSION, MIN_FREE_DISK_BYTES};

use super::status::{AgentStatus, ConnectionOutcome, HealthStatus};

/// After this long without a sign of life, what was known says nothing any more.
pub const UNKNOWN_AFTER_US: i64 = 24 * 3_600 * 1_000_000;
/// Silence of an online agent after which it is shown as unreachable.
pub const SILENT_AFTER_US: i64 = 30 * 1_000_000;
/// Share of the data disk in use above which a server is degraded, and above which it is unhealthy, in percent.
pub const DISK_WARNING_PERCENT: u64 = 85;
pub const DISK_CRITICAL_PERCENT: u64 = 95;

/// What is known of a server.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    pub agent: Option<AgentStatus>,
    /// The agent's last sign of life.
    pub last_seen_at_us: Option<i64>,
    /// The last attempt over SSH and when it ended.
    pub connection: Option<(ConnectionOutcome, i64)>,
    pub docker_status: Option<String>,
    pub docker_version: Option<String>,
    pub disk_bytes: Option<u64>,
    pub disk_available_bytes: Option<u64>,
}

/// How a server is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub status: HealthStatus,
    /// In words, with what to do where something is to be done.
    pub reason: String,
    /// When the signal that decided was seen.
    pub checked_at_us: Option<i64>,
}

/// How a server with these `signals` is at `now_us`.
#[must_use]
pub fn health(signals: &Signals, now_us: i64) -> Health {
    let (contact, checked_at_us) = contact(signals, now_us);
    let (status, reason) = match contact {
        Contact::Refused(status, reason) => (status, reason.to_owned()),
        Contact::Answers => condition(signals),
    };
    Health { status, reason, checked_at_us }
}

enum Contact {
    Answers,
    Refused(HealthStatus, &'static str),
}

fn contact(signals: &Signals, now_us: i64) -> (Contact, Option<i64>) {
    let seen = signals.last_seen_at_us;
    let recent = |at_us: i64, within_us: i64| now_us.saturating_sub(at_us) <= within_us;
    match signals.agent {
        Some(AgentStatus::Quarantined) => {
            let reason =
                "two machines used this server's identity: release the quarantine, then join the right one again";
            return (Contact::Refused(HealthStatus::Unhealthy, reason), seen);
        }
        Some(AgentStatus::Online) if seen.is_some_and(|at_us| recent(at_us, SILENT_AFTER_US)) => {
            return (Contact::Answers, seen);
        }
        _ => {}
    }
    // Whichever is younger of the agent's last sign and the last SSH attempt says how the server is.
    let attempt = signals.connection.filter(|(_, at_us)| recent(*at_us, UNKNOWN_AFTER_US));
    let seen_recently = seen.filter(|at_us| recent(*at_us, UNKNOWN_AFTER_US));
    match (attempt, seen_recently) {
        (Some((outcome, at_us)), seen) if seen.is_none_or(|seen| seen <= at_us) => {
            (after_attempt(outcome), Some(at_us))
        }
        (_, Some(at_us)) => {
            let reason =
                "the agent's stream is down: check the server's power and network, then its muster-agent services";
            (Contact::Refused(HealthStatus::Unreachable, reason), Some(at_us))
        }
        (_, None) => {
            let checked = seen.max(signals.connection.map(|(_, at_us)| at_us));
            let reason = match checked {
                Some(_) => "nothing was heard for more than 24 hours: test the connection",
                None => "never checked: test the connection",
            };
            (Contact::Refused(HealthStatus::Unknown, reason), checked)
        }
    }
}

fn after_attempt(outcome: ConnectionOutcome) -> Contact {
    match outcome {
        ConnectionOutcome::Success => Contact::Answers,
        ConnectionOutcome::AuthFailed => {
            Contact::Refused(HealthStatus::AuthFailed, "the SSH credentials were refused: update the password or key")
        }
        ConnectionOutcome::Unreachable => {
            Contact::Refused(HealthStatus::Unreachable, "no SSH connection: check address, port, network and firewall")
        }
        ConnectionOutcome::HostKeyMismatch => Contact::Refused(
            HealthStatus::Unhealthy,
            "the SSH host key changed: compare the fingerprints and accept the new one, or find out who answers",
        ),
        ConnectionOutcome::Failed => {
            Contact::Refused(HealthStatus::Unhealthy, "the last connection failed: test it again for the reason")
        }
    }
}

fn condition(signals: &Signals) -> (HealthStatus, String) {
    let disk = disk(signals);
    let docker = docker(signals);
    match (disk, docker) {
        (Some(disk @ (HealthStatus::Unhealthy, _)), _) => disk,
        (Some((status, disk)), Some((_, docker))) => (status, format!("{disk}; {docker}")),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => (HealthStatus::Healthy, "it answers, and nothing is amiss".into()),
    }
}

fn disk(signals: &Signals) -> Option<(HealthStatus, String)> {
    let (total, available) = (signals.disk_bytes?, signals.disk_available_bytes?);
    if total == 0 {
        return None;
    }
    let used_percent = total.saturating_sub(available).saturating_mul(100) / total;
    let free_gb = available / 1_000_000_000;
    if used_percent >= DISK_CRITICAL_PERCENT || available == 0 {
        let reason = format!("the data disk is {used_percent} % full: free space or enlarge it now");
        Some((HealthStatus::Unhealthy, reason))
    } else if used_percent >= DISK_WARNING_PERCENT {
        Some((HealthStatus::Degraded, format!("the data disk is {used_percent} % full: free space or enlarge it")))
    } else if available < MIN_FREE_DISK_BYTES {
        let reason = format!("{free_gb} GB are free on the data disk: a deployment needs 20 GB");
        Some((HealthStatus::Degraded, reason))
    } else {
        None
    }
}

fn docker(signals: &Signals) -> Option<(HealthStatus, String)> {
    let degraded = |reason: &str| Some((HealthStatus::Degraded, reason.to_owned()));
    match signals.docker_status.as_deref()? {
        "running" => {
            let version = signals.docker_version.as_deref()?;
            let (major, minor) = MIN_DOCKER_VERSION;
            let old = numbers(version).is_some_and(|version| version < MIN_DOCKER_VERSION);
            old.then(|| {
                (HealthStatus::Degraded, format!("Docker {version} is old: upgrade to {major}.{minor} or later"))
            })
        }
        "not_installed" => degraded("Docker is not installed: run the preflight checks"),
        "stopped" => degraded("Docker is not running: start it"),
        "hung" => degraded("Docker does not answer: restart it"),
        _ => None,
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 2_000_000_000_000_000;
    const HOUR_US: i64 = 3_600_000_000;
    const GB: u64 = 1_000_000_000;

    fn online() -> Signals {
        Signals {
            agent: Some(AgentStatus::Online),
            last_seen_at_us: Some(NOW_US - 1_000_000),
            docker_status: Some("running".into()),
            docker_version: Some("24.0.7".into()),
            disk_bytes: Some(160 * GB),
            disk_available_bytes: Some(100 * GB),
            ..Signals::default()
        }
    }

    fn attempted(outcome: ConnectionOutcome, ago_us: i64) -> Signals {
        Signals { connection: Some((outcome, NOW_US - ago_us)), ..Signals::default() }
    }

    #[test]
    fn every_case_has_its_word() {
        use ConnectionOutcome::{AuthFailed, Failed, HostKeyMismatch, Success, Unreachable};
        let cases = [
            ("online", online(), HealthStatus::Healthy),
            ("nothing known", Signals::default(), HealthStatus::Unknown),
            ("ssh works", attempted(Success, HOUR_US), HealthStatus::Healthy),
            ("ssh worked long ago", attempted(Success, 25 * HOUR_US), HealthStatus::Unknown),
            ("wrong password", attempted(AuthFailed, HOUR_US), HealthStatus::AuthFailed),
            ("closed port", attempted(Unreachable, HOUR_US), HealthStatus::Unreachable),
            ("other host key", attempted(HostKeyMismatch, HOUR_US), HealthStatus::Unhealthy),
            ("broken", attempted(Failed, HOUR_US), HealthStatus::Unhealthy),
            (
                "online but silent",
                Signals { last_seen_at_us: Some(NOW_US - 31_000_000), ..online() },
                HealthStatus::Unreachable,
            ),
            ("offline", Signals { agent: Some(AgentStatus::Offline), ..online() }, HealthStatus::Unreachable),
            (
                "long gone",
                Signals { agent: Some(AgentStatus::Offline), last_seen_at_us: Some(NOW_US - 25 * HOUR_US), ..online() },
                HealthStatus::Unknown,
            ),
            ("quarantined", Signals { agent: Some(AgentStatus::Quarantined), ..online() }, HealthStatus::Unhealthy),
            ("docker stopped", Signals { docker_status: Some("stopped".into()), ..online() }, HealthStatus::Degraded),
            ("no docker", Signals { docker_status: Some("not_installed".into()), ..online() }, HealthStatus::Degraded),
            ("docker unknown", Signals { docker_status: Some("unknown".into()), ..online() }, HealthStatus::Healthy),
            ("old docker", Signals { docker_version: Some("19.03.9".into()), ..online() }, HealthStatus::Degraded),
            ("little disk left", Signals { disk_available_bytes: Some(10 * GB), ..online() }, HealthStatus::Degraded),
            ("disk nearly full", Signals { disk_available_bytes: Some(GB), ..online() }, HealthStatus::Unhealthy),
        ];
        for (name, signals, expected) in cases {
            let health = health(&signals, NOW_US);
            assert_eq!(health.status, expected, "{name}: {}", health.reason);
            assert!(!health.reason.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_offline_agent_yields_to_a_younger_ssh_attempt() {
        let mut signals = Signals { agent: Some(AgentStatus::Offline), ..online() };
        signals.connection = Some((ConnectionOutcome::AuthFailed, NOW_US));
        assert_eq!(health(&signals, NOW_US).status, HealthStatus::AuthFailed);
        signals.connection = Some((ConnectionOutcome::AuthFailed, NOW_US - HOUR_US));
        assert_eq!(health(&signals, NOW_US).status, HealthStatus::Unreachable);
    }

    #[test]
    fn several_warnings_are_all_named() {
        let signals =
            Signals { disk_available_bytes: Some(20 * GB), docker_status: Some("stopped".into()), ..online() };
        let health = health(&signals, NOW_US);
        assert!(health.reason.contains("87 % full") && health.reason.contains("Docker"), "{}", health.reason);
    }
}
