//! The unprivileged role: samples, spools and holds one stream to the control plane.

pub mod session;
