// The readiness checks, one by one as they end, and their verdict.
import { assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("preflight", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/web-1/readiness`);
  await page.getByRole("button", { name: "Run the checks" }).click();
  await page.getByRole("heading", { name: "Checking…" }).waitFor();
  await page.getByRole("heading", { name: /^(Qualified|Needs setup|Unqualified)$/ }).waitFor();
  const checks = await page.locator("li[data-check]").evaluateAll((items) => items.map((item) => [item.dataset.check, item.dataset.status]));
  assert(checks.length === 14 && checks.every(([, status]) => ["passed", "warning", "failed"].includes(status)), JSON.stringify(checks));
  await page.goto(`${URL_OF}/#/servers/web-1/commands`);
  await page.getByText("Preflight", { exact: true }).first().waitFor();
});
