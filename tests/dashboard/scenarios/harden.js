// An item of the profile: its plan and diff, applied and holding, taken back again.
import { assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("harden", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/${process.env.MUSTER_TEST_SERVER}/hardening`);
  const sshd = page.locator('[data-item="sshd"]');
  const standing = (word) => page.locator(`[data-item="sshd"][data-standing="${word}"]`).waitFor();
  await standing("deviates");
  const mark = () => sshd.getByRole("checkbox").check();
  await mark();
  await page.getByRole("button", { name: "Harden the marked (1)…" }).click();
  await page.getByRole("heading", { name: "Harden: what would change" }).waitFor();
  const planned = await page.locator('[data-change="sshd"][data-outcome="planned"]').innerText();
  assert(/PasswordAuthentication no/i.test(planned), `the diff is shown: ${planned}`);
  await page.getByRole("button", { name: "Apply it" }).click();
  await page.locator('[data-change="sshd"][data-outcome="applied"]').waitFor();
  await page.getByRole("heading", { name: "Done", exact: true }).waitFor();
  console.log("applied");
  await page.getByRole("button", { name: "Close" }).click();
  await standing("holds");

  await mark();
  await page.getByRole("button", { name: "Take back (1)…" }).click();
  await page.locator('[data-change="sshd"][data-outcome="undone"]').waitFor();
  await page.getByRole("heading", { name: "Done", exact: true }).waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await standing("deviates");
  // The host has looked again: nothing is under way any more.
  await page.locator("button:enabled", { hasText: "Look now" }).waitFor();
});
