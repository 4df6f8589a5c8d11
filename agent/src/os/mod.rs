//! The platform seam: what kind of system this is, and how its kernel presents itself.
//!
//! Everything above asks here instead of looking for itself, so that support for another package manager, init
//! system or cgroup layout has one place to go. Only detection and reading; nothing here changes the host.

pub mod cgroup;
pub mod mounts;
pub mod platform;
pub mod text;

pub use platform::Platform;
