//! The Muster control plane.

pub mod access;
pub mod agent_binary;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod connection_test;
pub mod edge;
pub mod error;
pub mod events;
pub mod facts;
pub mod identity;
pub mod ingest;
pub mod keyring;
pub mod metrics;
pub mod observability;
pub mod organizations;
pub mod preflight;
pub mod progress;
pub mod retention;
pub mod servers;
pub mod sessions;
pub mod ssh;
pub mod store;
