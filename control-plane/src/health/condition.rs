//! How a server that answers is: as bad as the worst that is found. Pure.

use muster_shared::preflight::{MIN_DOCKER_VERSION, MIN_FREE_DISK_BYTES};

use super::{
    decide::{
        Certificate, Contact, DISK_CRITICAL_PERCENT, DISK_WARNING_PERCENT, SAMPLE_LATE_AFTER_US, SECOND_US, Signals,
        Verdict,
    },
    evidence::{Evidence, Signal},
};
use crate::servers::{AgentStatus, HealthStatus};

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
pub(super) fn condition(signals: &Signals, contact: Contact, now_us: i64) -> Verdict {
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

pub(super) fn certificate_evidence(certificate: Certificate, now_us: i64) -> Evidence {
    let seconds = |us: i64| (us / SECOND_US) as f64;
    let left = seconds(certificate.not_after_us.saturating_sub(now_us));
    let late_at_us = certificate.not_after_us.saturating_sub(certificate.late_us());
    Evidence::number(Signal::Certificate, left, "seconds", seconds(certificate.late_us()), Some(late_at_us.min(now_us)))
}

fn certificate(signals: &Signals, now_us: i64) -> Option<Finding> {
    let certificate = signals.certificate.filter(|_| signals.agent == Some(AgentStatus::Online))?;
    let evidence = certificate_evidence(certificate, now_us);
    if certificate.not_after_us.saturating_sub(now_us) >= certificate.late_us() {
        return Some(Finding::good(evidence));
    }
    let reason = "its agent's certificate expires soon and was not renewed: look at its service's log".to_owned();
    Some(Finding { status: HealthStatus::Degraded, reason, evidence })
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
