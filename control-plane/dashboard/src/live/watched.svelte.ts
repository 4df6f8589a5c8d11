// Work over many servers as the control plane tells it: read once, and again whenever its stream says that something moved.
// The stream is a hint; what is shown was read.
import { Problem, told } from "../api/client";
import { stream } from "./sse";

/** What comes together is read together. */
const TOGETHER_MS = 400;
/** Waits before a stream that broke off is opened again. */
const AGAIN_MS = 2000;

export class Watched<T> {
  value = $state.raw<T | null>(null);
  problem = $state.raw<Problem | null>(null);
  /** Whether its end was told. */
  isLive = $state(false);
  #stop = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly address: string,
    readonly read: () => Promise<T>,
    readonly hasEnded: (value: T) => boolean,
  ) {}

  /** Reads and follows until it is over or `stop` is called. */
  async start(): Promise<void> {
    this.stop();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    await this.load();
    while (!signal.aborted && this.value && !this.hasEnded(this.value)) {
      this.isLive = true;
      try {
        await stream("get", this.address, { signal }, () => this.#soon());
      } catch (error) {
        if (error instanceof Problem && [401, 403, 404].includes(error.status)) break;
      }
      if (signal.aborted) return;
      await this.load();
      if (this.value && this.hasEnded(this.value)) break;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    this.isLive = false;
  }

  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async load(): Promise<void> {
    const { signal } = this.#stop;
    try {
      const value = await this.read();
      if (signal.aborted) return;
      [this.value, this.problem] = [value, null];
    } catch (error) {
      if (!signal.aborted) this.problem = error instanceof Problem ? error : new Problem(0, "unknown", told(error));
    }
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.load();
    }, TOGETHER_MS);
  }
}
