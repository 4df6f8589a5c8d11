// What a server's charts show, made of its raw series: the same for a moment of now and for a step of last week.

export interface Sample {
  metric: string;
  labels: Record<string, string>;
  value: number | null;
}

export interface Track {
  key: string;
  label: string;
  /** The colour's name among the page's. */
  color: string;
  area?: boolean;
  /** Shown only where the host has it. */
  optional?: boolean;
}

export interface ChartSpec {
  key: string;
  title: string;
  unit: "percent" | "rate" | "memory" | "number";
  tracks: Track[];
  /** The scale's least upper end. */
  top?: number;
}

/** What charts are of: a server, or something on one. */
export interface Subject {
  charts: ChartSpec[];
  /** The series that the charts are made of, and the labels these must have. */
  metrics: string[];
  labels: Record<string, string>;
  /** The charts' values of one moment. */
  values: (samples: Sample[]) => Values;
}

const CHARTS: ChartSpec[] = [
  { key: "cpu", title: "CPU", unit: "percent", top: 100, tracks: [
    { key: "cpu", label: "Busy", color: "--c-cpu", area: true }, { key: "iowait", label: "I/O wait", color: "--c-disk", optional: true }, { key: "steal", label: "Steal", color: "--c-tx", optional: true }] },
  { key: "memory", title: "Memory", unit: "percent", top: 100, tracks: [
    { key: "memory", label: "Used", color: "--c-memory", area: true }, { key: "swap", label: "Swap", color: "--c-tx", optional: true }] },
  { key: "network", title: "Network", unit: "rate", top: 1000, tracks: [
    { key: "rx", label: "Received", color: "--c-rx", area: true }, { key: "tx", label: "Sent", color: "--c-tx" }] },
  { key: "io", title: "Disk traffic", unit: "rate", top: 1000, tracks: [
    { key: "read", label: "Read", color: "--c-rx", area: true, optional: true }, { key: "written", label: "Written", color: "--c-tx", optional: true }] },
  { key: "load", title: "Load", unit: "number", top: 1, tracks: [
    { key: "load1", label: "1 min", color: "--c-cpu", area: true }, { key: "load5", label: "5 min", color: "--c-memory", optional: true }, { key: "load15", label: "15 min", color: "--c-load", optional: true }] },
  { key: "disk", title: "Disk space", unit: "percent", top: 100, tracks: [{ key: "disk", label: "Used", color: "--c-disk", area: true }] },
  { key: "pressure", title: "Pressure", unit: "percent", top: 5, tracks: [
    { key: "p_cpu", label: "CPU", color: "--c-cpu", optional: true }, { key: "p_io", label: "Disks", color: "--c-disk", optional: true }, { key: "p_memory", label: "Memory", color: "--c-memory", optional: true }] },
];

const METRICS = [
  "host_cpu_seconds_total", "host_memory_total_bytes", "host_memory_available_bytes", "host_memory_swap_total_bytes", "host_memory_swap_free_bytes",
  "host_load_1m", "host_load_5m", "host_load_15m", "host_network_receive_bytes_total", "host_network_transmit_bytes_total",
  "host_disk_read_bytes_total", "host_disk_written_bytes_total", "host_filesystem_size_bytes", "host_filesystem_available_bytes", "host_pressure_seconds_total",
];

export type Values = Record<string, number | null>;

/** The charts' values of one moment. What the host does not have is not there; what it did not tell is `null`. */
function valuesOf(samples: Sample[]): Values {
  const sums: Record<string, number | null> = {};
  const modes: Record<string, number | null> = {};
  const mounts: Record<string, { size: number | null; free: number | null }> = {};
  const values: Values = {};
  const add = (into: Record<string, number | null>, key: string, value: number | null) => {
    const so = into[key];
    into[key] = so === undefined ? value : so === null ? value : value === null ? so : so + value;
  };
  for (const { metric, labels, value } of samples) {
    if (metric === "host_cpu_seconds_total") add(modes, labels.mode ?? "", value);
    else if (metric === "host_pressure_seconds_total") {
      if (labels.kind === "some") values[`p_${labels.resource}`] = value === null ? null : Math.min(100, value * 100);
    } else if (metric === "host_filesystem_size_bytes") (mounts[labels.mountpoint ?? ""] ??= { size: null, free: null }).size = value;
    else if (metric === "host_filesystem_available_bytes") (mounts[labels.mountpoint ?? ""] ??= { size: null, free: null }).free = value;
    else add(sums, metric, value);
  }
  const all = Object.values(modes);
  if (all.length > 0) {
    const total = all.includes(null) ? null : all.reduce<number>((sum, value) => sum + (value ?? 0), 0);
    const share = (part: number | null | undefined) => (part == null || !total ? null : (100 * part) / total);
    const idle = (modes.idle ?? 0) + (modes.iowait ?? 0);
    values.cpu = total ? Math.max(0, 100 - (100 * idle) / total) : null;
    if ("iowait" in modes) values.iowait = share(modes.iowait);
    if ("steal" in modes) values.steal = share(modes.steal);
  }
  const used = (total: number | null | undefined, free: number | null | undefined) => (total == null || free == null || total <= 0 ? null : (100 * (total - free)) / total);
  if ("host_memory_total_bytes" in sums) values.memory = used(sums.host_memory_total_bytes, sums.host_memory_available_bytes);
  if ((sums.host_memory_swap_total_bytes ?? 0) > 0) values.swap = used(sums.host_memory_swap_total_bytes, sums.host_memory_swap_free_bytes);
  const plain: [string, string][] = [
    ["load1", "host_load_1m"], ["load5", "host_load_5m"], ["load15", "host_load_15m"], ["rx", "host_network_receive_bytes_total"], ["tx", "host_network_transmit_bytes_total"],
    ["read", "host_disk_read_bytes_total"], ["written", "host_disk_written_bytes_total"],
  ];
  for (const [key, metric] of plain) if (metric in sums) values[key] = sums[metric] ?? null;
  const shares = Object.values(mounts).map(({ size, free }) => used(size, free));
  const root = mounts["/"];
  if (shares.length > 0) values.disk = root ? used(root.size, root.free) : shares.includes(null) ? null : Math.max(...(shares as number[]));
  return values;
}

/** A server as a whole. */
export const HOST: Subject = { charts: CHARTS, metrics: METRICS, labels: {}, values: valuesOf };
