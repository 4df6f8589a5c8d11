// A live chart moves each second, and zooms into what was.
import { assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("live", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/web-1`);
  await page.getByRole("heading", { name: "web-1", level: 1 }).waitFor();
  const cpu = page.locator('[data-track="cpu"]');
  await page.waitForFunction(() => /%/.test(document.querySelector('[data-track="cpu"]')?.textContent ?? ""));
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
