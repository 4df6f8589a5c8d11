//! The Muster agent: samples a host, links it to the control plane, and runs the commands its owner allows.

pub mod clock;
pub mod durable;
pub mod executor;
pub mod link;
pub mod os;
pub mod probe;
pub mod sample;
pub mod spool;
pub mod state;
