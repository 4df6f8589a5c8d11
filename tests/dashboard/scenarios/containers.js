// A container's own charts: they move each second, and reach into what was.
import { assert, claim, scenario, URL_OF } from "../browser.js";

const NAME = process.env.MUSTER_TEST_CONTAINER;

await scenario("containers", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/web-1/containers`);
  const row = page.getByRole("row").filter({ hasText: NAME });
  await row.getByText("%").first().waitFor();
  await row.getByRole("link", { name: NAME }).click();
  await page.getByRole("heading", { name: NAME, level: 2 }).waitFor();
  for (const title of ["CPU", "Memory", "Network", "Block I/O"]) await page.getByRole("heading", { name: title, exact: true }).waitFor();
  const shows = (track, unit) => page.waitForFunction(([track, unit]) => new RegExp(`\\d.* ${unit}`).test(document.querySelector(`[data-track="${track}"]`)?.textContent ?? ""), [track, unit]);
  const all = () => Promise.all([shows("c_cpu", "%"), shows("c_memory", "[KMG]iB"), shows("c_rx", "k?B/s"), shows("c_read", "k?B/s")]);
  await all();
  const drawn = () => page.evaluate(() => document.querySelector("canvas").toDataURL());
  const first = await drawn();
  await page.waitForFunction((first) => document.querySelector("canvas").toDataURL() !== first, first);
  await page.getByRole("button", { name: "1 h" }).click();
  await page.getByRole("button", { name: "1 h", pressed: true }).waitFor();
  await all();
  assert((await page.getByRole("alert").filter({ hasText: /./ }).count()) === 0, "nothing went wrong");
  await page.getByRole("link", { name: "Containers" }).last().click();
  await row.waitFor();
});
