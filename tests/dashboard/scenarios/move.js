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
  // And back by dragging it: the servers it may go to show while it is held.
  const held = await page.getByRole("row").filter({ hasText: "live" }).boundingBox();
  await page.mouse.move(held.x + 20, held.y + held.height / 2);
  await page.mouse.down();
  await page.mouse.move(held.x + 60, held.y + held.height / 2 + 10, { steps: 5 });
  const target = page.getByRole("listitem").filter({ hasText: name(first) });
  await target.waitFor();
  const onto = await target.boundingBox();
  await page.mouse.move(onto.x + onto.width / 2, onto.y + onto.height / 2, { steps: 5 });
  await page.mouse.up();
  await page.getByText(`live is on ${name(first)}.`).waitFor();
  // And by the select.
  await where.selectOption(second);
  await page.getByText(`live is on ${name(second)}.`).waitFor();

  await remove(first);
  await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
  await page.getByText(`${name(first)} is deleted.`).waitFor();
  assert((await page.locator(`a[href="#/servers/${first}"]`).count()) === 0, "it is gone from the fleet");
  const gone = await api("GET", "/api/v1/vms");
  assert(!gone.some((vm) => vm.id === first) && gone.some((vm) => vm.id === second), "only the one is deleted");
});
