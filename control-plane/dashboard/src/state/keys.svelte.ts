// The keyboard: single letters while nothing is being typed, and two-letter ways to pages.
import { keep, kept } from "./kept";

export interface Shortcut {
  keys: string;
  about: string;
  run: () => void;
}

/** How long the second letter may take. */
const SECOND_MS = 1500;

class Keys {
  /** Single letters get in the way of some who speak to their machine: they can be turned off. */
  on = $state(kept("keys", true));
  list = $state.raw<Shortcut[]>([]);
  #first = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  turn(on: boolean): void {
    this.on = on;
    keep("keys", on);
  }

  /** Adds shortcuts until the returned function is called. */
  add(...shortcuts: Shortcut[]): () => void {
    this.list = [...this.list, ...shortcuts];
    return () => (this.list = this.list.filter((shortcut) => !shortcuts.includes(shortcut)));
  }

  press(event: KeyboardEvent): void {
    if (!this.on || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const pressed = this.#first ? `${this.#first} ${event.key}` : event.key;
    const found = this.list.findLast((shortcut) => shortcut.keys === pressed);
    clearTimeout(this.#timer);
    this.#first = "";
    if (found) {
      event.preventDefault();
      found.run();
    } else if (this.list.some((shortcut) => shortcut.keys.startsWith(`${event.key} `))) {
      this.#first = event.key;
      this.#timer = setTimeout(() => (this.#first = ""), SECOND_MS);
    }
  }
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export const keys = new Keys();
