// An environment moves between two servers that are ready, and a server is deleted only once it is empty.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("move", async (page) => {
  await claim(page);
  const [first, second] = process.env.MUSTER_TEST_SERVERS.split(" ");
  const vms = await api("GET", "/api/v1/vms");
  const name = (id) => vms.find((vm) => vm.id === id).name;
  await page.goto(`${URL_OF}/#/projects`);
  await page.getByRole("button", { name: "New project" }).click();
  await page.getByLabel("Name").fill("shop");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("button", { name: "Add environment" }).click();
  const form = page.getByRole("dialog");
  await form.getByLabel("Name", { exact: true }).fill("live");
  await form.getByLabel("CPU cores").fill("0.5");
  await form.getByLabel("Memory, MB").fill("128");
  await form.getByLabel("Disk, GB").fill("1");
  await form.getByLabel("Server").selectOption(first);
  await form.getByRole("button", { name: "Add it" }).click();
  await page.getByLabel("Server of live").waitFor();

  const remove = async (id) => {
    await page.goto(`${URL_OF}/#/servers/${id}/settings`);
    await page.getByRole("button", { name: "Delete…" }).click();
    const asked = page.getByRole("dialog");
    assert(await asked.getByRole("button", { name: "Delete", exact: true }).isDisabled(), "the name has to be typed");
    await asked.getByLabel(/to go on/).fill(name(id));
    await asked.getByRole("button", { name: "Delete", exact: true }).click();
    return asked;
  };
  const refused = await remove(first);
  await refused.getByRole("alert").getByText(/environment/).waitFor();
  await page.keyboard.press("Escape");

  await page.goto(`${URL_OF}/#/servers/${first}/environments`);
  await page.getByLabel("Mark live").check();
  await page.getByLabel("Move to").selectOption(second);
  await page.getByRole("button", { name: "Move…" }).click();
  await page.getByRole("button", { name: "Move", exact: true }).click();
  await page.getByRole("heading", { name: "No environments here" }).or(page.getByText("No environments here")).first().waitFor();
  await page.goto(`${URL_OF}/#/projects`);
  const where = page.getByLabel("Server of live");
  await page.waitForFunction((id) => document.querySelector('select[aria-label="Server of live"]')?.value === id, second);
  // And back by the select alone.
  await where.selectOption(first);
  await page.getByText(`live is on ${name(first)}.`).waitFor();
  await where.selectOption(second);
  await page.getByText(`live is on ${name(second)}.`).waitFor();

  await remove(first);
  await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
  await page.getByText(`${name(first)} is deleted.`).waitFor();
  assert((await page.locator(`a[href="#/servers/${first}"]`).count()) === 0, "it is gone from the fleet");
  const gone = await api("GET", "/api/v1/vms");
  assert(!gone.some((vm) => vm.id === first) && gone.some((vm) => vm.id === second), "only the one is deleted");
});
