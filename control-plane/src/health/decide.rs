//! How a server is, decided from everything known of it. Pure.

use super::{
    condition::{certificate_evidence, condition},
    evidence::{Evidence, Signal},
};
use crate::servers::{AgentStatus, ConnectionOutcome, HealthStatus, ServerStatus};

pub(super) const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;

/// After this long without a sign of life, what was known says nothing any more.
pub const UNKNOWN_AFTER_US: i64 = 24 * HOUR_US;
/// Silence of an online agent after which it is shown as unreachable.
pub const SILENT_AFTER_US: i64 = 30 * SECOND_US;
/// Age of the newest sample, when it was looked for, above which a connected server is degraded. An unwatched host
/// reports every ten seconds.
pub const SAMPLE_LATE_AFTER_US: i64 = 60 * SECOND_US;
/// Share of the data disk in use above which a server is degraded, and above which it is unhealthy, in percent.
pub const DISK_WARNING_PERCENT: f64 = 85.0;
pub const DISK_CRITICAL_PERCENT: f64 = 95.0;

/// What is known of a server.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// What it is meant to be doing.
    pub status: Option<ServerStatus>,
    pub created_at_us: i64,
    pub agent: Option<AgentStatus>,
    /// The agent's last sign of life.
    pub last_seen_at_us: Option<i64>,
    /// The newest sample, as it was when it was looked for.
    pub sample: Option<SampleSeen>,
    /// The agent's youngest certificate.
    pub certificate: Option<Certificate>,
    /// The last attempt over SSH and when it ended.
    pub connection: Option<(ConnectionOutcome, i64)>,
    /// It has a login over SSH whose host key is on record, so that it is tried without being asked.
    pub is_probed: bool,
    pub docker_status: Option<String>,
    pub docker_version: Option<String>,
    pub disk_bytes: Option<u64>,
    pub disk_available_bytes: Option<u64>,
    /// When disk and Docker were looked at.
    pub facts_at_us: Option<i64>,
}

/// A sample, seen from the control plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleSeen {
    /// When it arrived.
    pub arrived_at_us: i64,
    /// When it was found to be the newest.
    pub looked_at_us: i64,
    /// Its share of the disk in use, where it says so.
    pub disk_usage_percent: Option<f64>,
}

/// From when and until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    pub not_before_us: i64,
    pub not_after_us: i64,
}

impl Certificate {
    /// What is left of it when its renewal is late: it is renewed at half of its life, so a quarter.
    #[must_use]
    pub fn late_us(&self) -> i64 {
        self.not_after_us.saturating_sub(self.not_before_us).max(0) / 4
    }
}

/// How a server is, why, and since when that can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub status: HealthStatus,
    /// In words, with what to do where something is to be done.
    pub reason: String,
    /// The signals that decided.
    pub evidence: Vec<Evidence>,
    /// When the signal that decided was seen.
    pub checked_at_us: Option<i64>,
    /// The earliest moment from which the status can hold.
    pub began_at_us: i64,
}

/// How a server with these `signals` is at `now_us`.
#[must_use]
pub fn decide(signals: &Signals, now_us: i64) -> Verdict {
    let contact = contact(signals, now_us);
    match contact.refused {
        Some((status, reason)) => Verdict {
            status,
            reason: reason.to_owned(),
            evidence: contact.evidence,
            checked_at_us: contact.checked_at_us,
            began_at_us: contact.began_at_us,
        },
        None => condition(signals, contact, now_us),
    }
}

