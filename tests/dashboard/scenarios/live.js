// A live chart moves each second, is whole soon after it was opened, and zooms into what was.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

/** Seconds shown, and those before the page was opened that had not arrived yet when it read what was. */
const [SHOWN, LATE] = [300, 10];

/** Answers the next question about the past as if the last seconds of it had not arrived. */
async function holdBack(page) {
  const held = { count: 0 };
  await page.route(
    (url) => url.pathname.endsWith("/series"),
    (route) => {
      held.count += 1;
      const url = new URL(route.request().url());
      url.searchParams.set("to", String(Number(url.searchParams.get("to")) - LATE));
      return route.continue({ url: url.href });
    },
    { times: 1 },
  );
  return held;
}

/** What the chart, whose end is about a second ago, says of a moment, in seconds since the epoch. */
async function at(page, time) {
  const box = await page.locator(".plot .u-over").first().boundingBox();
  await page.mouse.move(box.x + box.width * (1 - (Date.now() / 1000 - 1 - time) / SHOWN), box.y + 60);
  await page.waitForTimeout(50);
  return page.locator('[data-track="cpu"]').innerText();
}

/** Of how many of the last seconds there is a value. */
async function measured() {
  const now = Math.floor(Date.now() / 1000);
  const { series } = await api("GET", `/api/v1/monitoring/servers/web-1/series?metric=host_memory_available_bytes&step=1s&from=${now - 60}&to=${now}`);
  return series[0]?.avg.filter((value) => value !== null).length ?? 0;
}

await scenario("live", async (page) => {
  await claim(page);
  while ((await measured()) < LATE) await page.waitForTimeout(250);
  const held = await holdBack(page);
  await page.goto(`${URL_OF}/#/servers/web-1`);
  const opened = Date.now() / 1000;
  await page.getByRole("heading", { name: "web-1", level: 1 }).waitFor();
  const cpu = page.locator('[data-track="cpu"]');
  await page.waitForFunction(() => /%/.test(document.querySelector('[data-track="cpu"]')?.textContent ?? ""));
  // The first second was told.
  const [live, middle] = [Date.now() / 1000, opened - LATE / 2];
  const seen = [await at(page, middle)];
  while (!/%/.test(seen.at(-1)) && Date.now() / 1000 < live + 8) seen.push(await at(page, middle));
  assert(held.count === 1, "the past was asked for, and its end held back");
  assert(/%/.test(seen.at(-1)), `what was late is missing: ${seen.join(" ")}`);
  await page.mouse.move(0, 0);

  // Each frame that is drawn differs from the one before: a second has passed.
  const drawn = () => page.evaluate(() => document.querySelector("canvas").toDataURL());
  let [before, moved] = [await drawn(), 0];
  for (let second = 0; second < 8; second += 1) {
    await page.waitForTimeout(1000);
    const after = await drawn();
    if (after !== before) moved += 1;
    before = after;
  }
  assert(moved >= 5, `of eight seconds the chart moved in ${moved}`);
  assert(await cpu.isVisible(), "the value stands beside it as text");

  const box = await page.locator(".plot .u-over").first().boundingBox();
  await page.mouse.move(box.x + box.width * 0.9, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.99, box.y + 40, { steps: 5 });
  await page.mouse.up();
  await page.getByRole("button", { name: "Zoom out" }).click();
  await page.getByRole("button", { name: "1 h" }).click();
  await page.getByRole("button", { name: "1 h", pressed: true }).waitFor();
  await page.waitForFunction(() => /%/.test(document.querySelector('[data-track="memory"]')?.textContent ?? ""));
  assert((await page.getByRole("alert").filter({ hasText: /./ }).count()) === 0, "nothing went wrong");
});
