// How one came to this page. Everything lives behind `#`; two paths are given out by the control plane itself: a link to a
// server that lets its reader look, and the way back from an OpenID provider.

export interface Arrival {
  /** The token of a link. */
  token: string | null;
  /** Whether a second factor's code is still due after a provider let somebody in. */
  secondFactor: boolean;
  /** Where to go once signed in. */
  returnTo: string | null;
}

/** Reads the address, and leaves one without secrets in its place. */
export function arrive(): Arrival {
  const server = /^\/servers\/([^/]+)$/.exec(location.pathname);
  const query = new URLSearchParams(location.search);
  const token = server ? new URLSearchParams(location.hash.slice(1)).get("token") : null;
  const secondFactor = location.pathname === "/sign-in" && query.get("second_factor") === "oidc";
  const wanted = query.get("return_to");
  const returnTo = wanted && /^\/(?![/\\])/.test(wanted) ? wanted : null;
  if (server) history.replaceState(null, "", `/#/servers/${server[1]}`);
  else if (location.pathname !== "/") history.replaceState(null, "", "/");
  return { token, secondFactor, returnTo };
}
