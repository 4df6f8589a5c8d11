// Dark or light: as the system has it, or as chosen.
import { keep, kept } from "./kept";

export type Choice = "system" | "light" | "dark";
const DARK = matchMedia("(prefers-color-scheme: dark)");

class ThemeState {
  choice = $state<Choice>(kept<Choice>("theme", "system"));
  system = $state(DARK.matches);
  isDark = $derived(this.choice === "system" ? this.system : this.choice === "dark");

  constructor() {
    DARK.addEventListener("change", () => {
      this.system = DARK.matches;
      this.#apply();
    });
    this.#apply();
  }

  choose(choice: Choice): void {
    this.choice = choice;
    keep("theme", choice);
    this.#apply();
  }

  #apply(): void {
    document.documentElement.dataset.theme = this.isDark ? "dark" : "light";
  }
}

export const theme = new ThemeState();
