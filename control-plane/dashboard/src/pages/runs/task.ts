// What a fleet run asks of each server, in words.
import type { FleetRun, FleetTask } from "../../api/types";
import type { Part } from "../../ui/Progress.svelte";
import { changeTitle } from "../server/change";

export const FIXES = ["install_docker", "start_docker", "add_to_docker_group", "configure_sudo", "free_disk", "free_ports"];
export const ITEMS = ["sshd", "unattended_upgrades", "fail2ban", "firewall", "docker_daemon", "auditd", "ipv6_off"];

export function taskTitle(task: FleetTask): string {
  if (task.kind === "preflight") return "Check readiness";
  if (task.kind === "refresh_facts") return "Read the facts anew";
  const title = changeTitle(task.action ?? task.item ?? task.kind);
  return task.undo ? `Take back: ${title}` : task.kind === "harden" ? `Harden: ${title}` : title;
}

export function parts(run: FleetRun): Part[] {
  return [
    { word: run.dry_run ? "planned" : "succeeded", count: run.succeeded, tone: "ok" },
    { word: "failed", count: run.failed, tone: "bad" },
    { word: "running", count: run.running, tone: "warn" },
    { word: "waiting", count: run.waiting, tone: "idle" },
    { word: "skipped", count: run.skipped, tone: "idle" },
  ];
}

export const size = (run: FleetRun): number => run.succeeded + run.failed + run.running + run.waiting + run.skipped;

export function stateSaid(run: FleetRun): string {
  if (run.state === "running") return "Running";
  if (run.state === "stopped") return "Stopped: more failed than may";
  if (run.state === "cancelled") return run.ended_at ? "Cancelled" : "Cancelled, the last ones come to their end";
  return "Done";
}

/** The word whose tone a run has. */
export const stateWord = (run: FleetRun): string => (run.state === "running" ? "started" : run.state === "stopped" || run.failed > 0 ? "failed" : run.state === "cancelled" ? "cancelled" : "succeeded");
