// A key pair is replaced on the server that is entered with it: the new key is seen once, and the server has its turn.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("rotation", async (page) => {
  await claim(page);
  const { name } = await api("GET", `/api/v1/vms/${process.env.MUSTER_TEST_SERVER}`);
  await page.goto(`${URL_OF}/#/keys`);
  await page.getByText("used by 1 server").waitFor();
  await page.getByRole("button", { name: "Rotate production" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("1 server gets the new key").waitFor();
  await dialog.getByRole("button", { name: "Rotate" }).click();
  await page.getByRole("heading", { name: "Keep this key" }).waitFor();
  const key = await page.getByLabel("Private key").innerText();
  assert(/^-----BEGIN OPENSSH PRIVATE KEY-----/.test(key), "the new key is shown");
  await dialog.getByRole("button", { name: "I have kept it" }).click();
  await page.getByRole("heading", { name: "Rotation of production" }).waitFor();
  await page.locator(`li[data-server="${name}"]`).getByText("Rotated", { exact: true }).waitFor({ timeout: 180_000 });
  await page.getByText("Nothing depends on the old key pair any more").waitFor();
  assert(!(await page.content()).includes("BEGIN OPENSSH PRIVATE KEY"), "and not shown again");
  await page.getByRole("link", { name: "SSH keys" }).first().click();
  await page.getByText("used by 1 server").waitFor();
  console.log(`key ${JSON.stringify(key)}`);
});
