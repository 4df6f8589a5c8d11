// Debian's chromium, driven against a real control plane. What a scenario needs to know comes in the environment.
import { execFileSync } from "node:child_process";
import { connect, createServer } from "node:net";
import { chromium } from "playwright-core";

export const URL_OF = process.env.MUSTER_TEST_URL ?? "https://127.0.0.1:8443";
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
/** For whatever should be at once: an end to waiting in vain on a machine that is very busy. */
export const SOON = Number(process.env.MUSTER_TEST_PATIENCE_MS ?? 60_000);
export const OWNER_PASSWORD = "correct horse battery";
/** A phone's browser has no scroll bar that takes room, and fingers. */
const SIZES = { wide: { viewport: { width: 1440, height: 900 } }, phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } };

/** `ip` with these arguments, in this scenario's own network. */
const ip = (line) => execFileSync("ip", line.split(" "));

/** Adds a pair of devices, the first with this address and no other: one that comes by itself later is a change of its own. */
export function addDevices(one, other, address) {
  ip(`link add ${one} type veth peer name ${other}`);
  for (const device of [one, other]) ip(`link set ${device} addrgenmode none`);
  ip(`address add ${address} dev ${one}`);
  for (const device of [one, other]) ip(`link set ${device} up`);
}

const carried = new Set();
let held = false;

/** Whether what the browser sends stays on its way, from now on. */
export function hold(on) {
  held = on;
  for (const from of carried) if (on) from.pause(); else from.resume();
}

/** Makes the network that this runs in: a way to the control plane through a socket, and devices as an online machine has. */
async function network(socket) {
  ip("link set lo up");
  addDevices("net0", "net1", "192.0.2.10/24");
  const server = createServer((from) => {
    const to = connect(socket);
    carried.add(from);
    from.on("data", (bytes) => to.write(bytes));
    to.on("data", (bytes) => from.write(bytes));
    for (const [one, other] of [[from, to], [to, from]]) {
      one.on("error", () => other.destroy());
      // What was sent before the end still arrives.
      one.on("close", () => other.end());
    }
    from.on("close", () => carried.delete(from));
    if (held) from.pause();
  });
  await new Promise((resolve) => server.listen(Number(new URL(URL_OF).port), "127.0.0.1", resolve));
  return server;
}

/** Runs `scenario` with a browser and its first page; whatever the page logs as an error is a failure of its own. */
export async function scenario(name, run) {
  const way = process.env.MUSTER_TEST_WAY ? await network(process.env.MUSTER_TEST_WAY) : null;
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
  const faults = [];
  const pages = [];
  try {
    // The faults of a page that is somebody else's are theirs.
    const open = async ({ size = "wide", scheme = "light", state, foreign = false } = {}) => {
      const context = await browser.newContext({
        ...SIZES[size], colorScheme: scheme, ignoreHTTPSErrors: true, reducedMotion: "reduce", storageState: state,
        permissions: ["clipboard-read", "clipboard-write"],
      });
      const page = await context.newPage();
      pages.push(page);
      page.setDefaultTimeout(SOON);
      if (foreign) return page;
      page.on("pageerror", (error) => faults.push(`${error.name}: ${error.message}`));
      page.on("console", (message) => {
        // An answer that is no success is the page's to show; the browser logs each besides.
        if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(message.text())) faults.push(message.text());
      });
      return page;
    };
    await run(await open(), { open, browser });
    if (faults.length > 0) throw new Error(`the page reported:\n${faults.join("\n")}`);
    console.log(`ok ${name}`);
  } catch (error) {
    for (const page of pages) {
      const text = await page.locator("body").innerText({ timeout: 2000 }).catch(() => "nothing");
      console.error(`${page.url()} showed:\n${text.slice(0, 3000)}\n${faults.join("\n")}`);
    }
    // Last, since the end is what is kept of a long story.
    console.error(`not ok ${name}\n${error.stack ?? error}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
    way?.close();
  }
}

/** Sets the owner's password with the token, as on the first start, and ends on the fleet. */
export async function claim(page, password = OWNER_PASSWORD) {
  await page.goto(`${URL_OF}/`);
  await page.getByRole("button", { name: /owner token/ }).click();
  await page.getByLabel("Owner token").fill(process.env.MUSTER_TEST_OWNER_TOKEN);
  await page.getByLabel("New password").fill(password);
  await page.getByLabel("The same again").fill(password);
  await page.getByRole("button", { name: "Set it and sign in" }).click();
  await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
}

export async function signIn(page, name, password = OWNER_PASSWORD) {
  await page.goto(`${URL_OF}/`);
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** A call of the API with the owner's token. */
export async function api(method, path, body) {
  const response = await fetch(`${URL_OF}${path}`, {
    method,
    headers: { authorization: `Bearer ${process.env.MUSTER_TEST_OWNER_TOKEN}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

export function assert(holds, what) {
  if (!holds) throw new Error(what);
}
