//! The Muster control plane.

pub mod api;
pub mod clock;
pub mod error;
pub mod events;
pub mod keyring;
pub mod metrics;
pub mod progress;
pub mod store;
