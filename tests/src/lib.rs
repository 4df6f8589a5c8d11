//! What Muster's suites stand on: real servers, a real control plane, simulated fleets and faults.
//!
//! - [`lab`]: Debian servers with systemd and sshd, as containers on networks of their own.
//! - [`control_plane`]: the `muster serve` binary on a scratch directory, watched for errors and leftovers.
//! - [`entered`]: lab servers that joined and are entered over SSH as well.
//! - [`engine`]: a real Prometheus or VictoriaMetrics, and what it answers.
//! - [`gateway`]: what stands before an engine that several use, as before Mimir.
//! - [`fake_engine`]: a Docker engine that lists what it is told, or hangs.
//! - [`agent`]: the `muster-agent` binary on a scratch directory.
//! - [`ssh_server`]: an SSH server in process that remembers the credentials it was shown.
//! - [`fleet`]: simulated agents in process that speak the real protocol and remember what was acknowledged.
//! - [`browser`]: somebody's browser, with its cookies.
//! - [`scenario`]: a real browser on the dashboard, in a network of its own.
//! - [`large_fleet`]: thousands of servers on record.
//! - [`measure`]: what a tree of processes costs.
//! - [`soak`]: a fleet whose links drop and whose both sides are killed by chance, sample by sample.
//! - [`metric_world`]: samples that are known, and what keeps them.
//! - [`fault_proxy`]: a TCP proxy that delays, cuts and goes silent on request.
//!
//! Suites that need the built binaries are behind the feature `process`, those that need Docker behind `lab`, so that
//! a bare `cargo test` needs nothing; `tests/run` provides both and turns both on. Nothing is skipped at run time:
//! what a suite needs and does not find fails it.

pub mod agent;
pub mod binaries;
pub mod browser;
pub mod control_plane;
pub mod engine;
pub mod entered;
pub mod fake_engine;
pub mod fault_proxy;
pub mod fleet;
pub mod gateway;
pub mod kept;
pub mod lab;
pub mod large_fleet;
pub mod measure;
pub mod metric_world;
pub mod patience;
pub mod process;
pub mod recording;
pub mod rest;
pub mod scenario;
pub mod soak;
pub mod ssh_server;
pub mod stored;
pub mod wait;
