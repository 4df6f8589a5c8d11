//! Whether a server may take an environment. Pure.
//!
//! Ready is a server that is meant to run, whose agent is connected or whose last contact was neither unreachable nor
//! refused, that is not quarantined, and whose last preflight is neither unqualified nor expired. One that was never
//! contacted or checked may be planned for.
//!
//! Full is a server that holds as many active environments as its owner allows, or whose memory or disk is given away, or
//! whose cores are given away [`CPU_SHARES`] times: an environment's cores may burst, half of them are its own.

use std::fmt;

use muster_shared::preflight::Qualification;

use crate::{
    quota::{Amounts, Exceeded, Limits, MB_PER_GB, admit, thousandths, written},
    servers::{AgentStatus, Detected, HealthStatus, Resources, Server, ServerStatus},
};

/// How often a server's cores may be given away.
pub const CPU_SHARES: u64 = 2;
const BYTES_PER_MB: u64 = 1 << 20;

/// What a server's active environments come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub environments: u32,
    pub given: Amounts,
}

/// Why a server does not take an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NotReady(String),
    Full(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady(detail) | Self::Full(detail) => f.write_str(detail),
        }
    }
}

/// Whether `server` may take any environment at `now_us`.
///
/// # Errors
/// [`Refusal::NotReady`], with what to do.
pub fn is_ready(server: &Server, now_us: i64) -> Result<(), Refusal> {
    let not_ready = |why: String| Err(Refusal::NotReady(format!("The server {} is not ready: {why}", server.name)));
    if server.status != ServerStatus::Running {
        return not_ready(format!("it is {}", server.status.as_str()));
    }
    if server.agent.status == AgentStatus::Quarantined {
        return not_ready("two machines used its identity; release the quarantine first".to_owned());
    }
    let health = server.health(now_us);
    if server.agent.status != AgentStatus::Online
        && matches!(health.status, HealthStatus::Unreachable | HealthStatus::AuthFailed)
    {
        return not_ready(health.reason);
    }
    match server.qualification(now_us) {
        Some(Qualification::Unqualified) => not_ready("its preflight found what needs a person; fix it first".into()),
        Some(Qualification::Expired) => {
            not_ready("its last preflight is more than 30 days old; run the checks again".into())
        }
        _ => Ok(()),
    }
}

/// Whether `server`, which carries `load`, has room for `coming` more.
///
/// # Errors
/// [`Refusal::Full`], with what is short.
pub fn has_room(server: &Server, load: &Load, coming: &Load) -> Result<(), Refusal> {
    let full = |why: String| Err(Refusal::Full(format!("The server {} is full: {why}", server.name)));
    if let Some(max) = server.max_projects
        && coming.environments > 0
        && load.environments.saturating_add(coming.environments) > max
    {
        return full(format!("it holds {} of at most {max} active environments", load.environments));
    }
    match admit(&capacity(server), &load.given, &coming.given) {
        Ok(()) => Ok(()),
        Err(Exceeded { resource, left, asked, .. }) => full(format!(
            "{} {unit} of its {} left, {} {unit} needed",
            written(left),
            resource.name(),
            written(asked),
            unit = resource.unit()
        )),
    }
}

/// What may be given away of a server: what its owner says, else what was found; without limit where neither is known.
#[must_use]
pub fn capacity(server: &Server) -> Limits {
    let sizes = sizes(&server.declared, &server.detected);
    Limits { cpu_milli: sizes.cpu_milli.map(|milli| milli.saturating_mul(CPU_SHARES)), ..sizes }
}

/// What a server has, as far as is known.
#[must_use]
pub fn sizes(declared: &Resources, detected: &Detected) -> Limits {
    let found_mb = || detected.memory_bytes.map(|bytes| (bytes / BYTES_PER_MB).saturating_mul(1000));
    Limits {
        cpu_milli: declared.cpu_cores.map(thousandths).or(detected.cpu_cores.map(|cores| cores.saturating_mul(1000))),
        ram_mb_milli: declared.memory_gb.map(|gb| thousandths(gb).saturating_mul(MB_PER_GB)).or_else(found_mb),
        disk_gb_milli: declared.disk_gb.map(thousandths).or(detected.disk_bytes.map(|bytes| bytes / 1_000_000)),
    }
}
