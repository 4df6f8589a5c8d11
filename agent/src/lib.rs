//! The Muster agent: samples a host, links it to the control plane, and runs the commands its owner allows.

pub mod os;
pub mod probe;
pub mod sample;
