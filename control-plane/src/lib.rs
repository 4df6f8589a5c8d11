//! The Muster control plane.

pub mod access;
pub mod agent_binary;
pub mod api;
pub mod cli;
pub mod clock;
pub mod error;
pub mod events;
pub mod keyring;
pub mod metrics;
pub mod organizations;
pub mod progress;
pub mod ssh;
pub mod store;
