// A server's facts, read when a tab needs them and again when the control plane says that the server changed.
import { onMount } from "svelte";
import { get, Problem, told } from "../../api/client";
import type { Facts } from "../../api/types";
import { fleet } from "../../state/fleet.svelte";

export class FactsOf {
  facts = $state.raw<Facts | null>(null);
  at = $state<string | null>(null);
  problem = $state.raw<Problem | null>(null);

  readonly #id: string;

  /** Reads them again. */
  load = async (): Promise<void> => {
    try {
      const document = await get("/api/v1/vms/{id}/facts", { path: { id: this.#id } });
      this.facts = document.facts;
      this.at = document.collected_at as string;
      this.problem = null;
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, "unknown", told(error));
    }
  };

  constructor(id: string) {
    this.#id = id;
    onMount(() => {
      void this.load();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stop = fleet.on((event) => {
        if (event.server_id !== id || event.event === "sample") return;
        clearTimeout(timer);
        timer = setTimeout(() => void this.load(), 300);
      });
      return () => {
        clearTimeout(timer);
        stop();
      };
    });
  }
}