/// Whether it answers, and what says so.
pub(super) struct Contact {
    pub(super) refused: Option<(HealthStatus, &'static str)>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) checked_at_us: Option<i64>,
    pub(super) began_at_us: i64,
    /// It answers, though its agent should have and did not.
    pub(super) agent_is_missing: bool,
}

fn contact(signals: &Signals, now_us: i64) -> Contact {
    let seen = signals.last_seen_at_us;
    let recent = |at_us: i64, within_us: i64| now_us.saturating_sub(at_us) <= within_us;
    let agent_word = signals.agent.unwrap_or(AgentStatus::None);
    let agent = || Evidence::word(Signal::Agent, agent_word.as_str(), seen);
    let refused = |status, reason, evidence, checked_at_us: Option<i64>, began_at_us| Contact {
        refused: Some((status, reason)),
        evidence,
        checked_at_us,
        began_at_us,
        agent_is_missing: false,
    };
    let answers = |evidence, at_us, agent_is_missing| Contact {
        refused: None,
        evidence: vec![evidence],
        checked_at_us: Some(at_us),
        began_at_us: at_us,
        agent_is_missing,
    };
    if agent_word == AgentStatus::Quarantined {
        let reason = "two machines used this server's identity: release the quarantine, then join the right one again";
        return refused(HealthStatus::Unhealthy, reason, vec![agent()], seen, seen.unwrap_or(signals.created_at_us));
    }
    if let (AgentStatus::Online, Some(at_us)) = (agent_word, seen.filter(|at_us| recent(*at_us, SILENT_AFTER_US))) {
        return answers(agent(), at_us, false);
    }
    // Whichever is younger of the agent's last sign and the last SSH attempt says how the server is.
    let attempt = signals.connection.filter(|(_, at_us)| recent(*at_us, UNKNOWN_AFTER_US));
    let seen_recently = seen.filter(|at_us| recent(*at_us, UNKNOWN_AFTER_US));
    match (attempt, seen_recently) {
        (Some((outcome, at_us)), seen) if seen.is_none_or(|seen| seen <= at_us) => {
            let ssh = Evidence::word(Signal::Ssh, outcome.as_str(), Some(at_us));
            let agent_is_missing = matches!(agent_word, AgentStatus::Offline | AgentStatus::Online);
            match after_attempt(outcome, signals.status) {
                None => answers(ssh, at_us, agent_is_missing),
                Some((status, reason)) => refused(status, reason, vec![ssh], Some(at_us), at_us),
            }
        }
        (_, Some(at_us)) => {
            let mut evidence = vec![agent()];
            let expired = signals.certificate.filter(|certificate| certificate.not_after_us <= now_us);
            evidence.extend(expired.map(|certificate| certificate_evidence(certificate, now_us)));
            let reason = stream_is_down(agent_word, signals.status, expired.is_some());
            let began = if agent_word == AgentStatus::Online { at_us.saturating_add(SILENT_AFTER_US) } else { at_us };
            refused(HealthStatus::Unreachable, reason, evidence, Some(at_us), began)
        }
        (_, None) => {
            let checked = seen.max(signals.connection.map(|(_, at_us)| at_us));
            let began = checked.map_or(signals.created_at_us, |at_us| at_us.saturating_add(UNKNOWN_AFTER_US));
            refused(HealthStatus::Unknown, unknown_because(signals, checked), vec![agent()], checked, began)
        }
    }
}

fn unknown_because(signals: &Signals, checked_at_us: Option<i64>) -> &'static str {
    match checked_at_us {
        Some(_) => "nothing was heard for more than 24 hours: test the connection",
        None if signals.status == Some(ServerStatus::Pending) => "it has not joined yet: paste its join line on it",
        None if signals.is_probed => "never checked: the first check is on its way",
        None => "never checked: test the connection, which also records the host's key",
    }
}

fn stream_is_down(agent: AgentStatus, status: Option<ServerStatus>, certificate_expired: bool) -> &'static str {
    match agent {
        _ if status == Some(ServerStatus::Stopped) => "it was stopped: start it",
        AgentStatus::Revoked => "its agent's identity was revoked: join the server again with a new token",
        AgentStatus::Pending => "its agent has an identity and no stream: start its muster-agent services",
        _ if certificate_expired => {
            "the agent's stream is down and its certificate has expired: bring the server back, it renews by itself for \
             30 days; after that join it again"
        }
        _ => "the agent's stream is down: check the server's power and network, then its muster-agent services",
    }
}

