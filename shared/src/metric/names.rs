//! The series every reader relies on. Names follow the Prometheus conventions: unit last, `_total` on counters.
//!
//! The agent may report more; what is named here is what the control plane computes from.

/// CPU time of all processors together, label `mode`: `user`, `nice`, `system`, `idle`, `iowait`, `irq`, `softirq`,
/// `steal`. Counter, microseconds (scale −6).
pub const HOST_CPU_SECONDS_TOTAL: &str = "host_cpu_seconds_total";
/// Gauge, bytes.
pub const HOST_MEMORY_TOTAL_BYTES: &str = "host_memory_total_bytes";
/// What a new program could get without swapping. Gauge, bytes.
pub const HOST_MEMORY_AVAILABLE_BYTES: &str = "host_memory_available_bytes";
/// Label `mountpoint`. Gauge, bytes.
pub const HOST_FILESYSTEM_SIZE_BYTES: &str = "host_filesystem_size_bytes";
/// Free for unprivileged users. Label `mountpoint`. Gauge, bytes.
pub const HOST_FILESYSTEM_AVAILABLE_BYTES: &str = "host_filesystem_available_bytes";
/// Label `device`; `lo` and virtual pairs left out. Counter, bytes.
pub const HOST_NETWORK_RECEIVE_BYTES_TOTAL: &str = "host_network_receive_bytes_total";
/// Label `device`. Counter, bytes.
pub const HOST_NETWORK_TRANSMIT_BYTES_TOTAL: &str = "host_network_transmit_bytes_total";
/// Gauge, hundredths (scale −2).
pub const HOST_LOAD_1M: &str = "host_load_1m";
/// Gauge, seconds.
pub const HOST_UPTIME_SECONDS: &str = "host_uptime_seconds";
/// Containers running. Gauge.
pub const HOST_CONTAINERS_RUNNING: &str = "host_containers_running";

/// Labels `container` (the first 12 digits of its id) and `name` (where known). Counter, microseconds (scale −6).
pub const CONTAINER_CPU_SECONDS_TOTAL: &str = "container_cpu_seconds_total";
/// Memory in use without the page cache that can be dropped. Gauge, bytes.
pub const CONTAINER_MEMORY_BYTES: &str = "container_memory_bytes";
/// Gauge, bytes; absent without a limit.
pub const CONTAINER_MEMORY_LIMIT_BYTES: &str = "container_memory_limit_bytes";
