// One run of the readiness checks, as it is told.
import { told } from "../../api/client";
import type { CheckResult } from "../../api/types";
import { stream } from "../../live/sse";

export interface Verdict {
  status: string;
  passed: number;
  failed: number;
  warnings: number;
}

export class Preflight {
  checks = $state.raw<CheckResult[]>([]);
  running = $state(false);
  message = $state<string | null>(null);
  verdict = $state.raw<Verdict | null>(null);
  problem = $state<string | null>(null);
  #stop: AbortController | null = null;

  async run(id: string): Promise<void> {
    this.#stop?.abort();
    const stop = (this.#stop = new AbortController());
    [this.checks, this.verdict, this.problem, this.running, this.message] = [[], null, null, true, "Beginning"];
    try {
      await stream("post", `/api/v1/vms/${encodeURIComponent(id)}/preflight`, { signal: stop.signal }, (sent) => {
        const data = sent.data as Record<string, never>;
        if (sent.event === "status") this.message = data.message ?? null;
        else if (sent.event === "check") this.checks = [...this.checks.filter((check) => check.name !== (data as unknown as CheckResult).name), data as unknown as CheckResult];
        else if (sent.event === "complete") this.verdict = data as unknown as Verdict;
        else if (sent.event === "error") this.problem = [data.message ?? data.detail, data.remedy].filter(Boolean).join(" ");
      });
      if (!this.verdict && !this.problem && !stop.signal.aborted) this.problem = "The run broke off. It goes on at the host: look again in a moment.";
    } catch (error) {
      this.problem = told(error);
    }
    this.running = false;
    this.message = null;
  }

  stop(): void {
    this.#stop?.abort();
  }
}
