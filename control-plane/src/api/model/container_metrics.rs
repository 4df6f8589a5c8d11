//! A container's figures, as callers see them.

use muster_shared::{facts, metric::names};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::metrics::Latest;

/// Digits of an id that label its series.
const LABEL_DIGITS: usize = 12;

/// A container at one moment. Rates are of the last second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "container_id": "odoo_prod_123", "container_name": "env-uuid_odoo",
    "server_id": "01890a5d-ac96-774b-bcce-b302099a8057", "status": "running", "health": null, "image": "odoo:17",
    "metrics": {
        "cpu": { "usage_percent": 12.5, "throttled_periods": 0 },
        "memory": { "usage_bytes": 1_073_741_824, "limit_bytes": 2_147_483_648_u64, "usage_percent": 50.0 },
        "network": { "rx_bytes": 1_048_576, "tx_bytes": 2_097_152, "rx_packets": 1024, "tx_packets": 2048 },
        "block_io": { "read_ops": 12, "write_ops": 4, "read_bytes": 49_152, "written_bytes": 16_384 },
        "tasks": 14, "oom_kills": 0, "restarts": 0
    },
    "timestamp": "2025-01-15T10:35:00Z"
}))]
pub struct ContainerMetrics {
    /// As the engine says it; its first twelve digits where only its cgroup is known.
    pub container_id: String,
    /// The same as the id where the engine may not be asked.
    pub container_name: String,
    pub server_id: String,
    /// `running`, `exited`, `paused`, …
    pub status: String,
    /// `healthy`, `unhealthy` or `starting`; `null` without a health check.
    pub health: Option<String>,
    pub image: Option<String>,
    pub metrics: ContainerFigures,
    /// When the host took the sample.
    pub timestamp: Time,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContainerFigures {
    pub cpu: ContainerCpu,
    pub memory: ContainerMemory,
    pub network: ContainerNetwork,
    pub block_io: ContainerBlockIo,
    /// Processes and threads.
    pub tasks: u64,
    /// Since the container started.
    pub oom_kills: u64,
    pub restarts: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContainerCpu {
    /// 100 is one core, as `docker stats` says it.
    pub usage_percent: f64,
    /// Periods in which the processor limit was reached, since the container started.
    pub throttled_periods: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContainerMemory {
    /// Without page cache that can be dropped, as `docker stats` says it.
    pub usage_bytes: u64,
    /// The host's memory without a limit.
    pub limit_bytes: u64,
    pub usage_percent: f64,
}

/// Per second; 0 on the host's network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContainerNetwork {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
}

/// Per second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContainerBlockIo {
    pub read_ops: u64,
    pub write_ops: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

impl ContainerMetrics {
    /// The container `id` on the server `latest` is of; `seen` is what its engine said last.
    #[must_use]
    pub fn of(latest: &Latest, id: &str, name: &str, seen: Option<&facts::Container>) -> Self {
        let label = id.get(..LABEL_DIGITS).unwrap_or(id);
        let own = [("container", label)];
        let value = |name: &str| latest.value_of(name, &own).unwrap_or(0.0).max(0.0) as u64;
        let rate = |name: &str| latest.rate_of(name, &own).round() as u64;
        let limit = latest.value_of(names::CONTAINER_MEMORY_LIMIT_BYTES, &own);
        let limit = limit.or_else(|| latest.value_of(names::HOST_MEMORY_TOTAL_BYTES, &[])).unwrap_or(0.0);
        let usage = latest.value_of(names::CONTAINER_MEMORY_BYTES, &own).unwrap_or(0.0);
        let state = latest.value_of(names::CONTAINER_STATE, &own).map(state_word);
        Self {
            container_id: id.to_owned(),
            container_name: if name.is_empty() { id.to_owned() } else { name.to_owned() },
            server_id: latest.server_id.to_string(),
            status: status(latest, &own, state, seen),
            health: seen.map(|seen| seen.health.clone()).filter(|health| !health.is_empty()),
            image: seen.map(|seen| seen.image.clone()).filter(|image| !image.is_empty()),
            metrics: ContainerFigures {
                cpu: ContainerCpu {
                    usage_percent: 100.0 * latest.rate_of(names::CONTAINER_CPU_SECONDS_TOTAL, &own),
                    throttled_periods: value(names::CONTAINER_CPU_THROTTLED_PERIODS_TOTAL),
                },
                memory: ContainerMemory {
                    usage_bytes: usage as u64,
                    limit_bytes: limit as u64,
                    usage_percent: if limit > 0.0 { 100.0 * usage / limit } else { 0.0 },
                },
                network: ContainerNetwork {
                    rx_bytes: rate(names::CONTAINER_NETWORK_RECEIVE_BYTES_TOTAL),
                    tx_bytes: rate(names::CONTAINER_NETWORK_TRANSMIT_BYTES_TOTAL),
                    rx_packets: rate(names::CONTAINER_NETWORK_RECEIVE_PACKETS_TOTAL),
                    tx_packets: rate(names::CONTAINER_NETWORK_TRANSMIT_PACKETS_TOTAL),
                },
                block_io: ContainerBlockIo {
                    read_ops: rate(names::CONTAINER_BLOCK_READS_TOTAL),
                    write_ops: rate(names::CONTAINER_BLOCK_WRITES_TOTAL),
                    read_bytes: rate(names::CONTAINER_BLOCK_READ_BYTES_TOTAL),
                    written_bytes: rate(names::CONTAINER_BLOCK_WRITTEN_BYTES_TOTAL),
                },
                tasks: value(names::CONTAINER_TASKS),
                oom_kills: value(names::CONTAINER_OOM_KILLS_TOTAL),
                restarts: value(names::CONTAINER_RESTARTS_TOTAL),
            },
            timestamp: Time(latest.at_us),
        }
    }

    /// Every container of a server, by name: those with figures, and those its engine knows.
    #[must_use]
    pub fn all(latest: &Latest, seen: &[facts::Container]) -> Vec<Self> {
        let mut all: Vec<_> = seen.iter().map(|seen| Self::of(latest, &seen.id, &seen.name, Some(seen))).collect();
        let known = |label: &str| seen.iter().any(|seen| seen.id.get(..LABEL_DIGITS) == Some(label));
        for series in latest.named(names::CONTAINER_CPU_SECONDS_TOTAL) {
            let Some(label) = series.labels.get("container").filter(|label| !known(label)) else { continue };
            let name = series.labels.get("name").map_or("", String::as_str);
            all.push(Self::of(latest, label, name, None));
        }
        all.sort_by(|one, other| {
            (&one.container_name, &one.container_id).cmp(&(&other.container_name, &other.container_id))
        });
        all
    }
}

/// The sample's word is the younger one; a container with a cgroup runs, whatever else is not known.
fn status(
    latest: &Latest,
    own: &[(&str, &str)],
    sampled: Option<&'static str>,
    seen: Option<&facts::Container>,
) -> String {
    let sampled = sampled.filter(|word| *word != "unknown");
    let seen = seen.map(|seen| seen.state.as_str()).filter(|state| !state.is_empty());
    let runs = latest.value_of(names::CONTAINER_CPU_SECONDS_TOTAL, own).is_some();
    sampled.or(seen).unwrap_or(if runs { "running" } else { "unknown" }).to_owned()
}

/// The engine's word for a value of `container_state`.
fn state_word(state: f64) -> &'static str {
    match state as i64 {
        1 => "created",
        2 => "running",
        3 => "paused",
        4 => "restarting",
        5 => "removing",
        6 => "exited",
        7 => "dead",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latest_tests::{latest_of, series};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_container_is_shown_as_its_engine_shows_it() {
        let own = [("container", &ID[..12]), ("name", "odoo")];
        let latest = latest_of(&[
            (series(names::CONTAINER_CPU_SECONDS_TOTAL, &own, -6), 1_000_000, 1_125_000),
            (series(names::CONTAINER_MEMORY_BYTES, &own, 0), 0, 1 << 30),
            (series(names::CONTAINER_NETWORK_RECEIVE_BYTES_TOTAL, &own, 0), 10, 1034),
            (series(names::CONTAINER_BLOCK_WRITES_TOTAL, &own, 0), 5, 9),
            (series(names::CONTAINER_CPU_THROTTLED_PERIODS_TOTAL, &own, 0), 5, 6),
            (series(names::CONTAINER_STATE, &own, 0), 2, 3),
            (series(names::HOST_MEMORY_TOTAL_BYTES, &[], 0), 4 << 30, 4 << 30),
        ]);
        let seen =
            facts::Container { id: ID.into(), name: "odoo".into(), state: "running".into(), ..Default::default() };
        let all = ContainerMetrics::all(&latest, std::slice::from_ref(&seen));
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.container_id.as_str(), one.status.as_str()), (ID, "paused"), "the sample is the younger word");
        let figures = &one.metrics;
        assert_eq!((figures.cpu.usage_percent, figures.cpu.throttled_periods), (12.5, 6));
        assert_eq!((figures.memory.limit_bytes, figures.memory.usage_percent), (4 << 30, 25.0));
        assert_eq!((figures.network.rx_bytes, figures.block_io.write_ops), (1024, 4));
    }

    #[test]
    fn a_container_without_an_engine_to_ask_is_known_by_its_cgroup() {
        let own = [("container", &ID[..12])];
        let latest = latest_of(&[(series(names::CONTAINER_CPU_SECONDS_TOTAL, &own, -6), 0, 0)]);
        let all = ContainerMetrics::all(&latest, &[]);
        assert_eq!((all[0].container_name.as_str(), all[0].status.as_str()), (&ID[..12], "running"));
    }
}
