// Nothing jumps: each page is opened anew, as somebody does who was sent its address, and what the browser itself counts as a
// shift of the layout stays below what an eye notices. What is loading says so, to the eye and in words.
import { assert, claim, scenario, URL_OF } from "../browser.js";

/** A tenth of what browsers call good. */
const MOST = 0.01;
const SERVER = ["", "/containers", "/readiness", "/hardening", "/environments", "/commands", "/facts", "/audit", "/settings"];
const PAGES = ["/", "/add", "/add/ssh", "/runs", "/projects", "/members", "/quota", "/keys", "/audit", "/you", ...SERVER.map((tab) => `/servers/web-1${tab}`)];

const watch = () => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
      if (!hadRecentInput) window.shifts.push({ value, what: sources.map(({ node }) => (node?.nodeType === 1 ? node.outerHTML : node?.textContent)?.slice(0, 120)) });
    }
  }).observe({ type: "layout-shift", buffered: true });
};

/** Opens a page anew, and answers with how far things on it moved. */
async function opened(open, state, size, path) {
  const page = await open({ state, size });
  await page.addInitScript(watch);
  await page.goto(`${URL_OF}/#${path}`);
  await page.locator("main h1").first().waitFor();
  await page.waitForFunction(() => ![...document.querySelectorAll("main [role=status]")].some((one) => /^Loading/.test(one.textContent ?? "")));
  // A second's figures may still move something.
  await page.waitForTimeout(1500);
  const shifts = await page.evaluate(() => window.shifts);
  await page.context().close();
  return { total: shifts.reduce((sum, { value }) => sum + value, 0), shifts };
}

/** While its answer is on its way a page shows an outline, and says what it waits for. */
async function loading(page) {
  let go = () => {};
  const held = new Promise((resolve) => (go = resolve));
  await page.route("**/members?*", (route) => held.then(() => route.continue()));
  await page.goto(`${URL_OF}/#/members`);
  await page.getByRole("status").getByText("Loading members").waitFor();
  await page.waitForFunction(() => Number(getComputedStyle(document.querySelector(".loading .card")).opacity) === 1);
  assert(await page.locator(".loading .skeleton").first().isVisible(), "an outline stands where the list will");
  go();
  await page.getByRole("row").filter({ hasText: "owner" }).waitFor();
  assert((await page.locator(".loading").count()) === 0, "and goes when it is there");
}

await scenario("steady", async (page, { open }) => {
  await claim(page);
  const state = await page.context().storageState();
  const faults = [];
  for (const size of ["wide", "phone"]) {
    for (const path of PAGES) {
      // A host whose health changes meanwhile moves something once; a page that jumps does so each time.
      let seen = await opened(open, state, size, path);
      if (seen.total > MOST) seen = await opened(open, state, size, path);
      if (seen.total > MOST) faults.push(`${path} at ${size}: ${seen.total.toFixed(3)}: ${JSON.stringify(seen.shifts)}`);
    }
  }
  assert(faults.length === 0, faults.join("\n"));
  await loading(page);
});
