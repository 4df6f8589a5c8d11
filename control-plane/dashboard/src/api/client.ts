// One way to the control plane: typed by its own OpenAPI document, every answer cleaned, every failure a `Problem` with the
// control plane's own words.
import { parse } from "../text/clean";
import type { paths } from "./schema";

export type Method = "get" | "post" | "put" | "patch" | "delete";
type Operation<P extends keyof paths, M extends Method> = paths[P] extends Record<M, infer O> ? O : never;
export type PathsWith<M extends Method> = { [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never }[keyof paths];
type Json<R> = R extends { content: { "application/json": infer B } } ? B : never;
type Answer<O> = O extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202)]> : never;
type PathOf<O> = O extends { parameters: { path: infer V } } ? V : undefined;
type QueryOf<O> = O extends { parameters: { query?: infer V } } ? V : undefined;
type BodyOf<O> = O extends { requestBody?: infer B } ? (B extends { content: { "application/json": infer J } } ? J : undefined) : undefined;

export interface Call<V = unknown, Q = unknown, B = unknown> {
  path?: V;
  query?: Q;
  body?: B;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

/** An answer that is no success, or none at all (`status` 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly requestId: string | null = null,
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
  }

  get isOffline(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }

  /** The column the detail points at, from 1. */
  get column(): number | null {
    const found = /column (\d+)/.exec(this.detail);
    return found ? Number(found[1]) : null;
  }
}

export const OFFLINE = "The control plane does not answer.";
/** Waits before what was dropped on its way is asked for again, in milliseconds: laptops change networks. */
const AGAIN_MS = [200, 1000];

let csrfToken: string | null = null;
let bearer: string | null = null;
let onSignedOut: () => void = () => {};

/** What every change sends, once signed in. */
export function setCsrf(token: string | null): void {
  csrfToken = token;
}

/** Shows `token` instead of a session: for who follows a link that lets its reader look. It is kept in this page alone. */
export function setBearer(token: string | null): void {
  bearer = token;
}

/** Called when the session is over. */
export function whenSignedOut(then: () => void): void {
  onSignedOut = then;
}

export function url(path: string, values: Record<string, unknown> = {}, query: Record<string, unknown> = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(values[name] ?? "")));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value != null && value !== "") search.set(name, String(value));
  return search.size > 0 ? `${filled}?${search}` : filled;
}

/** The raw exchange, for streams; a failure is a `Problem`. */
export async function send(method: Method, address: string, call: Call = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json", ...call.headers };
  if (bearer && !headers.authorization) headers.authorization = `Bearer ${bearer}`;
  if (call.body !== undefined) headers["content-type"] = "application/json";
  if (method !== "get" && csrfToken && !headers.authorization) headers["x-csrf-token"] = csrfToken;
  let response: Response;
  try {
    response = await fetch(address, {
      method: method.toUpperCase(),
      headers,
      body: call.body === undefined ? null : JSON.stringify(call.body),
      signal: call.signal ?? null,
      credentials: headers.authorization ? "omit" : "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (call.signal?.aborted) throw error;
    throw new Problem(0, "offline", OFFLINE);
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response: Response): Promise<Problem> {
  let body: { detail?: unknown; code?: unknown; request_id?: unknown } = {};
  try {
    body = parse(await response.text()) as typeof body;
  } catch {
    // A proxy's page, or an answer cut short: the status has to do.
  }
  const retry = Number(response.headers.get("retry-after"));
  const text = (value: unknown, otherwise: string) => (typeof value === "string" && value ? value : otherwise);
  const found = new Problem(
    response.status,
    text(body.code, "unknown"),
    text(body.detail, `The control plane answered ${response.status}.`),
    text(body.request_id, "") || null,
    Number.isFinite(retry) && retry > 0 ? retry : null,
  );
  if (found.status === 401 && found.code === "unauthenticated") onSignedOut();
  return found;
}

async function json(response: Response, signal?: AbortSignal): Promise<unknown> {
  let text: string;
  try {
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "offline", OFFLINE);
  }
  return text ? parse(text) : undefined;
}

/** Does `run` again, twice at most, where no answer came. Only for what changes nothing. */
export async function again<T>(run: () => Promise<T>, isDropped: (error: unknown) => boolean): Promise<T> {
  for (const wait of AGAIN_MS) {
    try {
      return await run();
    } catch (error) {
      if (!isDropped(error)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return run();
}

/** Asks for the JSON at an address. */
export function read(address: string, call: Call = {}): Promise<unknown> {
  const dropped = (error: unknown) => error instanceof Problem && error.status === 0 && !call.signal?.aborted;
  return again(async () => json(await send("get", address, call), call.signal), dropped);
}

/** A call of a route in the document. */
export async function call<M extends Method, P extends PathsWith<M>>(
  method: M,
  path: P,
  call: Call<PathOf<Operation<P, M>>, QueryOf<Operation<P, M>>, BodyOf<Operation<P, M>>> = {},
): Promise<Answer<Operation<P, M>>> {
  const address = url(path as string, (call.path ?? {}) as Record<string, unknown>, (call.query ?? {}) as Record<string, unknown>);
  const answer = method === "get" ? read(address, call) : send(method, address, call).then((response) => json(response));
  return (await answer) as Answer<Operation<P, M>>;
}

export const get = <P extends PathsWith<"get">>(path: P, options?: Call<PathOf<Operation<P, "get">>, QueryOf<Operation<P, "get">>, undefined>) =>
  call("get", path, options as never);

/** Everything of a list that comes in pages. */
export async function pages<T>(read: (skip: number, limit: number) => Promise<T[]>, each: (page: T[]) => void, first = 100, rest = 1000): Promise<void> {
  let [skip, limit] = [0, first];
  for (;;) {
    const page = await read(skip, limit);
    each(page);
    if (page.length < limit) return;
    skip += page.length;
    limit = rest;
  }
}

/** What to tell somebody about a failure. */
export function told(error: unknown): string {
  if (error instanceof Problem) return error.detail;
  return error instanceof Error ? error.message : String(error);
}
