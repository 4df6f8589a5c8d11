//! How a server is, decided from everything known of it. Pure.

use muster_shared::preflight::{MIN_DOCKER_VERSION, MIN_FREE_DISK_BYTES};

use super::evidence::{Evidence, Signal};
use crate::servers::{AgentStatus, ConnectionOutcome, HealthStatus, ServerStatus};

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;

/// After this long without a sign of life, what was known says nothing any more.
pub const UNKNOWN_AFTER_US: i64 = 24 * HOUR_US;
/// Silence of an online agent after which it is shown as unreachable.
pub const SILENT_AFTER_US: i64 = 30 * SECOND_US;
/// Age of the newest sample, when it was looked for, above which a connected server is degraded. An unwatched host
/// reports every ten seconds.
pub const SAMPLE_LATE_AFTER_US: i64 = 60 * SECOND_US;
/// What is left of a certificate below which its renewal is late: it is renewed at half of its 24 hours.
pub const CERTIFICATE_LATE_US: i64 = 6 * HOUR_US;
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
    /// Until when the agent's youngest certificate is good.
    pub certificate_expires_at_us: Option<i64>,
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
struct Contact {
    refused: Option<(HealthStatus, &'static str)>,
    evidence: Vec<Evidence>,
    checked_at_us: Option<i64>,
    began_at_us: i64,
    /// It answers, though its agent should have and did not.
    agent_is_missing: bool,
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
            let expired = signals.certificate_expires_at_us.filter(|expiry_us| *expiry_us <= now_us);
            evidence.extend(expired.map(|expiry_us| certificate_evidence(expiry_us, now_us)));
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

/// One thing that was looked at.
struct Finding {
    status: HealthStatus,
    /// What is amiss; empty where nothing is.
    reason: String,
    evidence: Evidence,
}

impl Finding {
    fn good(evidence: Evidence) -> Self {
        Self { status: HealthStatus::Healthy, reason: String::new(), evidence }
    }
}

/// A server that answers is as bad as the worst that was found, and every fault is named, the worst first.
fn condition(signals: &Signals, contact: Contact, now_us: i64) -> Verdict {
    let found = [
        contact.agent_is_missing.then(|| missing_agent(signals)),
        sample(signals),
        certificate(signals, now_us),
        disk_usage(signals),
        disk_free(signals),
        docker(signals),
    ];
    let mut found: Vec<Finding> = found.into_iter().flatten().collect();
    found.sort_by_key(|finding| std::cmp::Reverse(severity(finding.status)));
    let status = found.first().map_or(HealthStatus::Healthy, |worst| worst.status);
    let mut evidence = contact.evidence;
    let reason = if status == HealthStatus::Healthy {
        "it answers, and nothing is amiss".to_owned()
    } else {
        found.retain(|finding| finding.status != HealthStatus::Healthy);
        found.iter().map(|finding| finding.reason.as_str()).collect::<Vec<_>>().join("; ")
    };
    let seen = found.iter().filter(|finding| finding.status == status).filter_map(|finding| finding.evidence.at_us);
    let began_at_us = seen.min().unwrap_or(contact.began_at_us);
    evidence.extend(found.into_iter().map(|finding| finding.evidence));
    Verdict { status, reason, evidence, checked_at_us: contact.checked_at_us, began_at_us }
}

fn severity(status: HealthStatus) -> u8 {
    match status {
        HealthStatus::Healthy => 0,
        HealthStatus::Degraded => 1,
        _ => 2,
    }
}

fn missing_agent(signals: &Signals) -> Finding {
    Finding {
        status: HealthStatus::Degraded,
        reason: "it answers over SSH, but its agent's stream is down: look at its muster-agent services".to_owned(),
        evidence: Evidence::word(Signal::Agent, AgentStatus::Offline.as_str(), signals.last_seen_at_us),
    }
}

fn sample(signals: &Signals) -> Option<Finding> {
    let seen = signals.sample.filter(|_| signals.agent == Some(AgentStatus::Online))?;
    let age_us = seen.looked_at_us.saturating_sub(seen.arrived_at_us).max(0);
    let limit = SAMPLE_LATE_AFTER_US / SECOND_US;
    let age = (age_us / SECOND_US) as f64;
    let evidence = Evidence::number(Signal::SampleAge, age, "seconds", limit as f64, Some(seen.arrived_at_us));
    if age_us <= SAMPLE_LATE_AFTER_US {
        return Some(Finding::good(evidence));
    }
    // Without the age, so that the words stay while the silence goes on.
    let reason =
        format!("its agent is connected and has sent no sample for more than {limit} s: look at its service's log");
    Some(Finding { status: HealthStatus::Degraded, reason, evidence })
}

fn certificate_evidence(expiry_us: i64, now_us: i64) -> Evidence {
    let left = (expiry_us.saturating_sub(now_us) / SECOND_US) as f64;
    Evidence::number(Signal::Certificate, left, "seconds", (CERTIFICATE_LATE_US / SECOND_US) as f64, Some(expiry_us))
}

fn certificate(signals: &Signals, now_us: i64) -> Option<Finding> {
    let expiry_us = signals.certificate_expires_at_us.filter(|_| signals.agent == Some(AgentStatus::Online))?;
    let evidence = certificate_evidence(expiry_us, now_us);
    if expiry_us.saturating_sub(now_us) >= CERTIFICATE_LATE_US {
        return Some(Finding::good(evidence));
    }
    let reason = "its agent's certificate expires soon and was not renewed: look at its service's log".to_owned();
    Some(Finding {
        status: HealthStatus::Degraded,
        reason,
        evidence: Evidence { at_us: Some(expiry_us.saturating_sub(CERTIFICATE_LATE_US).min(now_us)), ..evidence },
    })
}

/// How full the disk is: by the younger of the newest sample and the facts.
#[must_use]
pub(super) fn disk_usage_percent(signals: &Signals) -> Option<(f64, i64)> {
    let sampled = signals.sample.and_then(|seen| Some((seen.disk_usage_percent?, seen.arrived_at_us)));
    let of_facts = || {
        let (total, available) = (signals.disk_bytes.filter(|total| *total > 0)?, signals.disk_available_bytes?);
        let used = total.saturating_sub(available);
        Some((100.0 * used as f64 / total as f64, signals.facts_at_us.unwrap_or_default()))
    };
    let facts = of_facts();
    match (sampled, facts) {
        (Some(sampled), Some(facts)) if facts.1 > sampled.1 => Some(facts),
        (sampled, facts) => sampled.or(facts),
    }
}

fn disk_usage(signals: &Signals) -> Option<Finding> {
    let (used, at_us) = disk_usage_percent(signals)?;
    let evidence = |limit| Evidence::number(Signal::DiskUsage, round(used), "percent", limit, Some(at_us));
    let percent = used.floor();
    Some(if used >= DISK_CRITICAL_PERCENT {
        Finding {
            status: HealthStatus::Unhealthy,
            reason: format!("the data disk is {percent} % full: free space or enlarge it now"),
            evidence: evidence(DISK_CRITICAL_PERCENT),
        }
    } else if used >= DISK_WARNING_PERCENT {
        Finding {
            status: HealthStatus::Degraded,
            reason: format!("the data disk is {percent} % full: free space or enlarge it"),
            evidence: evidence(DISK_WARNING_PERCENT),
        }
    } else {
        Finding::good(evidence(DISK_WARNING_PERCENT))
    })
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn disk_free(signals: &Signals) -> Option<Finding> {
    let available = signals.disk_available_bytes.filter(|_| signals.disk_bytes.is_some_and(|total| total > 0))?;
    let (free, limit) = (available as f64, MIN_FREE_DISK_BYTES as f64);
    let evidence = Evidence::number(Signal::DiskFree, free, "bytes", limit, signals.facts_at_us);
    if available >= MIN_FREE_DISK_BYTES {
        return Some(Finding::good(evidence));
    }
    let status = if available == 0 { HealthStatus::Unhealthy } else { HealthStatus::Degraded };
    let free_gb = available / 1_000_000_000;
    Some(Finding {
        status,
        reason: format!("{free_gb} GB are free on the data disk: a deployment needs 20 GB"),
        evidence,
    })
}

fn docker(signals: &Signals) -> Option<Finding> {
    let word = signals.docker_status.as_deref()?;
    let at_us = signals.facts_at_us;
    let evidence = Evidence::word(Signal::Docker, word, at_us);
    let degraded =
        |reason: &str, evidence| Some(Finding { status: HealthStatus::Degraded, reason: reason.to_owned(), evidence });
    match word {
        "running" => {
            let (major, minor) = MIN_DOCKER_VERSION;
            let version = signals.docker_version.as_deref();
            match version.filter(|version| numbers(version).is_some_and(|version| version < MIN_DOCKER_VERSION)) {
                Some(version) => degraded(
                    &format!("Docker {version} is old: upgrade to {major}.{minor} or later"),
                    Evidence::word(Signal::DockerVersion, version, at_us),
                ),
                None => Some(Finding::good(evidence)),
            }
        }
        "not_installed" => degraded("Docker is not installed: run the preflight checks", evidence),
        "stopped" => degraded("Docker is not running: start it", evidence),
        "hung" => degraded("Docker does not answer: restart it", evidence),
        _ => None,
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
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
                Signals { certificate_expires_at_us: Some(NOW_US + HOUR_US), ..online() },
                HealthStatus::Degraded,
            ),
            (
                "a good certificate",
                Signals { certificate_expires_at_us: Some(NOW_US + 13 * HOUR_US), ..online() },
                HealthStatus::Healthy,
            ),
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
            proptest::option::of(NOW_US - 50 * HOUR_US..NOW_US + 50 * HOUR_US),
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
                    certificate_expires_at_us: certificate,
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
