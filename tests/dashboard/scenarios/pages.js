// Every page, light and dark, wide and as a phone shows it: axe finds no violation. With MUSTER_SCREENS, a picture of each.
import { join } from "node:path";
import { violations } from "../axe.js";
import { api, assert, claim, OWNER_PASSWORD, scenario, signIn, URL_OF } from "../browser.js";
import { pictureFacts } from "../pictured.js";

const SCREENS = process.env.MUSTER_SCREENS;
const PAGES = [
  ["fleet", "/"], ["add", "/add"], ["add-ssh", "/add/ssh"], ["server", "/servers/web-1"], ["containers", "/servers/web-1/containers"], ["container", "/servers/web-1/containers/…"],
  ["readiness", "/servers/web-1/readiness"], ["hardening", "/servers/web-1/hardening"], ["environments", "/servers/web-1/environments"],
  ["commands", "/servers/web-1/commands"], ["facts", "/servers/web-1/facts"], ["server-audit", "/servers/web-1/audit"], ["settings", "/servers/web-1/settings"],
  ["projects", "/projects"], ["members", "/members"], ["quota", "/quota"], ["keys", "/keys"], ["rotation", "/keys/$pair/rotation"],
  ["runs", "/runs"], ["run", "/runs/$run"], ["run-new", "/runs/new?task=harden"], ["login", "/login/$request"], ["audit", "/audit"], ["you", "/you"],
];
const SIZES = ["wide", "phone"];

/** Dark colours are pictured where there is most to see. */
const isPictured = (name, scheme) => Boolean(SCREENS) && (scheme === "light" || ["fleet", "server"].includes(name));

async function check(page, name) {
  const found = await violations(page);
  assert(found.length === 0, `${name}\n  ${found.join("\n  ")}`);
}

/** Links to the page one is on that a narrow window leaves out of sight. */
const unseen = (page) => page.evaluate(() => [...document.querySelectorAll('nav [aria-current="page"]')].flatMap((link) => {
  const { left, right, width } = link.getBoundingClientRect();
  return width > 0 && (left < -1 || right > innerWidth + 1) ? [link.textContent.trim()] : [];
}));

/** A pair that was replaced, and one that waits to be. */
async function rotatedPair() {
  const { organization_id: org } = await api("GET", "/api/v1/me");
  const made = await api("POST", `/api/v1/organizations/${org}/ssh-keys`, { name: "production", description: "Every server of the shop", key_type: "ed25519" });
  await api("POST", `/api/v1/organizations/${org}/ssh-keys`, { name: "staging", key_type: "ed25519" });
  const begun = await api("POST", `/api/v1/organizations/${org}/ssh-keys/${made.id}/rotate`, {});
  return begun.new_key_pair_id;
}

/** Runs over the fleet that have ended: a readiness check, and a dry run that can be applied. */
async function runs() {
  await api("POST", "/api/v1/fleet/runs", { task: { kind: "preflight" }, filter: 'name == "web-1"', dry_run: false });
  const dry = await api("POST", "/api/v1/fleet/runs", { task: { kind: "harden", item: "docker_daemon" }, servers: ["web-1"], dry_run: true });
  while (!(await api("GET", `/api/v1/fleet/runs/${dry.id}`)).ended_at) await new Promise((resolve) => setTimeout(resolve, 200));
  return dry.id;
}

async function asked() {
  const { request } = await api("POST", "/api/v1/login-requests", { name: "muster on laptop", token_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" });
  return request;
}

await scenario("pages", async (first, { open }) => {
  await first.goto(`${URL_OF}/`);
  await first.getByRole("heading", { name: "Sign in" }).waitFor();
  await claim(first);
  const { facts } = await api("GET", "/api/v1/vms/web-1/facts");
  const container = facts.docker.containers.find(({ name }) => name === "shop_worker").id.slice(0, 12);
  const places = { pair: await rotatedPair(), run: await runs(), request: await asked() };
  await api("POST", "/api/v1/users", { name: "mina", password: "for the first time only", role: "member" });
  const faults = [];
  for (const size of SIZES) {
    for (const scheme of ["light", "dark"]) {
      const page = await open({ size, scheme });
      const look = async (name, of = page) => {
        try {
          await check(of, `${name}, ${scheme}, ${size}`);
        } catch (fault) {
          faults.push(fault.message);
        }
        if (isPictured(name, scheme)) {
          if (name === "facts") await pictureFacts(of);
          await of.screenshot({ path: join(SCREENS, `${name}-${size === "wide" ? 1440 : 390}${scheme === "dark" ? "-dark" : ""}.png`) });
        }
        const hidden = await unseen(of);
        if (hidden.length > 0) faults.push(`${name} at ${size}: the link to ${hidden} is out of sight`);
        const overflow = await of.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (overflow > 0) faults.push(`${name} at ${size}: ${overflow} px wider than the window`);
      };
      await page.goto(`${URL_OF}/`);
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await look("sign-in");
      await page.getByRole("button", { name: /owner token/ }).click();
      await page.getByRole("heading", { name: "Set the owner's password" }).waitFor();
      await look("first-run");
      await page.getByRole("button", { name: "I have a password" }).click();
      await signIn(page, "owner", OWNER_PASSWORD);
      await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
      const other = await open({ size, scheme });
      await signIn(other, "mina", "for the first time only");
      await other.getByRole("heading", { name: "Choose your own password" }).waitFor();
      await look("new-password", other);
      await other.context().close();
      for (const [name, path] of PAGES) {
        await page.goto(`${URL_OF}/#${path.replace("…", container).replace(/\$(\w+)/, (_, name) => places[name])}`);
        await page.locator("main h1").first().waitFor();
        // Until what is read has been read: the page shows no "Loading" any more.
        await page.waitForFunction(() => ![...document.querySelectorAll("main [role=status]")].some((one) => /^Loading/.test(one.textContent ?? "")));
        await page.waitForTimeout(isPictured(name, scheme) && ["server", "containers", "container", "fleet"].includes(name) ? 8_000 : 400);
        await look(name);
      }
    }
  }
  assert(faults.length === 0, faults.join("\n"));
});
