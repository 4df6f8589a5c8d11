// What the dashboard costs a browser, from the browser's own records: a cold load, live series, and a long fleet scrolled.
// Prints one line of JSON; tests/benches/dashboard.rs makes a table of it.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, claim, scenario, SOON, URL_OF } from "./browser.js";
import { frames, load, traced } from "./trace.js";

const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const SERVERS = number("MUSTER_BENCH_SERVERS", 300);
const LOADS = number("MUSTER_BENCH_LOADS", 1);
const LIVE_SECONDS = number("MUSTER_BENCH_LIVE_SECONDS", 3);
const SCROLL_SECONDS = number("MUSTER_BENCH_SCROLL_SECONDS", 2);
/** A wheel turned as fast as a hand can, and three times that; pixels a second. */
const SPEEDS = [3000, 9000];
const ROW = '[role="row"] a[href*="/servers/"]';
const PAGES = { fleet: [`${URL_OF}/`, ROW], server: [`${URL_OF}/#/servers/web-1`, '[data-track="cpu"]'] };
/** Prometheus' own page beside them, in this scenario's network, without TLS: ready once something can be asked. */
const PEER = "127.0.0.1:9090";
const PEER_PAGES = { prometheus: [`http://${PEER}/classic/graph`, 'textarea[name="expr"]'] };

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Loads a page as somebody does who is signed in and has never been here, and measures until `ready` is there. */
async function cold(open, browser, state, [address, ready]) {
  const page = await open({ state, foreign: !address.startsWith(URL_OF) });
  await page.addInitScript((ready) => {
    new MutationObserver((_, observer) => {
      if (!document.querySelector(ready)) return;
      performance.mark("ready");
      observer.disconnect();
    }).observe(document, { childList: true, subtree: true });
  }, ready);
  const events = await traced(browser, page, async () => {
    await page.goto(address);
    await page.locator(ready).first().waitFor({ state: "attached" });
    // What comes afterwards counts, and may not hold the reader up either.
    await page.waitForTimeout(1500);
  });
  await page.context().close();
  return load(events, "ready");
}

/** Runs `work` while there is a Prometheus. */
async function besidePeer(work) {
  const folder = mkdtempSync(join(tmpdir(), "peer-"));
  const peer = spawn("/usr/bin/prometheus", [
    "--config.file=/dev/null", `--storage.tsdb.path=${join(folder, "data")}`, `--web.listen-address=${PEER}`,
  ], { stdio: "ignore" });
  const ended = new Promise((resolve) => peer.on("exit", resolve));
  try {
    for (const until = Date.now() + SOON; !(await fetch(`http://${PEER}/-/ready`).then((answer) => answer.ok, () => false)); ) {
      assert(peer.exitCode === null && Date.now() < until, "Prometheus is not ready");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await work();
  } finally {
    peer.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Shares of a core, in percent, that the page's process and the whole browser use while `seconds` pass. */
async function share(browser, page, seconds) {
  const session = await browser.newBrowserCDPSession();
  const used = async () => new Map((await session.send("SystemInfo.getProcessInfo")).processInfo.map((one) => [one.id, one]));
  const [before, begun] = [await used(), performance.now()];
  await page.waitForTimeout(seconds * 1000);
  const [after, over] = [await used(), (performance.now() - begun) / 1000];
  const spent = [...after.values()].map((one) => ({ type: one.type, share: (100 * (one.cpuTime - (before.get(one.id)?.cpuTime ?? 0))) / over }));
  await session.detach();
  const pages = spent.filter((one) => one.type === "renderer").map((one) => one.share);
  return { page: Math.max(0, ...pages), browser: spent.reduce((sum, one) => sum + one.share, 0) };
}

async function scrolled(browser, page, speed) {
  const session = await page.context().newCDPSession(page);
  await page.evaluate(() => scrollTo(0, 400));
  const events = await traced(browser, page, async () => {
    await page.evaluate(() => performance.mark("begin"));
    const gesture = { x: 700, y: 500, yDistance: -speed * SCROLL_SECONDS, speed, gestureSourceType: "mouse" };
    await session.send("Input.synthesizeScrollGesture", gesture);
    await page.evaluate(() => performance.mark("end"));
  });
  await session.detach();
  const rows = await page.locator(ROW).count();
  assert(rows > 0 && rows < 150, `${rows} rows stand in the page, whatever the fleet's length`);
  return { speed, ...frames(events, "begin", "end") };
}

await scenario("measure", async (first, { open, browser }) => {
  await claim(first);
  await first.waitForFunction(() => document.querySelectorAll(".spark path:not(.none)").length >= 20, undefined, { timeout: SOON });
  const state = await first.context().storageState();
  const result = { loads: {}, live: [], scrolls: [] };
  await besidePeer(async () => {
    const loads = {};
    for (let nth = 0; nth < LOADS; nth += 1)
      for (const [name, page] of Object.entries({ ...PAGES, ...PEER_PAGES }))
        (loads[name] ??= []).push(await cold(open, browser, state, page));
    for (const [name, all] of Object.entries(loads)) {
      const { requests, bytes } = all[0];
      result.loads[name] = { requests, bytes, interactive: median(all.map((one) => one.interactive)) };
    }
  });
  console.log("fill now");
  await first.waitForFunction((servers) => fetch(`/api/v1/vms?limit=1&skip=${servers - 1}`).then((answer) => answer.json()).then((list) => list.length === 1), SERVERS, { timeout: SOON, polling: 500 });
  await first.goto(`${URL_OF}/?long`);
  await first.getByRole("heading", { name: `Fleet ${SERVERS.toLocaleString("en")}` }).waitFor({ timeout: SOON });
  await first.waitForFunction(() => document.querySelectorAll(".spark path:not(.none)").length >= 20, undefined, { timeout: SOON });
  const sparks = await first.locator(".spark path:not(.none)").count();
  result.live.push({ what: "fleet", series: sparks, ...(await share(browser, first, LIVE_SECONDS)) });
  for (const speed of SPEEDS) result.scrolls.push(await scrolled(browser, first, speed));
  await first.goto(PAGES.server[0]);
  await first.waitForFunction(() => /%/.test(document.querySelector('[data-track="cpu"]')?.textContent ?? ""));
  result.live.push({ what: "server", series: await first.locator("[data-track]").count(), ...(await share(browser, first, LIVE_SECONDS)) });
  console.log(`figures ${JSON.stringify(result)}`);
});
