//! The few numbers a server list shows.

use muster_shared::id::ServerId;

/// A server at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub server_id: ServerId,
    /// When the sample was taken on the host.
    pub at_us: i64,
    pub cpu_usage_percent: f64,
    pub memory_usage_percent: f64,
    pub disk_usage_percent: f64,
    pub network_rx_bytes_per_second: f64,
    pub network_tx_bytes_per_second: f64,
    pub container_count: u32,
    pub load_1m: f64,
    pub uptime_seconds: f64,
}
