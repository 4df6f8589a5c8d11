//! Everything a server's page shows, as callers see it.

use muster_shared::{facts::Docker, metric::names};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{container_metrics::ContainerMetrics, time::Time};
use crate::{health::Health, metrics::Latest};

/// A server at one moment. Rates are of the last second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerMetrics {
    pub server_id: String,
    /// When the host took the sample.
    pub timestamp: Time,
    pub health_status: String,
    pub system: SystemMetrics,
    pub docker: DockerMetrics,
    /// Those that run and those the engine knows, by name.
    pub containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SystemMetrics {
    pub cpu: CpuMetrics,
    pub memory: MemoryMetrics,
    pub load: LoadMetrics,
    /// By mountpoint.
    pub disk: Vec<DiskMetrics>,
    /// By device.
    pub disk_io: Vec<DiskIoMetrics>,
    /// By device.
    pub network: Vec<NetworkMetrics>,
    pub uptime_seconds: f64,
}

/// Percent of all cores together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CpuMetrics {
    pub usage_percent: f64,
    pub user_percent: f64,
    pub system_percent: f64,
    pub iowait_percent: f64,
    pub steal_percent: f64,
    pub cores: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MemoryMetrics {
    pub total_bytes: u64,
    pub used_bytes: u64,
    /// What a new program could get without swapping.
    pub available_bytes: u64,
    pub usage_percent: f64,
    pub swap_total_bytes: u64,
    pub swap_used_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadMetrics {
    pub load_1m: f64,
    pub load_5m: f64,
    pub load_15m: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiskMetrics {
    pub mountpoint: String,
    pub size_bytes: u64,
    pub used_bytes: u64,
    pub available_bytes: u64,
    pub usage_percent: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiskIoMetrics {
    pub device: String,
    pub read_bytes_per_second: f64,
    pub written_bytes_per_second: f64,
    pub reads_per_second: f64,
    pub writes_per_second: f64,
    /// Of the time, how much a request was under way.
    pub busy_percent: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkMetrics {
    pub device: String,
    pub rx_bytes_per_second: f64,
    pub tx_bytes_per_second: f64,
    pub rx_packets_per_second: f64,
    pub tx_packets_per_second: f64,
    pub errors_per_second: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DockerMetrics {
    /// `running`, `stopped`, `not_installed`, `unknown`, …
    pub status: String,
    /// Running.
    pub container_count: u32,
    /// Of all containers together; 100 is one core.
    pub cpu_usage_percent: f64,
    /// Of all containers together.
    pub memory_usage_bytes: u64,
    pub image_count: u32,
    /// What images take on disk.
    pub image_bytes: u64,
}

impl ServerMetrics {
    /// `latest` of a server in this health; `docker` is what its engine said last.
    #[must_use]
    pub fn of(latest: &Latest, health: &Health, docker: &Docker) -> Self {
        let containers = ContainerMetrics::all(latest, &docker.containers);
        Self {
            server_id: latest.server_id.to_string(),
            timestamp: Time(latest.at_us),
            health_status: health.status.as_str().to_owned(),
            system: SystemMetrics::of(latest),
            docker: DockerMetrics::of(latest, docker, &containers),
            containers,
        }
    }
}

impl SystemMetrics {
    fn of(latest: &Latest) -> Self {
        let load = |name: &str| latest.value_of(name, &[]).unwrap_or(0.0);
        let labels = |name: &str, label: &str| latest.labels(name, label);
        Self {
            cpu: CpuMetrics::of(latest),
            memory: MemoryMetrics::of(latest),
            load: LoadMetrics {
                load_1m: load(names::HOST_LOAD_1M),
                load_5m: load(names::HOST_LOAD_5M),
                load_15m: load(names::HOST_LOAD_15M),
            },
            disk: labels(names::HOST_FILESYSTEM_SIZE_BYTES, "mountpoint")
                .into_iter()
                .map(|mountpoint| DiskMetrics::of(latest, mountpoint))
                .collect(),
            disk_io: labels(names::HOST_DISK_READS_TOTAL, "device")
                .into_iter()
                .map(|device| DiskIoMetrics::of(latest, device))
                .collect(),
            network: labels(names::HOST_NETWORK_RECEIVE_BYTES_TOTAL, "device")
                .into_iter()
                .map(|device| NetworkMetrics::of(latest, device))
                .collect(),
            uptime_seconds: load(names::HOST_UPTIME_SECONDS),
        }
    }
}

impl CpuMetrics {
    fn of(latest: &Latest) -> Self {
        let of = |modes: &[&str]| -> f64 {
            modes.iter().map(|mode| latest.rate_of(names::HOST_CPU_SECONDS_TOTAL, &[("mode", mode)])).sum()
        };
        let all = latest.rate_of(names::HOST_CPU_SECONDS_TOTAL, &[]);
        let share = |modes: &[&str]| percent(of(modes), all);
        let cores = latest.labels(names::HOST_CPU_CORE_SECONDS_TOTAL, "core");
        let cores: std::collections::BTreeSet<_> = cores.into_iter().collect();
        Self {
            usage_percent: percent(all - of(&["idle", "iowait"]), all),
            user_percent: share(&["user", "nice"]),
            system_percent: share(&["system", "irq", "softirq"]),
            iowait_percent: share(&["iowait"]),
            steal_percent: share(&["steal"]),
            cores: u32::try_from(cores.len()).unwrap_or(u32::MAX),
        }
    }
}

impl MemoryMetrics {
    fn of(latest: &Latest) -> Self {
        let bytes = |name: &str| latest.value_of(name, &[]).unwrap_or(0.0);
        let (total, available) = (bytes(names::HOST_MEMORY_TOTAL_BYTES), bytes(names::HOST_MEMORY_AVAILABLE_BYTES));
        let swap = bytes(names::HOST_MEMORY_SWAP_TOTAL_BYTES);
        Self {
            total_bytes: total as u64,
            used_bytes: (total - available).max(0.0) as u64,
            available_bytes: available as u64,
            usage_percent: percent(total - available, total),
            swap_total_bytes: swap as u64,
            swap_used_bytes: (swap - bytes(names::HOST_MEMORY_SWAP_FREE_BYTES)).max(0.0) as u64,
        }
    }
}

impl DiskMetrics {
    fn of(latest: &Latest, mountpoint: String) -> Self {
        let bytes = |name: &str| latest.value_of(name, &[("mountpoint", &mountpoint)]).unwrap_or(0.0);
        let size = bytes(names::HOST_FILESYSTEM_SIZE_BYTES);
        let available = bytes(names::HOST_FILESYSTEM_AVAILABLE_BYTES);
        Self {
            size_bytes: size as u64,
            used_bytes: (size - available).max(0.0) as u64,
            available_bytes: available as u64,
            usage_percent: percent(size - available, size),
            mountpoint,
        }
    }
}

impl DiskIoMetrics {
    fn of(latest: &Latest, device: String) -> Self {
        let rate = |name: &str| latest.rate_of(name, &[("device", &device)]);
        Self {
            read_bytes_per_second: rate(names::HOST_DISK_READ_BYTES_TOTAL),
            written_bytes_per_second: rate(names::HOST_DISK_WRITTEN_BYTES_TOTAL),
            reads_per_second: rate(names::HOST_DISK_READS_TOTAL),
            writes_per_second: rate(names::HOST_DISK_WRITES_TOTAL),
            busy_percent: (100.0 * rate(names::HOST_DISK_BUSY_SECONDS_TOTAL)).clamp(0.0, 100.0),
            device,
        }
    }
}

impl NetworkMetrics {
    fn of(latest: &Latest, device: String) -> Self {
        let rate = |name: &str| latest.rate_of(name, &[("device", &device)]);
        Self {
            rx_bytes_per_second: rate(names::HOST_NETWORK_RECEIVE_BYTES_TOTAL),
            tx_bytes_per_second: rate(names::HOST_NETWORK_TRANSMIT_BYTES_TOTAL),
            rx_packets_per_second: rate(names::HOST_NETWORK_RECEIVE_PACKETS_TOTAL),
            tx_packets_per_second: rate(names::HOST_NETWORK_TRANSMIT_PACKETS_TOTAL),
            errors_per_second: rate(names::HOST_NETWORK_RECEIVE_ERRORS_TOTAL)
                + rate(names::HOST_NETWORK_TRANSMIT_ERRORS_TOTAL),
            device,
        }
    }
}

impl DockerMetrics {
    fn of(latest: &Latest, docker: &Docker, containers: &[ContainerMetrics]) -> Self {
        let running = containers.iter().filter(|container| container.status == "running").count();
        Self {
            status: docker.status.as_str().to_owned(),
            container_count: u32::try_from(running).unwrap_or(u32::MAX),
            cpu_usage_percent: 100.0 * latest.rate_of(names::CONTAINER_CPU_SECONDS_TOTAL, &[]),
            memory_usage_bytes: containers.iter().map(|container| container.metrics.memory.usage_bytes).sum(),
            image_count: docker.images,
            image_bytes: docker.images_bytes,
        }
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (100.0 * part / whole).clamp(0.0, 100.0) } else { 0.0 }
}

/// A link to a server's page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "url": "https://muster.example.com:8443/servers/01890a5d-ac96-774b-bcce-b302099a8057#token=mst_…",
    "expires_at": "2025-01-15T10:40:00Z"
}))]
pub struct MonitoringUrl {
    /// The part behind `#` reads this server's figures until it expires, and is never sent by a browser on its own.
    pub url: String,
    pub expires_at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latest_tests::{latest_of, series};

    #[test]
    fn shares_are_of_what_all_cores_did_in_the_last_second() {
        let cpu = |mode: &str, before: i64, now: i64| {
            (series(names::HOST_CPU_SECONDS_TOTAL, &[("mode", mode)], -6), before, now)
        };
        let mount = [("mountpoint", "/")];
        let latest = latest_of(&[
            cpu("user", 0, 500_000),
            cpu("system", 0, 250_000),
            cpu("iowait", 0, 250_000),
            cpu("idle", 0, 1_000_000),
            (series(names::HOST_MEMORY_TOTAL_BYTES, &[], 0), 8, 8),
            (series(names::HOST_MEMORY_AVAILABLE_BYTES, &[], 0), 2, 2),
            (series(names::HOST_FILESYSTEM_SIZE_BYTES, &mount, 0), 100, 100),
            (series(names::HOST_FILESYSTEM_AVAILABLE_BYTES, &mount, 0), 25, 25),
            (series(names::HOST_LOAD_5M, &[], -2), 150, 150),
        ]);
        let system = SystemMetrics::of(&latest);
        assert_eq!((system.cpu.usage_percent, system.cpu.user_percent, system.cpu.iowait_percent), (37.5, 25.0, 12.5));
        assert_eq!((system.memory.used_bytes, system.memory.usage_percent), (6, 75.0));
        assert_eq!((system.disk[0].used_bytes, system.disk[0].usage_percent), (75, 75.0));
        assert_eq!(system.load.load_5m, 1.5);
        assert_eq!((system.network.len(), system.disk_io.len()), (0, 0));
    }
}
