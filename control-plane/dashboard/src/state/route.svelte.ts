// Where in the dashboard one is: the part of the address after `#`, so that the control plane serves one page and never
// learns what is looked at.

class RouteState {
  path = $state(read());
  parts = $derived(this.path.split("?")[0]!.split("/").filter(Boolean).map(decode));
  query = $derived(new URLSearchParams(this.path.split("?")[1] ?? ""));

  constructor() {
    addEventListener("hashchange", () => {
      const before = this.path;
      this.path = read();
      // Another page begins at its top; another tab of one stays where it is.
      if (before.split("/").slice(0, 3).join("/") !== this.path.split("/").slice(0, 3).join("/")) scrollTo(0, 0);
    });
  }

  go(path: string): void {
    location.hash = path;
  }

  /** Changes the address without a step in the history. */
  replace(path: string): void {
    history.replaceState(null, "", `#${path}`);
    this.path = read();
  }
}

function read(): string {
  return location.hash.slice(1) || "/";
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = new RouteState();
