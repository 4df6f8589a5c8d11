// The control plane goes away: the page says so, keeps what it last knew, and goes on by itself. Whoever started this stops
// and starts it when told to.
import { violations } from "../axe.js";
import { assert, claim, scenario } from "../browser.js";

await scenario("away", async (page) => {
  await claim(page);
  const row = page.getByRole("row").filter({ hasText: "web-1" });
  await row.getByText("%").first().waitFor();
  console.log("stop now");
  const banner = page.getByRole("alert").getByText("What you see is from");
  await banner.waitFor();
  assert(await row.getByText("%").first().isVisible(), "the last values stay");
  assert(await page.locator(".table.old").isVisible(), "and are marked as old");
  await page.getByRole("heading", { level: 1 }).getByText("Old values").waitFor();
  const found = await violations(page);
  assert(found.length === 0, `what is old can still be read\n  ${found.join("\n  ")}`);
  console.log("start now");
  await banner.waitFor({ state: "hidden" });
  await page.locator(".table:not(.old)").waitFor();
  assert((await page.getByText("Old values").count()) === 0, "nothing is called old any more");
  assert(await row.getByText("%").first().isVisible(), "the fleet is there again, without a reload");
});
