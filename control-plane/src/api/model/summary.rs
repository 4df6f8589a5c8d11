//! The few figures a list of servers shows.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::{health::Health, metrics};

/// A server's latest figures. `timestamp` is when the host sampled them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "server_id": "01890a5d-ac96-774b-bcce-b302099a8057", "timestamp": "2025-01-15T10:35:00Z",
    "cpu_usage_percent": 45.2, "memory_usage_percent": 62.8, "disk_usage_percent": 48.5,
    "network_rx_bytes_per_second": 18_500.0, "network_tx_bytes_per_second": 9_200.0, "container_count": 12,
    "load_1m": 0.72, "uptime_seconds": 86_400.0, "health_status": "healthy"
}))]
pub struct Summary {
    pub server_id: String,
    pub timestamp: Option<Time>,
    /// Of all cores together, 0 to 100.
    pub cpu_usage_percent: f64,
    pub memory_usage_percent: f64,
    /// Of the disk deployments would use.
    pub disk_usage_percent: f64,
    pub network_rx_bytes_per_second: f64,
    pub network_tx_bytes_per_second: f64,
    /// Containers running.
    pub container_count: u32,
    pub load_1m: f64,
    pub uptime_seconds: f64,
    pub health_status: String,
}

impl Summary {
    /// `summary` of a server in this health.
    #[must_use]
    pub fn of(summary: &metrics::Summary, health: &Health) -> Self {
        Self {
            server_id: summary.server_id.to_string(),
            timestamp: Some(Time(summary.at_us)),
            cpu_usage_percent: summary.cpu_usage_percent,
            memory_usage_percent: summary.memory_usage_percent,
            disk_usage_percent: summary.disk_usage_percent,
            network_rx_bytes_per_second: summary.network_rx_bytes_per_second,
            network_tx_bytes_per_second: summary.network_tx_bytes_per_second,
            container_count: summary.container_count,
            load_1m: summary.load_1m,
            uptime_seconds: summary.uptime_seconds,
            health_status: health.status.as_str().to_owned(),
        }
    }
}

impl From<Summary> for wire::Summary {
    fn from(summary: Summary) -> Self {
        Self {
            server_id: summary.server_id,
            timestamp: summary.timestamp.map(Into::into),
            cpu_usage_percent: summary.cpu_usage_percent,
            memory_usage_percent: summary.memory_usage_percent,
            disk_usage_percent: summary.disk_usage_percent,
            network_rx_bytes_per_second: summary.network_rx_bytes_per_second,
            network_tx_bytes_per_second: summary.network_tx_bytes_per_second,
            container_count: summary.container_count,
            load_1m: summary.load_1m,
            uptime_seconds: summary.uptime_seconds,
            health_status: summary.health_status,
        }
    }
}

impl From<wire::Summary> for Summary {
    fn from(summary: wire::Summary) -> Self {
        Self {
            server_id: summary.server_id,
            timestamp: summary.timestamp.map(Into::into),
            cpu_usage_percent: summary.cpu_usage_percent,
            memory_usage_percent: summary.memory_usage_percent,
            disk_usage_percent: summary.disk_usage_percent,
            network_rx_bytes_per_second: summary.network_rx_bytes_per_second,
            network_tx_bytes_per_second: summary.network_tx_bytes_per_second,
            container_count: summary.container_count,
            load_1m: summary.load_1m,
            uptime_seconds: summary.uptime_seconds,
            health_status: summary.health_status,
        }
    }
}
