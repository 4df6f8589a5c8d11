// A list of the organisation's: read when the page opens and again whenever it is asked for; what failed says so.
import { onMount } from "svelte";
import { pages, Problem, told } from "../../api/client";

export class Listed<T> {
  list = $state.raw<T[] | null>(null);
  problem = $state.raw<Problem | null>(null);
  readonly #read: (skip: number, limit: number) => Promise<T[]>;

  constructor(read: (skip: number, limit: number) => Promise<T[]>) {
    this.#read = read;
    onMount(() => void this.load());
  }

  load = async (): Promise<void> => {
    const found: T[] = [];
    try {
      await pages(this.#read, (page) => found.push(...page), 1000);
      this.list = found;
      this.problem = null;
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, "unknown", told(error));
    }
  };
}
