// Everything but the fleet and a server's frame is loaded when it is gone to; a page that is opened first is fetched while it is
// still being asked who is signed in.
import type { Component } from "svelte";
import Server from "./pages/Server.svelte";
import { askAhead } from "./state/ahead";

type View = Component<Record<string, unknown>>;
type Load = () => Promise<{ default: View }>;

export const PAGES: Record<string, Load> = {
  servers: () => Promise.resolve({ default: Server as never }),
  add: () => import("./pages/Add.svelte") as never,
  runs: () => import("./pages/Runs.svelte") as never,
  projects: () => import("./pages/organisation/Projects.svelte") as never,
  members: () => import("./pages/organisation/Members.svelte") as never,
  quota: () => import("./pages/organisation/QuotaPage.svelte") as never,
  keys: () => import("./pages/organisation/Keys.svelte") as never,
  audit: () => import("./pages/organisation/Audit.svelte") as never,
  you: () => import("./pages/You.svelte") as never,
  login: () => import("./pages/Login.svelte") as never,
};

/** What draws charts, in one piece with the page that begins with them. */
export const charted = () => import("./pages/server/charted");

/** A server's tabs, by the third part of the address. */
export const TABS: Record<string, Load> = {
  "": () => charted().then(({ Overview }) => ({ default: Overview })) as never,
  containers: () => import("./pages/server/Containers.svelte") as never,
  readiness: () => import("./pages/server/Readiness.svelte") as never,
  hardening: () => import("./pages/server/Hardening.svelte") as never,
  environments: () => import("./pages/server/Environments.svelte") as never,
  commands: () => import("./pages/server/Commands.svelte") as never,
  facts: () => import("./pages/server/Facts.svelte") as never,
  audit: () => import("./pages/server/Trail.svelte") as never,
  settings: () => import("./pages/server/Settings.svelte") as never,
};

export const tabOf = (part: string | undefined): string => (part && part in TABS ? part : "");

/** Begins to fetch what stands at an address. What fails is asked for again when it is shown. */
export function prefetch(parts: string[], isSession: boolean): void {
  if (isSession && parts[0] === "servers" && parts[1]) askAhead(parts[1]);
  const loads = [PAGES[parts[0] ?? ""], parts[0] === "servers" ? TABS[tabOf(parts[2])] : undefined];
  for (const load of loads) load?.().catch(() => {});
}
