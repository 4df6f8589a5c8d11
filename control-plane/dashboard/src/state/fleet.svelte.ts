// The fleet as this page knows it: read once, then kept true by what the control plane tells. Nothing is assumed: a change
// shows when the control plane says that it happened.
import { get, pages, Problem, told } from "../api/client";
import type { Command, FleetEvent, Summary, Vm } from "../api/types";
import { Ring } from "../live/history";
import { follow } from "../live/follow.svelte";

/** A server and its latest figures. */
export class Row {
  vm = $state.raw<Vm>({} as Vm);
  figures = $state.raw<Summary | null>(null);
  /** Counts figures, so that what is drawn of the rings is drawn again. */
  beat = $state(0);
  readonly cpu = new Ring();
  readonly memory = new Ring();
  readonly network = new Ring();
  asked = false;

  constructor(vm: Vm) {
    this.vm = vm;
  }

  take(figures: Summary): void {
    if (this.figures?.timestamp && figures.timestamp && figures.timestamp <= this.figures.timestamp) return;
    this.cpu.push(figures.cpu_usage_percent);
    this.memory.push(figures.memory_usage_percent);
    this.network.push(figures.network_rx_bytes_per_second + figures.network_tx_bytes_per_second);
    this.figures = figures;
    this.beat += 1;
  }
}

type Listener = (event: FleetEvent) => void;

class FleetState {
  /** In the order the control plane lists them. */
  rows = $state.raw<Row[]>([]);
  loading = $state(true);
  problem = $state.raw<Problem | null>(null);
  /** Counts changes of any server, for what is computed over all. */
  version = $state(0);
  #byId = new Map<string, Row>();
  #listeners = new Set<Listener>();
  #loads = 0;
  /** Whether a page wants all of them: one that shows a single server does not wait for ten thousand. */
  #wanted = false;
  /** Whether changes are heard: what is read from then on stays true. */
  begun = $state(false);

  /** Called by pages that show or choose among all servers. */
  want(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    if (this.begun) void this.load();
  }

  /** Reads what is shown, at the beginning and after something may have been missed. */
  refresh(): void {
    this.begun = true;
    if (this.#wanted) void this.load();
    else for (const { vm } of this.rows) void this.#reread(vm.id);
  }

  row(id: string): Row | undefined {
    // Read, so that a server that appears is noticed.
    void this.rows;
    return this.#byId.get(id);
  }

  /** The server called so, or with this id. */
  find(key: string): Row | undefined {
    return this.row(key) ?? this.rows.find((row) => row.vm.name === key);
  }

  /** Reads the whole list again; what is shown stays until it is here. */
  async load(): Promise<void> {
    const load = (this.#loads += 1);
    const seen = new Map<string, Row>();
    try {
      await pages(
        (skip, limit) => get("/api/v1/vms", { query: { skip, limit } }),
        (page) => {
          if (load !== this.#loads) return;
          for (const vm of page) seen.set(vm.id, this.#put(vm));
          // The first page is shown at once, the rest when it is whole: a list that grows under the eye jumps.
          if (this.rows.length === 0) this.#show([...seen.values()]);
        },
      );
      if (load !== this.#loads) return;
      this.#byId = seen;
      this.#show([...seen.values()]);
      this.problem = null;
    } catch (error) {
      if (load !== this.#loads) return;
      this.problem = error instanceof Problem ? error : new Problem(0, "unknown", told(error));
    }
    this.loading = false;
  }

  /** Asks for a server's figures, once, so that a list shows some before the next are told. */
  async ask(row: Row): Promise<void> {
    if (row.asked || row.figures || row.vm.agent_status !== "online") return;
    row.asked = true;
    try {
      row.take(await get("/api/v1/monitoring/servers/{id}/summary", { path: { id: row.vm.id } }));
    } catch {
      // None yet: they come by themselves.
    }
  }

  /** Tells `listener` of every event until the returned function is called. */
  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A server the control plane answered with. */
  put(vm: Vm): void {
    const there = this.#byId.has(vm.id);
    const row = this.#put(vm);
    if (!there) this.#show([...this.rows, row]);
    this.version += 1;
  }

  drop(id: string): void {
    if (this.#byId.delete(id)) this.#show(this.rows.filter((row) => row.vm.id !== id));
  }

  clear(): void {
    this.#loads += 1;
    this.#byId = new Map();
    this.rows = [];
    this.#wanted = this.begun = false;
    this.loading = true;
    this.problem = null;
  }

  hear(event: FleetEvent): void {
    const id = event.server_id ?? "";
    if (event.event === "reset") this.refresh();
    else if (event.event === "sample" && event.summary) this.#byId.get(id)?.take(event.summary);
    else if (event.event === "server_deleted") this.drop(id);
    else if (event.server && (this.#wanted || this.#byId.has(id))) this.put(event.server);
    for (const listener of this.#listeners) listener(event);
  }

  async #reread(id: string): Promise<void> {
    try {
      this.put(await get("/api/v1/vms/{id}", { path: { id } }));
    } catch (error) {
      if (error instanceof Problem && error.status === 404) this.drop(id);
    }
  }

  #put(vm: Vm): Row {
    const row = this.#byId.get(vm.id);
    if (!row) {
      const made = new Row(vm);
      this.#byId.set(vm.id, made);
      return made;
    }
    row.vm = vm;
    return row;
  }

  #show(rows: Row[]): void {
    this.rows = rows;
    this.version += 1;
  }
}

export const fleet = new FleetState();

/** The fleet's events, followed for as long as somebody is signed in. */
export const events = follow(
  (event) => fleet.hear(event),
  () => fleet.refresh(),
);

/** The commands of events, for pages that show a server's. */
export function commandOf(event: FleetEvent): Command | null {
  return event.event === "command_changed" ? (event.command ?? null) : null;
}
