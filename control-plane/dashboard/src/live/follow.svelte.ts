// Following the fleet: one stream, opened again by itself after whatever ended it, from where it stopped. While it is not
// open the page says so, and what it shows is old.
import { Problem } from "../api/client";
import type { FleetEvent } from "../api/types";
import { stream } from "./sse";

/** Waits before trying again: at once, then longer, never long. */
const WAITS_MS = [200, 500, 1000, 2000, 3000, 5000];
/** A break shorter than this is no news to anybody. */
const PATIENCE_MS = 1200;

export class Following {
  /** Whether the control plane is heard. */
  online = $state(true);
  /** Since when it is not. */
  since = $state<number | null>(null);
  /** Why, where it said so. */
  why = $state<string | null>(null);
  #stop: AbortController | null = null;
  #last: string | null = null;
  #wake: (() => void) | null = null;

  constructor(
    readonly hear: (event: FleetEvent) => void,
    readonly begin: () => void,
  ) {
    addEventListener("online", () => this.#wake?.());
  }

  start(samples: boolean): void {
    this.stop();
    const stop = new AbortController();
    this.#stop = stop;
    void this.#run(samples, stop.signal);
  }

  stop(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.#last = null;
    this.online = true;
    this.since = null;
  }

  /** Tries at once instead of when the wait is over. */
  retry(): void {
    this.#wake?.();
  }

  async #run(samples: boolean, signal: AbortSignal): Promise<void> {
    let failures = 0;
    let begun = false;
    while (!signal.aborted) {
      const began = Date.now();
      const late = setTimeout(() => this.#isAway(began), PATIENCE_MS);
      try {
        const headers: Record<string, string> = this.#last ? { "last-event-id": this.#last } : {};
        await stream("get", `/api/v1/events?samples=${samples}`, { headers, signal }, (sent) => {
          if (sent.id) this.#last = sent.id;
          const event = sent.data as FleetEvent;
          if (event.event === "ready" || event.event === "reset") {
            clearTimeout(late);
            // Whoever heard nothing before reads the list; whoever goes on after an event is told the rest.
            if (!headers["last-event-id"]) this.begin();
            failures = 0;
            begun = true;
            this.online = true;
            this.since = this.why = null;
          }
          this.hear(event);
        });
      } catch (error) {
        this.why = error instanceof Problem && error.status !== 0 ? error.detail : null;
        // Not signed in any more: that is another page's matter.
        if (error instanceof Problem && error.status === 401) return;
        // A list that does not move is better than none.
        if (!begun && failures === 0) this.begin();
      } finally {
        clearTimeout(late);
      }
      if (signal.aborted) return;
      const wait = WAITS_MS[Math.min(failures, WAITS_MS.length - 1)]!;
      failures += 1;
      if (failures > 2) this.#isAway(Date.now());
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, wait);
      });
      this.#wake = null;
    }
  }

  #isAway(since: number): void {
    this.since ??= since;
    this.online = false;
  }
}

export function follow(hear: (event: FleetEvent) => void, begin: () => void): Following {
  return new Following(hear, begin);
}
