//! The Muster agent: samples a host, links it to the control plane, and runs the commands its owner allows.

pub mod action;
pub mod app;
pub mod clock;
pub mod config;
pub mod durable;
pub mod executor;
pub mod install;
pub mod join;
pub mod link;
pub mod login;
pub mod os;
pub mod probe;
pub mod sample;
pub mod spool;
pub mod state;
pub mod supervise;
