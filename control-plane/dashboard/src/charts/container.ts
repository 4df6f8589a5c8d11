// What a container's charts show.
import type { ChartSpec, Sample, Subject, Values } from "./tracks";

const CHARTS: ChartSpec[] = [
  { key: "c-cpu", title: "CPU", unit: "percent", top: 5, tracks: [
    { key: "c_cpu", label: "Busy, of one core", color: "--c-cpu", area: true }, { key: "c_throttled", label: "Held back by its limit", color: "--c-tx" }, { key: "c_cpu_limit", label: "Limit", color: "--c-load", optional: true }] },
  { key: "c-memory", title: "Memory", unit: "memory", top: 1 << 20, tracks: [
    { key: "c_memory", label: "In use", color: "--c-memory", area: true }, { key: "c_cache", label: "Page cache", color: "--c-disk", optional: true }, { key: "c_memory_limit", label: "Limit", color: "--c-load", optional: true }] },
  { key: "c-network", title: "Network", unit: "rate", top: 1000, tracks: [
    { key: "c_rx", label: "Received", color: "--c-rx", area: true, optional: true }, { key: "c_tx", label: "Sent", color: "--c-tx", optional: true }] },
  { key: "c-io", title: "Block I/O", unit: "rate", top: 1000, tracks: [
    { key: "c_read", label: "Read", color: "--c-rx", area: true }, { key: "c_written", label: "Written", color: "--c-tx" }] },
  { key: "c-tasks", title: "Processes and threads", unit: "number", top: 1, tracks: [{ key: "c_tasks", label: "Running", color: "--c-cpu", area: true }] },
];

/** Where each track comes from, and what makes its unit of the series'. */
const TRACKS: Record<string, [key: string, factor: number]> = {
  container_cpu_seconds_total: ["c_cpu", 100], container_cpu_throttled_seconds_total: ["c_throttled", 100], container_cpu_limit_cores: ["c_cpu_limit", 100],
  container_memory_bytes: ["c_memory", 1], container_memory_cache_bytes: ["c_cache", 1], container_memory_limit_bytes: ["c_memory_limit", 1],
  container_network_receive_bytes_total: ["c_rx", 1], container_network_transmit_bytes_total: ["c_tx", 1],
  container_block_read_bytes_total: ["c_read", 1], container_block_written_bytes_total: ["c_written", 1], container_tasks: ["c_tasks", 1],
};

function values(samples: Sample[]): Values {
  const values: Values = {};
  for (const { metric, value } of samples) {
    const [key, factor] = TRACKS[metric] ?? [];
    if (key) values[key] = value === null ? null : value * (factor ?? 1);
  }
  return values;
}

/** Digits of an id that label its series. */
export const LABEL_DIGITS = 12;

/** The container with this id, on whichever server. */
export const container = (id: string): Subject => ({ charts: CHARTS, metrics: Object.keys(TRACKS), labels: { container: id.slice(0, LABEL_DIGITS) }, values });
