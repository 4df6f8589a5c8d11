//! Real servers on one machine: Debian with its init as PID 1 of a container and sshd, each with its own address.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use muster_tests::lab::{LabServer, Network, Release, Sudo, Variant};
//!
//! let network = Network::create().await?;
//! let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
//! server.set_password("root", "correct horse").await?;
//! server.add_user("deploy", "battery staple", Sudo::WithPassword).await?;
//! server.authorize_key("deploy", "ssh-ed25519 AAAA… deploy").await?;
//! let version = server.run(&["cat", "/etc/debian_version"]).await?;
//! assert!(version.starts_with("12"));
//! # Ok(()) }
//! ```
//!
//! The control plane listens on all addresses of this machine; a lab server reaches it at [`Network::gateway`]. What
//! a test starts carries the label `muster-lab` and goes away with its value, also when the test fails; `tests/run`
//! fails when anything with that label is left.

mod bare;
mod docker;
mod families;
mod image;
mod server;

pub use bare::BareSystem;
pub use docker::{Network, Output};
pub use image::{Release, Variant};
pub use server::{Ending, LabServer, Sudo};
