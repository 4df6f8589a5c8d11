// A bare server: its checks, the plan with its diffs, everything fixed, and ready.
import { assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("fix", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/${process.env.MUSTER_TEST_SERVER}/readiness`);
  await page.getByRole("button", { name: "Run the checks" }).click();
  await page.getByRole("heading", { name: "Needs setup" }).waitFor();
  await page.getByRole("button", { name: /^Fix all/ }).click();
  await page.getByRole("heading", { name: "Fix: what would change" }).waitFor();
  const planned = page.locator("[data-change]");
  assert((await planned.count()) === 4, `four fixes are planned: ${await planned.allInnerTexts()}`);
  const sudo = await page.locator('[data-change="configure_sudo"]').innerText();
  assert(/NOPASSWD/.test(sudo), `the rule is seen before it is written: ${sudo}`);
  assert((await page.locator('[data-change][data-outcome="planned"]').count()) === 4, "nothing is made yet");

  await page.getByRole("button", { name: "Apply it" }).click();
  await page.getByLabel("What the host says").waitFor();
  await page.getByRole("heading", { name: "Done", exact: true }).waitFor({ timeout: 300_000 });
  const made = await page.locator('[data-change][data-outcome="changed"], [data-change][data-outcome="already"]').count();
  assert(made === 4, `all four are made and verified: ${await planned.allInnerTexts()}`);
  // Closing looks again by itself.
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByRole("heading", { name: "Qualified", exact: true }).waitFor();
  assert((await page.locator('[data-status="failed"]').count()) === 0, "no check fails any more");
  await page.goto(`${URL_OF}/#/`);
  await page.locator(".ready").getByText("Qualified").waitFor();
});
