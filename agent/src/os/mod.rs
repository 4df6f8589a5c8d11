//! The platform seam: what kind of system this is, and how its kernel presents itself.
//!
//! Everything above asks here instead of looking for itself, so that support for another package manager, init
//! system or cgroup layout has one place to go. Only detection, reading and argument vectors; nothing here changes the
//! host.

pub mod boot;
pub mod cgroup;
pub mod interfaces;
pub mod invocation;
pub mod mounts;
pub mod packages;
pub mod platform;
pub mod power;
pub mod release;
pub mod services;
pub mod text;

pub use invocation::{InvalidName, Invocation};
pub use platform::Platform;
pub use release::Release;
