// Where a server's charts get their values: history as steps, now as a stream of seconds.
import { get, Problem, read, told } from "../api/client";
import type { Summary } from "../api/types";
import { stream } from "../live/sse";
import type { Sample, Subject, Track, Values } from "./tracks";
import { Columns } from "./window";

export interface Range {
  /** Seconds up to now; what is shown moves. */
  last?: number;
  /** Or from and to, in seconds since the epoch. */
  from?: number;
  to?: number;
}

/** How much of now is shown, in seconds. */
export const LIVE_SECONDS = 300;
const GAP_SECONDS = 2.5;
/** A host that nobody watches sends ten seconds at once, and what it has as soon as somebody watches: what was on its way when the
 *  past was read has mostly arrived so long after the first second that was told, and surely by the last of these. */
const ARRIVED_MS = [2_500, 12_000];

interface Named {
  metric: string;
  labels: Record<string, string>;
  unit?: string;
}
interface Answer {
  step_ms: number;
  series: (Named & { t: number[]; min: (number | null)[]; avg: (number | null)[]; max: (number | null)[] })[];
}

function address(id: string, of: Subject, live: boolean, more: Record<string, string>): string {
  const query = new URLSearchParams(more);
  for (const metric of of.metrics) query.append("metric", metric);
  for (const [label, value] of Object.entries(of.labels)) query.append("label", `${label}=${value}`);
  return `/api/v1/monitoring/servers/${encodeURIComponent(id)}/series${live ? "/live" : ""}?${query}`;
}

/** Values over a range of what is charted on a server. */
export async function history(id: string, of: Subject, from: number, to: number, signal: AbortSignal): Promise<{ columns: Columns; step: number }> {
  const answer = (await read(address(id, of, false, { from: String(from), to: String(to) }), { signal })) as Answer;
  const columns = new Columns();
  const step = (answer.step_ms ?? 1000) / 1000;
  const t = answer.series[0]?.t ?? [];
  t.forEach((at, nth) => {
    const samples: Sample[] = answer.series.map(({ metric, labels, avg }) => ({ metric, labels, value: avg?.[nth] ?? null }));
    columns.push(at / 1000, of.values(samples), step * 1.5);
  });
  return { columns, step };
}

/** Follows it second by second until aborted. */
export async function follow(id: string, of: Subject, signal: AbortSignal, each: (at: number, values: Values) => void): Promise<void> {
  let series: Named[] = [];
  let waited = 0;
  while (!signal.aborted) {
    try {
      await stream("get", address(id, of, true, {}), { signal }, (sent) => {
        waited = 0;
        if (sent.event === "series") series = (sent.data as { series: Named[] }).series;
        else if (sent.event === "point") {
          const { t, values } = sent.data as { t: number; values: (number | null)[] };
          each(t / 1000, of.values(series.map((named, nth) => ({ ...named, value: values[nth] ?? null }))));
        }
      });
    } catch (error) {
      if (error instanceof Problem && (error.status === 404 || error.status === 401 || error.status === 403)) throw error;
    }
    if (signal.aborted) return;
    waited = Math.min(5000, waited + 500);
    await new Promise((resolve) => setTimeout(resolve, waited));
  }
}

class ChartState {
  columns = new Columns();
  /** Counts what came, so that charts draw again. */
  beat = $state(0);
  latest = $state.raw<Values>({});
  lastAt = $state<number | null>(null);
  range = $state.raw<Range>({ last: LIVE_SECONDS });
  isLive = $derived(this.range.last === LIVE_SECONDS);
  loading = $state(false);
  problem = $state<string | null>(null);
  /** The keys that this host has. */
  keys = $state.raw(new Set<string>());
  /** The first moment that was told as it happened. */
  #liveFrom: number | null = null;
  #stop = new AbortController();
  #id: string;
  #of: Subject;

  constructor(id: string, of: Subject) {
    this.#id = id;
    this.#of = of;
  }

  /** Whether there is such a track. Until the host has told, every one keeps its place, so that nothing moves when it does. */
  mayHave(track: Track): boolean {
    return !track.optional || this.keys.size === 0 || this.keys.has(track.key);
  }

  /** The range's ends now, in seconds. */
  ends(): [number, number] {
    const now = this.isLive && this.lastAt ? Math.max(this.lastAt, Date.now() / 1000 - 2) : Date.now() / 1000;
    return this.range.last ? [now - this.range.last, now] : [this.range.from ?? now - 1, this.range.to ?? now];
  }

  show(range: Range): void {
    this.range = range;
    this.stop();
    this.#stop = new AbortController();
    void this.#run(this.#stop.signal);
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(signal: AbortSignal): Promise<void> {
    this.loading = true;
    this.problem = null;
    const [from, to] = this.ends();
    try {
      const { columns } = await history(this.#id, this.#of, from, to, signal);
      if (signal.aborted) return;
      this.columns = columns;
    } catch (error) {
      if (signal.aborted) return;
      if (!this.isLive) this.problem = told(error);
      this.columns = new Columns();
    }
    this.loading = false;
    this.#beat();
    if (!this.isLive) return;
    this.#liveFrom = null;
    try {
      await follow(this.#id, this.#of, signal, (at, values) => {
        if (this.#liveFrom === null) this.#mendSoon(at, signal);
        this.#take(at, values);
      });
    } catch (error) {
      if (!signal.aborted) this.problem = told(error);
    }
  }

  #mendSoon(liveFrom: number, signal: AbortSignal): void {
    this.#liveFrom = liveFrom;
    const timers = ARRIVED_MS.map((after) => setTimeout(() => void this.#mend(liveFrom, signal), after));
    signal.addEventListener("abort", () => timers.forEach(clearTimeout), { once: true });
  }

  /** Reads once more what lies between the past as it was read and the first moment that was told. */
  async #mend(liveFrom: number, signal: AbortSignal): Promise<void> {
    try {
      const { columns } = await history(this.#id, this.#of, liveFrom - LIVE_SECONDS, liveFrom, signal);
      if (signal.aborted) return;
      this.columns = columns.joined(this.columns, liveFrom, GAP_SECONDS);
      this.#beat();
    } catch {
      // What is there stays, with its gap.
    }
  }

  #take(at: number, values: Values): void {
    this.columns.push(at, values, GAP_SECONDS);
    this.columns.trim(at - LIVE_SECONDS - 5);
    this.latest = values;
    this.lastAt = at;
    this.#beat();
  }

  #beat(): void {
    if ([...this.columns.values.keys()].some((key) => !this.keys.has(key))) this.keys = new Set([...this.keys, ...this.columns.values.keys()]);
    this.beat += 1;
  }
}

export const chartState = (id: string, of: Subject): ChartState => new ChartState(id, of);
export type { ChartState };

/** The summary where only that is known. */
export const summary = (id: string): Promise<Summary> => get("/api/v1/monitoring/servers/{id}/summary", { path: { id } });
