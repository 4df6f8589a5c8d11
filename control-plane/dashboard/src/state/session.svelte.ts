// Who is signed in, and what they may do.
import { call, get, Problem, send, setBearer, setCsrf, whenSignedOut } from "../api/client";
import type { Me, Permission, Session } from "../api/types";

class SessionState {
  /** `undefined` until it is known, `null` where nobody is signed in. */
  current = $state.raw<Session | null | undefined>(undefined);
  me = $state.raw<Me | null>(null);
  /** Why the control plane could not be asked. */
  problem = $state.raw<Problem | null>(null);
  /** Whether a session that there was is over. */
  ended = $state(false);
  #permissions = $derived(new Set<string>(this.me?.permissions ?? []));

  constructor() {
    whenSignedOut(() => {
      if (!this.current) return;
      this.ended = true;
      this.#set(null, null);
    });
  }

  may(permission: Permission): boolean {
    return this.#permissions.has(permission);
  }

  /** Looks at what the holder of a link's token may see, without a session. */
  async follow(token: string): Promise<void> {
    setBearer(token);
    try {
      const me = await get("/api/v1/me");
      this.#set({ organization_id: me.organization_id, user_id: me.id, user_name: me.name, must_change_password: false, csrf_token: "", id: "" } as Session, me);
    } catch (error) {
      setBearer(null);
      if (error instanceof Problem && error.status !== 401) this.problem = error;
      else {
        this.ended = true;
        this.#set(null, null);
      }
    }
  }

  /** The rest of signing in through a provider: the second factor's code. */
  async complete(code: string): Promise<void> {
    await send("post", "/api/v1/oidc/second-factor", { body: { totp_code: code } });
    await this.load();
  }

  /** Asks who is signed in. */
  async load(): Promise<void> {
    this.problem = null;
    try {
      const [session, me] = await Promise.all([get("/api/v1/session"), get("/api/v1/me")]);
      this.#set(session, me);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) this.#set(null, null);
      else this.problem = error instanceof Problem ? error : new Problem(0, "unknown", String(error));
    }
  }

  async signIn(name: string, password: string, code: string | null): Promise<void> {
    const session = await call("post", "/api/v1/session", { body: { name, password, totp_code: code } as never });
    setCsrf(session.csrf_token);
    this.ended = false;
    this.#set(session, await get("/api/v1/me"));
  }

  /** Gives the owner of `token` a password, and signs in with it. */
  async claim(token: string, password: string): Promise<void> {
    const headers = { authorization: `Bearer ${token}` };
    const me = await get("/api/v1/me", { headers });
    await call("put", "/api/v1/me/password", { headers, body: { new_password: password } as never });
    await this.signIn(me.name, password, null);
  }

  async changePassword(current: string, next: string): Promise<void> {
    await call("put", "/api/v1/me/password", { body: { current_password: current, new_password: next } as never });
    await this.load();
  }

  async choose(organization: string): Promise<void> {
    const session = await call("patch", "/api/v1/session", { body: { organization_id: organization } });
    this.#set(session, await get("/api/v1/me"));
  }

  async signOut(): Promise<void> {
    // Whoever followed a link has no session to end.
    if (this.current?.id) await call("delete", "/api/v1/session");
    setBearer(null);
    this.ended = false;
    this.#set(null, null);
  }

  async reload(): Promise<void> {
    this.me = await get("/api/v1/me");
  }

  #set(session: Session | null, me: Me | null): void {
    setCsrf(session?.csrf_token ?? null);
    this.me = me;
    this.current = session;
  }
}

export const session = new SessionState();
