// Add a server over SSH: test the connection, look at the host's key, confirm it, and read how the agent is installed.
import { assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("add-by-ssh", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/add/ssh`);
  await page.getByLabel(/^Address/).fill(process.env.MUSTER_TEST_ADDRESS);
  await page.getByLabel(/^Name/).fill("ssh-1");
  await page.getByLabel("Password", { exact: true }).last().fill(process.env.MUSTER_TEST_PASSWORD);
  await page.getByRole("button", { name: "Test connection" }).click();
  const shown = await page.locator("#fingerprint").innerText();
  assert(shown === process.env.MUSTER_TEST_FINGERPRINT, `the host's own key is shown: ${shown}`);
  const add = page.getByRole("button", { name: "Add it and install the agent" });
  assert(await add.isDisabled(), "nothing goes on before the key is confirmed");
  await page.getByLabel("Yes, this is its key").check();
  await add.click();
  await page.locator("section.green").waitFor();
  const log = await page.getByLabel("Installation log").innerText();
  assert(/Uploading the agent/.test(log) && /first sample/i.test(log), log);
});
