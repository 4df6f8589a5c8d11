// The places there are, for the navigation and the keyboard. Each is shown to whoever may use it.
import type { IconName } from "./ui/Icon.svelte";
import type { Permission } from "./api/types";

export interface Place {
  name: string;
  path: string;
  title: string;
  icon: IconName;
  keys: string;
  area: "fleet" | "organisation";
  /** Any of these lets somebody in; none means everybody. */
  needs: Permission[];
  /** The heading that stands before it. */
  begins?: string;
}

export const places: Place[] = [
  { name: "", path: "/", title: "Fleet", icon: "fleet", keys: "g s", area: "fleet", needs: ["org.servers.list"] },
  { name: "add", path: "/add", title: "Add server", icon: "add", keys: "g a", area: "fleet", needs: ["org.join_tokens.create", "org.servers.create"] },
  { name: "runs", path: "/runs", title: "Runs", icon: "waves", keys: "g r", area: "fleet", needs: ["org.commands.list"] },
  { name: "projects", path: "/projects", title: "Projects", icon: "layers", keys: "g p", area: "organisation", needs: ["org.projects.list"], begins: "Organisation" },
  { name: "members", path: "/members", title: "Members", icon: "people", keys: "g m", area: "organisation", needs: ["org.members.list"] },
  { name: "quota", path: "/quota", title: "Quota", icon: "gauge", keys: "g q", area: "organisation", needs: ["org.quota.view"] },
  { name: "keys", path: "/keys", title: "SSH keys", icon: "key", keys: "g k", area: "organisation", needs: ["org.ssh_keys.list"] },
  { name: "audit", path: "/audit", title: "Audit", icon: "record", keys: "g l", area: "organisation", needs: ["org.audit.view"] },
];

export const areaOf = (name: string): string | undefined => places.find((place) => place.name === name)?.area;
