//! The loop that keeps every server checked: by the schedule, and at once when something happened to one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use muster_shared::id::{OrgId, ServerId};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{BATCH, COMEBACK_US, Checks};
use crate::{
    app::chain,
    error::Error,
    events::{Event, EventKind, Missed},
};

/// How long what happens is collected before the servers it happened to are checked.
const SETTLE: Duration = Duration::from_millis(250);
/// How often the schedule is asked who is due.
const DUE_EVERY: Duration = Duration::from_secs(1);
/// How often servers are looked for that were never checked and whose making was missed.
const UNCHECKED_EVERY: Duration = Duration::from_secs(30);
/// How often samples, which may come every second, make a watched server be checked.
const SAMPLES_EVERY: Duration = Duration::from_secs(10);
/// Servers waiting to be checked out of turn; the rest have their turn.
const MAX_WOKEN: usize = 4096;

/// Keeps every server checked until `stop`. A failure is logged and the next turn tries again.
pub async fn keep_checked(checks: Checks, stop: CancellationToken) {
    let mut hints = checks.events.subscribe();
    let mut turns = Turns::default();
    let mut probes = JoinSet::new();
    let mut settle = interval(SETTLE);
    settle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            hint = hints.next() => match hint {
                Some(hint) => turns.hear(hint, Instant::now()),
                None => return,
            },
            Some(probed) = probes.join_next(), if !probes.is_empty() => {
                turns.woken.extend(probed.ok());
            }
            _ = settle.tick() => {
                let turn = checks.turn(&mut turns, &mut probes);
                match stop.run_until_cancelled(turn).await {
                    Some(Err(error)) => tracing::warn!(error = %chain(&error), "servers could not be checked"),
                    Some(Ok(())) => {}
                    None => return,
                }
            }
        }
    }
}

/// Who is to be checked out of turn, and when the schedule was last asked.
#[derive(Debug, Default)]
struct Turns {
    woken: HashSet<(OrgId, ServerId)>,
    sampled: HashMap<ServerId, Instant>,
    due_asked: Option<Instant>,
    unchecked_asked: Option<Instant>,
}

impl Turns {
    /// Missed events cost nothing but time: the schedule comes to every server.
    fn hear(&mut self, hint: Result<Event, Missed>, now: Instant) {
        let Ok(Event { org_id, server_id: Some(server), kind }) = hint else { return };
        let wakes = match kind {
            EventKind::ServerCreated | EventKind::ServerChanged | EventKind::AgentOnline | EventKind::AgentOffline => {
                true
            }
            EventKind::Sample(_) => {
                let last = self.sampled.insert(server, now);
                let rests = last.filter(|last| now.duration_since(*last) < SAMPLES_EVERY);
                rests.map(|last| self.sampled.insert(server, last)).is_none()
            }
            EventKind::ServerDeleted
            | EventKind::EnvironmentChanged { .. }
            | EventKind::ProjectChanged(_)
            | EventKind::MemberChanged(_)
            | EventKind::HealthChanged
            | EventKind::HardeningChanged
            | EventKind::CommandChanged(_)
            | EventKind::SamplesDamaged
            | EventKind::CommandUpdated { .. } => false,
        };
        if wakes && self.woken.len() < MAX_WOKEN {
            self.woken.insert((org_id, server));
        }
    }

    fn is_time(asked: &mut Option<Instant>, every: Duration, now: Instant) -> bool {
        let is_time = asked.is_none_or(|asked| now.duration_since(asked) >= every);
        if is_time {
            *asked = Some(now);
        }
        is_time
    }
}

impl Checks {
    async fn turn(&self, turns: &mut Turns, probes: &mut JoinSet<(OrgId, ServerId)>) -> Result<(), Error> {
        let now = Instant::now();
        if Turns::is_time(&mut turns.unchecked_asked, UNCHECKED_EVERY, now) {
            turns.woken.extend(self.store.unchecked_servers(BATCH).await?);
            turns.sampled.retain(|_, last| now.duration_since(*last) < SAMPLES_EVERY);
        }
        if Turns::is_time(&mut turns.due_asked, DUE_EVERY, now) {
            let now_us = self.clock.now_us();
            let is_starting = now_us.saturating_sub(self.started_at_us) < COMEBACK_US;
            let waiting_since_us = is_starting.then_some(self.started_at_us);
            turns.woken.extend(self.store.servers_to_check(now_us, waiting_since_us, BATCH).await?);
        }
        let woken: Vec<_> = turns.woken.drain().collect();
        if woken.is_empty() {
            return Ok(());
        }
        for (server, probe) in self.check(&woken).await? {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                metrics::counter!("muster_health_probes_total", "outcome" => "postponed").increment(1);
                continue;
            };
            let checks = self.clone();
            probes.spawn(async move {
                let _place = place;
                let id = (server.org_id, server.id);
                checks.probe(server, probe).await;
                id
            });
        }
        Ok(())
    }

    /// One whole turn: everybody who is due is checked, probed where that is due, and checked again.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn run_once(&self) -> Result<(), Error> {
        let mut probes = JoinSet::new();
        let mut turns = Turns::default();
        self.turn(&mut turns, &mut probes).await?;
        let probed = probes.join_all().await;
        self.check(&probed).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> Event {
        Event { org_id: OrgId::generate(), server_id: Some(ServerId::generate()), kind }
    }

    #[test]
    fn a_check_does_not_wake_the_next_one() {
        let mut turns = Turns::default();
        turns.hear(Ok(event(EventKind::HealthChanged)), Instant::now());
        turns.hear(Err(Missed(3)), Instant::now());
        assert!(turns.woken.is_empty());
        turns.hear(Ok(event(EventKind::AgentOffline)), Instant::now());
        assert_eq!(turns.woken.len(), 1);
    }

    #[test]
    fn samples_wake_now_and_then() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let sample = Event {
            kind: EventKind::Sample(Arc::new(crate::metrics::Summary {
                server_id: ServerId::generate(),
                at_us: 0,
                cpu_usage_percent: 0.0,
                memory_usage_percent: 0.0,
                disk_usage_percent: 0.0,
                network_rx_bytes_per_second: 0.0,
                network_tx_bytes_per_second: 0.0,
                container_count: 0,
                load_1m: 0.0,
                uptime_seconds: 0.0,
            })),
            ..event(EventKind::AgentOnline)
        };
        let mut woken = |at: Instant| {
            turns.hear(Ok(sample.clone()), at);
            turns.woken.drain().count()
        };
        let counts = [0, 1, 9, 10, 11, 21].map(|second| woken(start + Duration::from_secs(second)));
        assert_eq!(counts, [1, 0, 0, 1, 0, 1]);
    }
}
