// What status words mean for the eye: a tone, never alone, always beside the word.

export type Tone = "ok" | "warn" | "bad" | "idle";

const TONES: Record<string, Tone> = {
  // health
  healthy: "ok", degraded: "warn", unhealthy: "bad", unknown: "idle", auth_failed: "bad", unreachable: "bad",
  // agents
  online: "ok", offline: "bad", quarantined: "bad", revoked: "idle", retired: "idle", pending: "idle", none: "idle",
  // readiness
  qualified: "ok", needs_setup: "warn", unqualified: "bad", stale: "warn", expired: "idle",
  // Docker and containers
  running: "ok", stopped: "warn", not_installed: "idle", permission_denied: "warn", hung: "bad", exited: "idle", paused: "warn",
  restarting: "warn", dead: "bad", created: "idle", starting: "warn", error: "bad",
  // commands
  queued: "idle", sent: "idle", received: "idle", started: "warn", succeeded: "ok", failed: "bad", refused: "bad",
  cancelled: "idle", indeterminate: "warn",
  // checks, items and capacity
  passed: "ok", warning: "warn", critical: "bad", holds: "ok", drifted: "bad", normal: "ok", over_provisioned: "bad",
  active: "ok", used: "ok", ok: "ok", full: "ok", partial: "warn", experimental: "warn", unsupported: "bad",
};

export const tone = (word: string | null | undefined): Tone => TONES[word ?? ""] ?? "idle";

/** Of how many of a hundred parts of the hardening profile hold. */
export const scoreTone = (score: number): Tone => (score >= 85 ? "ok" : score >= 50 ? "warn" : "bad");

/** Worst first, for lists that begin with what needs somebody. */
export const HEALTH_ORDER = ["unhealthy", "unreachable", "auth_failed", "degraded", "unknown", "healthy"];
