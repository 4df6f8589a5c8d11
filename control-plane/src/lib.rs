//! The Muster control plane.

pub mod error;
pub mod progress;
