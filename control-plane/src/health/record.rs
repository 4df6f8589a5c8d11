//! What is kept of a server's health, so that it says since when after a restart too. Pure.

use super::{
    condition::disk_usage_percent,
    decide::{Certificate, SampleSeen, Signals, Verdict, decide},
    evidence::Evidence,
    schedule,
};
use crate::servers::{AgentStatus, HealthStatus, Server};

const HOUR_US: i64 = 3_600 * 1_000_000;

/// What the last check found, as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthRecord {
    pub status: HealthStatus,
    pub reason: String,
    pub since_us: i64,
    /// When the check was.
    pub checked_at_us: i64,
    pub next_check_at_us: i64,
    pub sample: Option<SampleSeen>,
    pub certificate: Option<Certificate>,
    pub probe: Probed,
    /// The hour, counted from the epoch, of the last point of disk use.
    pub disk_use_hour: Option<i64>,
}

/// How trying the server over SSH without being asked went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probed {
    /// Attempts in a row that did not get in.
    pub failures: u32,
    /// The server's revision at the last attempt: a changed server is tried at once.
    pub revision: Option<i64>,
    /// When to try next; `None` before the first attempt.
    pub next_at_us: Option<i64>,
    /// When the host was last looked around in.
    pub looked_at_us: Option<i64>,
}

/// How a server is.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub status: HealthStatus,
    /// In words, with what to do where something is to be done.
    pub reason: String,
    /// The signals that decided.
    pub evidence: Vec<Evidence>,
    /// When the signal that decided was seen; `None` where none ever was.
    pub checked_at_us: Option<i64>,
    /// Since when the status holds.
    pub since_us: i64,
    pub next_check_at_us: i64,
}

/// What a check learns beside the server's record.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen {
    pub sample: Option<SampleSeen>,
    pub certificate: Option<Certificate>,
}

/// A check's outcome, to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub health: Health,
    pub seen: Seen,
    /// A new hour's disk use, in percent.
    pub disk_use: Option<(i64, f64)>,
    /// Its status or its reason is another than before.
    pub is_news: bool,
}

/// How `server` is at `now_us`.
#[must_use]
pub fn health_of(server: &Server, now_us: i64) -> Health {
    let verdict = decide(&signals(server, None), now_us);
    let next = server.health_record.as_ref().map(|record| record.next_check_at_us).filter(|next_us| *next_us > now_us);
    let since_us = since(server, &verdict, now_us);
    shown(verdict, since_us, next.unwrap_or_else(|| schedule::next_check(server.id, now_us)))
}

/// Checks `server` at `now_us`, with what was `seen` beside its record.
#[must_use]
pub fn check(server: &Server, seen: Seen, now_us: i64) -> Check {
    let signals = signals(server, Some(seen));
    let verdict = decide(&signals, now_us);
    let since_us = since(server, &verdict, now_us);
    let record = server.health_record.as_ref();
    let is_news = match record {
        Some(record) => record.status != verdict.status || record.reason != verdict.reason,
        // That nothing is known of a new server is no news.
        None => verdict.status != HealthStatus::Unknown,
    };
    let turn_us = schedule::next_check(server.id, now_us);
    let probe_us = record.and_then(|record| record.probe.next_at_us).filter(|next_us| *next_us > now_us);
    let disk_use = disk_usage_percent(&signals)
        .filter(|(_, at_us)| now_us.saturating_sub(*at_us) <= HOUR_US)
        .map(|(percent, at_us)| (at_us.div_euclid(HOUR_US), percent))
        .filter(|(hour, _)| record.and_then(|record| record.disk_use_hour).is_none_or(|last| last < *hour));
    let next_us = probe_us.map_or(turn_us, |probe_us| probe_us.min(turn_us));
    Check { health: shown(verdict, since_us, next_us), seen, disk_use, is_news }
}

fn shown(verdict: Verdict, since_us: i64, next_check_at_us: i64) -> Health {
    Health {
        status: verdict.status,
        reason: verdict.reason,
        evidence: verdict.evidence,
        checked_at_us: verdict.checked_at_us,
        since_us,
        next_check_at_us,
    }
}

/// A status that is on record began when the record says; another one began after the last check.
fn since(server: &Server, verdict: &Verdict, now_us: i64) -> i64 {
    match &server.health_record {
        Some(record) if record.status == verdict.status => record.since_us,
        Some(record) => verdict.began_at_us.clamp(record.checked_at_us.min(now_us), now_us),
        None => verdict.began_at_us.max(server.created_at_us).min(now_us),
    }
}

/// `seen` is what is known now; what the last check saw stands in for it.
fn signals(server: &Server, seen: Option<Seen>) -> Signals {
    let record = server.health_record.as_ref();
    let seen = seen.unwrap_or_default();
    let detected = &server.detected;
    Signals {
        status: Some(server.status),
        created_at_us: server.created_at_us,
        agent: Some(server.agent.status),
        last_seen_at_us: server.agent.last_seen_at_us,
        sample: seen.sample.or_else(|| record.and_then(|record| record.sample)),
        certificate: seen.certificate.or_else(|| record.and_then(|record| record.certificate)),
        connection: server.connection.as_ref().map(|record| (record.outcome, record.at_us)),
        is_probed: server.ssh.is_some() && server.host_key.is_some() && server.addresses.host().is_some(),
        docker_status: detected.docker_status.clone(),
        docker_version: detected.docker_version.clone(),
        disk_bytes: detected.disk_bytes,
        disk_available_bytes: detected.disk_available_bytes,
        facts_at_us: server.facts_collected_at_us,
    }
}

/// Whether an agent that was there before the control plane (re)started has not had the time to come back.
#[must_use]
pub(super) fn is_waited_for(server: &Server, started_at_us: i64, now_us: i64) -> bool {
    server.agent.status == AgentStatus::Offline
        && now_us.saturating_sub(started_at_us) < super::COMEBACK_US
        && server.agent.last_seen_at_us.is_some_and(|seen_us| seen_us < started_at_us)
        && server.health_record.as_ref().is_some_and(|record| record.checked_at_us < started_at_us)
}
