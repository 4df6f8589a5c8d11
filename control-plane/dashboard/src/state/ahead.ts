// The server whose page is opened first is asked for while it is still being asked who is signed in: one wait less.
import { get } from "../api/client";
import type { Vm } from "../api/types";

let asked: { key: string; answer: Promise<Vm> } | null = null;

const ask = (key: string): Promise<Vm> => get("/api/v1/vms/{id}", { path: { id: key } });

/** Asks for the server of this name or id already now. Whoever may not know is refused here as anywhere. */
export function askAhead(key: string): void {
  const answer = ask(key);
  answer.catch(() => {});
  asked = { key, answer };
}

/** The server: as it was asked for ahead, once, or asked for now. */
export function serverOf(key: string): Promise<Vm> {
  const ahead = asked?.key === key ? asked.answer : null;
  asked = null;
  return ahead ? ahead.catch(() => ask(key)) : ask(key);
}
