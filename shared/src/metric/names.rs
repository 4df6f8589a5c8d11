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

/// Scheduling periods in which the processor limit was reached. Counter.
pub const CONTAINER_CPU_THROTTLED_PERIODS_TOTAL: &str = "container_cpu_throttled_periods_total";
/// Counters, bytes.
pub const CONTAINER_BLOCK_READ_BYTES_TOTAL: &str = "container_block_read_bytes_total";
pub const CONTAINER_BLOCK_WRITTEN_BYTES_TOTAL: &str = "container_block_written_bytes_total";
/// Counters.
pub const CONTAINER_BLOCK_READS_TOTAL: &str = "container_block_reads_total";
pub const CONTAINER_BLOCK_WRITES_TOTAL: &str = "container_block_writes_total";
/// Counters, bytes and packets; absent on the host's network.
pub const CONTAINER_NETWORK_RECEIVE_BYTES_TOTAL: &str = "container_network_receive_bytes_total";
pub const CONTAINER_NETWORK_RECEIVE_PACKETS_TOTAL: &str = "container_network_receive_packets_total";
pub const CONTAINER_NETWORK_TRANSMIT_BYTES_TOTAL: &str = "container_network_transmit_bytes_total";
pub const CONTAINER_NETWORK_TRANSMIT_PACKETS_TOTAL: &str = "container_network_transmit_packets_total";
/// Processes and threads. Gauge.
pub const CONTAINER_TASKS: &str = "container_tasks";
/// 0 unknown, 1 created, 2 running, 3 paused, 4 restarting, 5 removing, 6 exited, 7 dead. Gauge.
pub const CONTAINER_STATE: &str = "container_state";
/// Processes killed for want of memory. Counter.
pub const CONTAINER_OOM_KILLS_TOTAL: &str = "container_oom_kills_total";
/// Restarts by the engine. Counter.
pub const CONTAINER_RESTARTS_TOTAL: &str = "container_restarts_total";

/// Gauges, hundredths (scale −2).
pub const HOST_LOAD_5M: &str = "host_load_5m";
pub const HOST_LOAD_15M: &str = "host_load_15m";
/// Gauges, bytes.
pub const HOST_MEMORY_SWAP_TOTAL_BYTES: &str = "host_memory_swap_total_bytes";
pub const HOST_MEMORY_SWAP_FREE_BYTES: &str = "host_memory_swap_free_bytes";
/// One processor's time, labels `core` and `mode`. Counter, microseconds (scale −6).
pub const HOST_CPU_CORE_SECONDS_TOTAL: &str = "host_cpu_core_seconds_total";
/// Label `device`. Counters: operations, bytes, and time with a request under way in microseconds (scale −6).
pub const HOST_DISK_READS_TOTAL: &str = "host_disk_reads_total";
pub const HOST_DISK_WRITES_TOTAL: &str = "host_disk_writes_total";
pub const HOST_DISK_READ_BYTES_TOTAL: &str = "host_disk_read_bytes_total";
pub const HOST_DISK_WRITTEN_BYTES_TOTAL: &str = "host_disk_written_bytes_total";
pub const HOST_DISK_BUSY_SECONDS_TOTAL: &str = "host_disk_busy_seconds_total";
/// Label `device`. Counters.
pub const HOST_NETWORK_RECEIVE_PACKETS_TOTAL: &str = "host_network_receive_packets_total";
pub const HOST_NETWORK_TRANSMIT_PACKETS_TOTAL: &str = "host_network_transmit_packets_total";
pub const HOST_NETWORK_RECEIVE_ERRORS_TOTAL: &str = "host_network_receive_errors_total";
pub const HOST_NETWORK_TRANSMIT_ERRORS_TOTAL: &str = "host_network_transmit_errors_total";
