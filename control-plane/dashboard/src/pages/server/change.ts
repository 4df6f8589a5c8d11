// What a host reports of a change to it, planned or made.
import type { Command } from "../../api/types";
import { words } from "../../text/format";

export interface ChangeReport {
  already: boolean;
  steps: { title: string; diff?: string; reversible?: boolean }[];
  applied: boolean;
  verified: boolean;
  undone: boolean;
  evidence: string;
}

/** What became of one action or item. */
export interface Outcome {
  name: string;
  outcome: string;
  detail: string;
  report: ChangeReport | null;
}

const TITLES: Record<string, string> = {
  install_docker: "Install Docker", start_docker: "Start Docker", add_to_docker_group: "Let the user use Docker", configure_sudo: "Let the user become root",
  free_disk: "Free disk space", free_ports: "Free the ports", sshd: "SSH settings", unattended_upgrades: "Automatic security updates", fail2ban: "Fail2ban against guessed passwords",
  firewall: "Firewall", docker_daemon: "Docker live restore and log limits", auditd: "Kernel audit of Docker", ipv6_off: "IPv6 off", authorized_key: "Login key",
};

export const changeTitle = (name: string): string => TITLES[name] ?? name.replaceAll("_", " ");

/** The outcome that an event or a part of an answer tells; none where it tells none. */
export function outcomeIn(data: unknown): Outcome | null {
  if (!data || typeof data !== "object") return null;
  const { action, item, outcome, detail, report } = data as Record<string, unknown>;
  const name = action ?? item;
  if (typeof name !== "string" || typeof outcome !== "string") return null;
  return { name, outcome, detail: typeof detail === "string" ? detail : "", report: (report as ChangeReport | null) ?? null };
}

const TONES: Record<string, string> = { planned: "idle", changed: "ok", applied: "ok", already: "ok", undone: "warn", failed: "bad", reverting: "warn", nothing_to_undo: "idle", not_applicable: "idle" };
const SAID: Record<string, string> = { planned: "Planned", changed: "Done and verified", applied: "Done and verified", already: "Holds already", undone: "Taken back", failed: "Failed", reverting: "The host takes it back", nothing_to_undo: "Nothing to take back", not_applicable: "Does not apply" };

export const outcomeTone = (outcome: string): string => TONES[outcome] ?? "idle";
export const outcomeSaid = (outcome: string): string => SAID[outcome] ?? outcome.replaceAll("_", " ");

/** The steps in the result of a command; none where it is no change. */
export function stepsIn(result: unknown): string[] {
  const steps = (result as { steps?: unknown } | null)?.steps;
  return Array.isArray(steps) ? steps.flatMap((step) => (typeof step?.title === "string" ? [step.title] : [])) : [];
}

/** What a command is called: of a change what it is about, and whether it was only planned or was taken back. */
export function commandTitle({ kind, item, mode, state, result }: Command): string {
  if (!item) return words(kind);
  const title = changeTitle(item);
  if (kind === "confirm_change") return `Keep it: ${title}`;
  const report = (state === "succeeded" ? (result ?? {}) : {}) as Partial<ChangeReport>;
  if (mode === "plan") return `Plan: ${title}`;
  if (mode === "undo" || report.undone) return `Taken back: ${title}`;
  return report.already ? `${title}, there already` : title;
}
