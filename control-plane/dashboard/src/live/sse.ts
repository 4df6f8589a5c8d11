// Server-sent events over fetch: unlike EventSource it can show where to go on, send a change's token and be aborted.
import { send, Problem, OFFLINE, type Method, type Call } from "../api/client";
import { parse } from "../text/clean";

export interface Sent {
  id: string | null;
  event: string;
  data: unknown;
}

/** A stream that says nothing for so long is dead: the control plane speaks every 15 s. */
const SILENCE_MS = 40_000;
/** Longest block between two events; a longer one ends the stream. */
const MAX_BLOCK = 4 << 20;

/** Splits a stream's text into its events. */
export class Blocks {
  #rest = "";

  take(text: string): Sent[] {
    this.#rest += text;
    if (this.#rest.length > MAX_BLOCK) throw new Problem(0, "too_large", "The stream sent more than it may.");
    const blocks = this.#rest.split(/\r?\n\r?\n/);
    this.#rest = blocks.pop() ?? "";
    return blocks.flatMap((block) => {
      let [event, id, data]: [string, string | null, string[]] = ["message", null, []];
      for (const line of block.split(/\r?\n/)) {
        const colon = line.indexOf(":");
        if (colon <= 0) continue;
        const value = line.slice(colon + 1).replace(/^ /, "");
        const field = line.slice(0, colon);
        if (field === "event") event = value;
        else if (field === "id") id = value;
        else if (field === "data") data.push(value);
      }
      return data.length > 0 ? [{ id, event, data: parse(data.join("\n")) }] : [];
    });
  }
}

/** Follows `address` until it ends, is aborted (returns) or fails (throws a `Problem`). */
export async function stream(method: Method, address: string, call: Call, each: (sent: Sent) => void, opened?: () => void): Promise<void> {
  const silence = new AbortController();
  const signal = call.signal ? AbortSignal.any([call.signal, silence.signal]) : silence.signal;
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await send(method, address, { ...call, signal, headers: { ...call.headers, accept: "text/event-stream" } });
    opened?.();
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const blocks = new Blocks();
    for (;;) {
      const read = await reader?.read();
      if (!read || read.done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      for (const sent of blocks.take(read.value)) each(sent);
    }
  } catch (error) {
    if (call.signal?.aborted) return;
    throw error instanceof Problem ? error : new Problem(0, "offline", OFFLINE);
  } finally {
    clearTimeout(timer);
  }
}
