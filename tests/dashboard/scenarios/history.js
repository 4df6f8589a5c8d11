// A week of a server's figures: the whole of it, zoomed into, with the hours in which there was nothing empty.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

const HOUR = 3600;
/** Ends of what was measured, in seconds since the epoch, oldest first: `from-to from-to …`. */
const MEASURED = process.env.MUSTER_TEST_MEASURED.split(" ").map((range) => range.split("-").map(Number));

const value = (page) => page.locator('[data-track="cpu"]').innerText();

/** What the chart says where the pointer is put, as a share of its width. */
async function at(page, share) {
  const box = await page.locator(".plot .u-over").first().boundingBox();
  await page.mouse.move(box.x + box.width * share, box.y + 60);
  await page.waitForTimeout(50);
  return value(page);
}

async function drag(page, from, to) {
  const box = await page.locator(".plot .u-over").first().boundingBox();
  await page.mouse.move(box.x + box.width * from, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * to, box.y + 60, { steps: 8 });
  await page.mouse.up();
}

const loaded = (page) => page.waitForFunction(() => !document.querySelector('section[aria-label="Figures"] .spin'));

await scenario("history", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/host-0`);
  await page.getByRole("button", { name: "7 d" }).click();
  await page.getByRole("button", { name: "7 d", pressed: true }).waitFor();
  await loaded(page);
  const week = 7 * 24 * HOUR;
  const share = (time) => 1 - (Date.now() / 1000 - time) / week;
  for (const [from, to] of MEASURED) {
    const middle = await at(page, share((from + to) / 2));
    assert(/^25(\.0)? %$/.test(middle), `measured then: ${middle}`);
  }
  // Between the two there was nothing, and nothing is drawn into it.
  for (let nth = 1; nth < MEASURED.length; nth += 1) {
    const middle = await at(page, share((MEASURED[nth - 1][1] + MEASURED[nth][0]) / 2));
    assert(middle === "–", `nothing was measured then: ${middle}`);
  }

  // Into the two oldest with the hours between them.
  const [[first], [, last]] = MEASURED;
  const margin = 4 * HOUR;
  await drag(page, share(first - margin), share(last + margin));
  await page.getByRole("button", { name: "Zoom out" }).waitFor();
  await loaded(page);
  const told = await api("GET", `/api/v1/monitoring/servers/host-0/series?metric=host_cpu_seconds_total&label=mode=user&from=${first - margin}&to=${last + margin}`);
  const [series] = told.series;
  const [some, none] = [series.avg.filter((one) => one !== null).length, series.avg.filter((one) => one === null).length];
  assert(some > 0 && none > 0, `${some} steps with values, ${none} without`);
  const seen = [];
  for (let nth = 1; nth < 40; nth += 1) seen.push(await at(page, nth / 40));
  const edges = seen.map((one) => one !== "–").reduce((count, is, nth, all) => count + (nth > 0 && is !== all[nth - 1] ? 1 : 0), 0);
  assert(edges === 4, `two stretches of values with gaps around them: ${seen.join(" ")}`);
  await page.getByRole("button", { name: "Zoom out" }).click();
  await page.getByRole("button", { name: "7 d", pressed: true }).waitFor();
  assert((await page.getByRole("alert").filter({ hasText: /./ }).count()) === 0, "nothing went wrong");
});
