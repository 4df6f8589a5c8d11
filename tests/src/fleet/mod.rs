//! Simulated hosts in process: each enrols with a real token, holds a real mTLS stream and speaks the wire protocol by
//! itself, independently of the agent's code. It makes values anyone can compute again, keeps what is not acknowledged,
//! and remembers what is.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use muster_tests::{control_plane::ControlPlane, fleet::{Fleet, Pace}};
//!
//! let control_plane = ControlPlane::start().await?;
//! let mut fleet = Fleet::enrol(&control_plane, 20, 12).await?;
//! fleet.start(control_plane.address(), Pace::second());
//! fleet.all_online(Duration::from_secs(10)).await?;
//! fleet.settle(Duration::from_secs(10)).await?;
//! fleet.verify(&control_plane).await?;
//! # Ok(()) }
//! ```

mod history;
mod host;
mod identity;
mod life;
mod link;
mod values;
mod verify;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::watch, task::JoinSet};

pub use history::History;
pub use host::{Host, now_us};
pub use identity::{Identity, channel, enrol_with};
pub use life::{HostClock, Life};
pub use link::{Ended, Session, envelope_of};
pub use values::{Values, mixed, series_value};
pub use verify::Stored;

use crate::{control_plane::ControlPlane, wait};

/// How many enrol at once.
const ENROLLING_AT_ONCE: usize = 16;

/// How fast simulated time passes while a fleet runs.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two frames.
    pub period: Duration,
    /// Seconds of samples in a frame.
    pub ticks: usize,
}

impl Pace {
    /// A frame of one second each second: what a host does while somebody watches.
    #[must_use]
    pub fn second() -> Self {
        Self { period: Duration::from_secs(1), ticks: 1 }
    }
}

/// What a running fleet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Hold the stream and make frames.
    Sample,
    /// Hold the stream, but make no more.
    Rest,
}

/// Many hosts of one control plane.
#[derive(Debug)]
pub struct Fleet {
    hosts: Vec<Arc<Host>>,
    order: watch::Sender<Order>,
    tasks: JoinSet<()>,
    started: usize,
}

impl Fleet {
    /// Enrols `count` hosts named `host-0` and so on, each with `series` series.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn enrol(control_plane: &ControlPlane, count: usize, series: u32) -> Result<Self> {
        let hosts = stream::iter(0..count)
            .map(
                |index| async move { Host::enrol(control_plane, &format!("host-{index}"), series).await.map(Arc::new) },
            )
            .buffered(ENROLLING_AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self { hosts, order: watch::Sender::new(Order::Sample), tasks: JoinSet::new(), started: 0 })
    }

    #[must_use]
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    /// Lets every host hold a stream to `address` from now on, dialling again whenever it breaks.
    pub fn start(&mut self, address: SocketAddr, pace: Pace) {
        self.start_some(address, pace, self.hosts.len());
    }

    /// The same for the next `count` of them only.
    pub fn start_some(&mut self, address: SocketAddr, pace: Pace, count: usize) {
        let first = self.started;
        self.started = self.hosts.len().min(first + count);
        for host in &self.hosts[first..self.started] {
            self.tasks.spawn(link::keep(Arc::clone(host), address, pace, self.order.subscribe()));
        }
    }

    /// Waits until every host that was started holds a stream that was welcomed.
    ///
    /// # Errors
    /// When one does not within `limit`.
    pub async fn all_online(&self, limit: Duration) -> Result<()> {
        wait::until("every simulated host to be online", limit, || async {
            let started = &self.hosts[..self.started];
            let offline = started.iter().filter(|host| !host.is_online()).count();
            ensure!(offline == 0, "{offline} of {} are offline", started.len());
            Ok(Some(()))
        })
        .await
    }

    /// Stops sampling, and waits until everything made is acknowledged.
    ///
    /// # Errors
    /// When something is not within `limit`.
    pub async fn settle(&self, limit: Duration) -> Result<()> {
        self.order.send_replace(Order::Rest);
        wait::until("everything to be acknowledged", limit, || async {
            let waiting: usize = self.hosts.iter().map(|host| host.history().unacknowledged()).sum();
            ensure!(waiting == 0, "{waiting} frames and updates are not acknowledged");
            Ok(Some(()))
        })
        .await
    }

    /// Compares what every host remembers with what the control plane has stored.
    ///
    /// # Errors
    /// Naming what was lost, doubled or altered.
    pub async fn verify(&self, control_plane: &ControlPlane) -> Result<Stored> {
        verify::verify(&self.hosts, control_plane.database()).await
    }

    /// Cuts every stream and dials no more.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}
