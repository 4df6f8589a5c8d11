//! One life of a simulated host that samples whether or not its link stands, as real ones do: from its start to the kill.
//!
//! What a kill leaves is the [`Host`]: its identity, and of its history what [`History::reopen`](super::History::reopen)
//! finds. Time passes for these hosts as their [`HostClock`] says, so that an hour may end in the middle of a short run.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Pace,
    host::Host,
    link::{Ended, Session, redial_pause},
};

const SECOND_US: i64 = 1_000_000;

/// What time it is for a simulated host. It passes at the pace's speed, in whole seconds.
#[derive(Debug, Clone, Copy)]
pub struct HostClock {
    begun: Instant,
    first_us: i64,
    pace: Pace,
}

impl HostClock {
    /// A clock that shows `first_us`, rounded down to the second, at this moment.
    #[must_use]
    pub fn starting_at(first_us: i64, pace: Pace) -> Self {
        Self { begun: Instant::now(), first_us: first_us.div_euclid(SECOND_US) * SECOND_US, pace }
    }

    /// How much of this clock's time passes in `real` time, in microseconds.
    #[must_use]
    pub fn passes_us(pace: Pace, real: Duration) -> i64 {
        (real.as_secs_f64() / pace.period.as_secs_f64() * pace.ticks as f64) as i64 * SECOND_US
    }

    fn now_us(&self) -> i64 {
        self.first_us + Self::passes_us(self.pace, self.begun.elapsed())
    }
}

/// A host that lives. Killed on drop.
#[derive(Debug)]
pub struct Life(JoinSet<()>);

impl Life {
    /// Lets `host` live once `after` has passed: it makes frames as long as `samples` says so, and holds a stream to
    /// `address`, dialling again whenever it breaks.
    #[must_use]
    pub fn begin(
        host: &Arc<Host>,
        address: SocketAddr,
        clock: HostClock,
        samples: &watch::Sender<bool>,
        after: Duration,
    ) -> Self {
        let (host, samples, made) = (Arc::clone(host), samples.subscribe(), Notify::new());
        let mut task = JoinSet::new();
        task.spawn(async move {
            sleep(after).await;
            tokio::join!(sample(&host, clock, samples, &made), hold_link(&host, address, &made));
        });
        Self(task)
    }

    /// Ends it at once, wherever it is; only the host's disk is left.
    pub async fn kill(&mut self) {
        self.0.shutdown().await;
    }
}

async fn sample(host: &Host, clock: HostClock, mut samples: watch::Receiver<bool>, made: &Notify) {
    let (ticks, length_us) = (clock.pace.ticks, clock.pace.ticks as i64 * SECOND_US);
    let mut timer = interval(clock.pace.period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // What passed while it was dead was never sampled, and no second is sampled twice.
    let unsampled_us = host.history().newest_us().map_or(i64::MIN, |newest| newest + SECOND_US);
    let mut next_us = clock.now_us().max(unsampled_us);
    while *samples.borrow_and_update() {
        tokio::select! {
            _ = timer.tick() => {
                while next_us + length_us <= clock.now_us() {
                    host.history().sample(next_us, ticks);
                    next_us += length_us;
                    made.notify_one();
                }
            }
            changed = samples.changed() => if changed.is_err() { return },
        }
    }
}

async fn hold_link(host: &Arc<Host>, address: SocketAddr, made: &Notify) {
    loop {
        let ended = relay(host, address, made).await;
        host.set_online(false);
        if let Ok(Ended::Retired(_)) = ended {
            return;
        }
        sleep(redial_pause(host)).await;
    }
}

async fn relay(host: &Arc<Host>, address: SocketAddr, made: &Notify) -> Result<Ended> {
    let mut session = Session::open(Arc::clone(host), address).await?;
    loop {
        tokio::select! {
            heard = session.hear() => {
                if let Some(ended) = heard? {
                    return Ok(ended);
                }
            }
            () = made.notified() => {}
        }
        session.send_frames().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_passes_at_the_paces_speed_in_whole_seconds() {
        let pace = Pace { period: Duration::from_millis(500), ticks: 10 };
        let clock = HostClock::starting_at(7_300_000, pace);
        assert_eq!(clock.now_us(), 7_000_000);
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!(clock.now_us(), 7_000_000);
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!(clock.now_us(), 8_000_000);
        assert_eq!(HostClock::passes_us(pace, Duration::from_secs(12)), 240_000_000);
    }
}
