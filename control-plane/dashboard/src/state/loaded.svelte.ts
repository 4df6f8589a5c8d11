// A part of the dashboard that is fetched when it is gone to. What is on its way and not wanted any more shows nothing.
import type { Component } from "svelte";
import { again, told } from "../api/client";

type View = Component<Record<string, unknown>>;
type Load = () => Promise<{ default: View }>;

export class Loaded {
  name = $state.raw<string | null>(null);
  view = $state.raw<View | null>(null);
  failed = $state<string | null>(null);
  #wanted = "";

  /** Fetches the part called `name`, where it is not here. */
  want(name: string, load: Load): void {
    this.#wanted = name;
    this.failed = null;
    if (this.name === name) return;
    again(load, () => this.#wanted === name).then(
      (module) => {
        if (this.#wanted === name) [this.name, this.view] = [name, module.default];
      },
      (error) => {
        if (this.#wanted === name) this.failed = told(error);
      },
    );
  }
}
