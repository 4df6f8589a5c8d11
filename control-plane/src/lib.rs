//! The Muster control plane.

pub mod error;