fn after_attempt(outcome: ConnectionOutcome, status: Option<ServerStatus>) -> Option<(HealthStatus, &'static str)> {
    match outcome {
        ConnectionOutcome::Success => None,
        ConnectionOutcome::AuthFailed => {
            Some((HealthStatus::AuthFailed, "the SSH credentials were refused: update the password or key"))
        }
        ConnectionOutcome::Unreachable if status == Some(ServerStatus::Stopped) => {
            Some((HealthStatus::Unreachable, "it was stopped: start it"))
        }
        ConnectionOutcome::Unreachable => {
            Some((HealthStatus::Unreachable, "no SSH connection: check address, port, network and firewall"))
        }
        ConnectionOutcome::HostKeyMismatch => Some((
            HealthStatus::Unhealthy,
            "the SSH host key changed: compare the fingerprints and accept the new one, or find out who answers",
        )),
        ConnectionOutcome::Failed => {
            Some((HealthStatus::Unhealthy, "the last connection failed: test it again for the reason"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_US: i64 = 2_000_000_000_000_000;
    const GB: u64 = 1_000_000_000;

    fn online() -> Signals {
        Signals {
            agent: Some(AgentStatus::Online),
            last_seen_at_us: Some(NOW_US - SECOND_US),
            docker_status: Some("running".into()),
            docker_version: Some("24.0.7".into()),
            disk_bytes: Some(160 * GB),
            disk_available_bytes: Some(100 * GB),
            facts_at_us: Some(NOW_US - HOUR_US),
            ..Signals::default()
        }
    }

    fn attempted(outcome: ConnectionOutcome, ago_us: i64) -> Signals {
        Signals { connection: Some((outcome, NOW_US - ago_us)), ..Signals::default() }
    }

    fn sampled(age_us: i64, disk_usage_percent: Option<f64>) -> Option<SampleSeen> {
        Some(SampleSeen { arrived_at_us: NOW_US - age_us, looked_at_us: NOW_US, disk_usage_percent })
    }

    fn renewed_ago(hours: i64) -> Option<Certificate> {
        let not_before_us = NOW_US - hours * HOUR_US;
        Some(Certificate { not_before_us, not_after_us: not_before_us + 24 * HOUR_US })
    }

    #[test]
    fn every_case_has_its_word() {
        use ConnectionOutcome::{AuthFailed, Failed, HostKeyMismatch, Success, Unreachable};
        let offline = || Signals { agent: Some(AgentStatus::Offline), ..online() };
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
                Signals { last_seen_at_us: Some(NOW_US - 31 * SECOND_US), ..online() },
                HealthStatus::Unreachable,
            ),
            ("offline", offline(), HealthStatus::Unreachable),
            ("long gone", Signals { last_seen_at_us: Some(NOW_US - 25 * HOUR_US), ..offline() }, HealthStatus::Unknown),
            (
                "agent gone, ssh works",
                Signals { connection: Some((Success, NOW_US)), ..offline() },
                HealthStatus::Degraded,
            ),
            ("quarantined", Signals { agent: Some(AgentStatus::Quarantined), ..online() }, HealthStatus::Unhealthy),
            ("docker stopped", Signals { docker_status: Some("stopped".into()), ..online() }, HealthStatus::Degraded),
            ("no docker", Signals { docker_status: Some("not_installed".into()), ..online() }, HealthStatus::Degraded),
            ("docker unknown", Signals { docker_status: Some("unknown".into()), ..online() }, HealthStatus::Healthy),
            ("old docker", Signals { docker_version: Some("19.03.9".into()), ..online() }, HealthStatus::Degraded),
            ("little disk left", Signals { disk_available_bytes: Some(10 * GB), ..online() }, HealthStatus::Degraded),
            ("disk nearly full", Signals { disk_available_bytes: Some(GB), ..online() }, HealthStatus::Unhealthy),
            ("fresh samples", Signals { sample: sampled(SECOND_US, Some(40.0)), ..online() }, HealthStatus::Healthy),
            ("no samples come", Signals { sample: sampled(61 * SECOND_US, None), ..online() }, HealthStatus::Degraded),
            (
                "disk full by its samples",
                Signals { sample: sampled(SECOND_US, Some(96.0)), ..online() },
                HealthStatus::Unhealthy,
            ),
            (
                "a certificate that is not renewed",
                Signals { certificate: renewed_ago(19), ..online() },
                HealthStatus::Degraded,
            ),
            ("a good certificate", Signals { certificate: renewed_ago(17), ..online() }, HealthStatus::Healthy),
        ];
        for (name, signals, expected) in cases {
            let verdict = decide(&signals, NOW_US);
            assert_eq!(verdict.status, expected, "{name}: {}", verdict.reason);
            assert!(!verdict.reason.is_empty() && !verdict.evidence.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_offline_agent_yields_to_a_younger_ssh_attempt() {
        let mut signals = Signals { agent: Some(AgentStatus::Offline), ..online() };
        signals.connection = Some((ConnectionOutcome::AuthFailed, NOW_US));
        assert_eq!(decide(&signals, NOW_US).status, HealthStatus::AuthFailed);
        signals.connection = Some((ConnectionOutcome::AuthFailed, NOW_US - HOUR_US));
        assert_eq!(decide(&signals, NOW_US).status, HealthStatus::Unreachable);
    }

    #[test]
    fn several_faults_are_all_named_the_worst_first() {
        let signals = Signals { disk_available_bytes: Some(2 * GB), docker_status: Some("stopped".into()), ..online() };
        let verdict = decide(&signals, NOW_US);
        assert_eq!(verdict.status, HealthStatus::Unhealthy);
        assert!(verdict.reason.starts_with("the data disk is 98 % full"), "{}", verdict.reason);
        assert!(verdict.reason.contains("Docker is not running"), "{}", verdict.reason);
        let signals_named: Vec<_> = verdict.evidence.iter().map(|evidence| evidence.signal).collect();
        assert_eq!(signals_named, [Signal::Agent, Signal::DiskUsage, Signal::DiskFree, Signal::Docker]);
        assert_eq!((verdict.evidence[1].number, verdict.evidence[1].limit), (Some(98.8), Some(95.0)));
    }

    #[test]
    fn a_stopped_server_is_not_a_fault_to_be_looked_for() {
        let stopped = |signals: Signals| Signals { status: Some(ServerStatus::Stopped), ..signals };
        for signals in [
            stopped(Signals { agent: Some(AgentStatus::Offline), ..online() }),
            stopped(attempted(ConnectionOutcome::Unreachable, HOUR_US)),
        ] {
            assert_eq!(decide(&signals, NOW_US).reason, "it was stopped: start it");
        }
    }

    #[test]
    fn silence_begins_when_it_is_noticed() {
        let seen_us = NOW_US - HOUR_US;
        let silent = decide(&Signals { last_seen_at_us: Some(seen_us), ..online() }, NOW_US);
        assert_eq!(silent.began_at_us, seen_us + SILENT_AFTER_US);
        let gone =
            decide(&Signals { agent: Some(AgentStatus::Offline), last_seen_at_us: Some(seen_us), ..online() }, NOW_US);
        assert_eq!(gone.began_at_us, seen_us);
        let unknown = decide(&Signals { created_at_us: 7, ..Signals::default() }, NOW_US);
        assert_eq!((unknown.began_at_us, unknown.checked_at_us), (7, None));
    }

    fn any_signals() -> impl Strategy<Value = Signals> {
        let moment = || proptest::option::of(NOW_US - 50 * HOUR_US..=NOW_US);
        let attempt =
            proptest::option::of((proptest::sample::select(ConnectionOutcome::ALL), NOW_US - 50 * HOUR_US..=NOW_US));
        let docker = proptest::option::of(proptest::sample::select(&["running", "stopped", "hung", "x"][..]));
        (
            proptest::option::of(proptest::sample::select(AgentStatus::ALL)),
            moment(),
            attempt,
            docker,
            proptest::option::of(0..200 * GB),
            proptest::option::of(0..200 * GB),
            proptest::option::of((NOW_US - 50 * HOUR_US..=NOW_US, proptest::option::of(0.0..100.0))),
            proptest::option::of(0_i64..50),
        )
            .prop_map(|(agent, last_seen_at_us, connection, docker, total, available, sample, certificate)| {
                Signals {
                    agent,
                    last_seen_at_us,
                    connection,
                    docker_status: docker.map(str::to_owned),
                    disk_bytes: total,
                    disk_available_bytes: available,
                    sample: sample.map(|(arrived_at_us, disk_usage_percent)| SampleSeen {
                        arrived_at_us,
                        looked_at_us: NOW_US,
                        disk_usage_percent,
                    }),
                    certificate: certificate.and_then(renewed_ago),
                    ..Signals::default()
                }
            })
    }

    proptest! {
        #[test]
        fn a_verdict_always_has_its_reason_its_evidence_and_its_time(signals in any_signals()) {
            let verdict = decide(&signals, NOW_US);
            prop_assert!(!verdict.reason.is_empty() && !verdict.evidence.is_empty());
            prop_assert!(verdict.began_at_us <= NOW_US, "{verdict:?}");
            prop_assert!(verdict.checked_at_us.is_none_or(|at_us| at_us <= NOW_US));
            let heard_us = signals.last_seen_at_us.max(signals.connection.map(|(_, at_us)| at_us));
            let is_stale = heard_us.is_none_or(|at_us| NOW_US - at_us > UNKNOWN_AFTER_US);
            if is_stale && signals.agent != Some(AgentStatus::Quarantined) {
                prop_assert_eq!(verdict.status, HealthStatus::Unknown);
            }
            prop_assert_eq!(decide(&signals, NOW_US), verdict);
        }
    }
}
