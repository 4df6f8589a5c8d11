//! Reading a host once: its facts, its containers, its readiness for deployments. Changes nothing.
//!
//! Works as any user; what that user may not read is missing, with the reason beside it. Everything is bounded: files
//! and program output are cut, programs and the Docker engine are given up after a time.

mod cli;
mod docker;
mod facts;
mod host;
mod preflight;
pub(crate) mod program;

use std::{path::PathBuf, time::Duration};

use muster_shared::facts::Facts;

pub use self::{
    cli::{ProbeArgs, ProbeError, run},
    docker::{EngineError, read_containers},
    facts::{UpdatesStamp, collect_facts, count_updates, listening},
    preflight::run_preflight,
};

/// How a host is probed.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// The host's root directory. Programs are run and the engine is asked only where it is `/`; elsewhere it is a
    /// recorded tree.
    pub root: PathBuf,
    pub docker_socket: PathBuf,
    /// How long the Docker engine may take for all its answers together.
    pub docker_timeout: Duration,
    /// How long a program may take.
    pub program_timeout: Duration,
    /// How long a TCP connection to a connectivity target may take.
    pub connect_timeout: Duration,
    /// Whether to find out if sudo works by trying it. A refused try is logged on the host, so the agent's own
    /// roles, which need no sudo, leave it.
    pub try_sudo: bool,
    /// Facts collected not long ago, from which what the engine tells of containers is taken over.
    pub previous: Option<Facts>,
    /// How many security updates wait, or why that is not known; without it they are counted.
    pub known_updates: Option<Result<u32, String>>,
    /// Another clock's time now, in microseconds since the epoch, to compare the host's with.
    pub reference_time_us: Option<i64>,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            docker_socket: PathBuf::from("/var/run/docker.sock"),
            docker_timeout: Duration::from_secs(2),
            program_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            try_sudo: false,
            previous: None,
            known_updates: None,
            reference_time_us: None,
        }
    }
}
