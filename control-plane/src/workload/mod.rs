//! Work that is rows and goes over many servers: carried on by a loop, the same after a start as at any other time, and
//! followed by whoever wants to see how it stands.

mod follow;

pub use follow::{Followed, follow};

use std::time::Duration;

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{app::chain, error::Error};

/// How often work is looked for that nobody was woken for: that of lost leases, and other control planes'.
const INTERVAL: Duration = Duration::from_secs(2);

/// Work to be carried on.
pub trait Workload: Send + Sync {
    /// What it is, in a log's words.
    const NAME: &'static str;

    /// Told when there is work to be had.
    fn wake(&self) -> &Notify;

    /// Takes everything as far as it goes now, and begins as much in `work` as there is room for.
    fn pass(&self, work: &mut JoinSet<()>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Carries `workload` on until `stop`; what is under way then is taken up by the next start. A failure is logged and the
/// next pass tries again.
pub async fn keep_carried<W: Workload>(workload: W, stop: CancellationToken) {
    let mut timer = interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
            () = workload.wake().notified() => {}
            Some(_) = work.join_next(), if !work.is_empty() => {}
        }
        match stop.run_until_cancelled(workload.pass(&mut work)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(work = W::NAME, error = %chain(&error), "work does not get on"),
            None => return,
        }
    }
}
