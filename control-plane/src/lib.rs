//! The Muster control plane.

pub mod api;
pub mod error;
pub mod progress;
