// From a password to a key: seen once, and nowhere afterwards.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("secure", async (page) => {
  await claim(page);
  const settings = `${URL_OF}/#/servers/${process.env.MUSTER_TEST_SERVER}/settings`;
  await page.goto(settings);
  await page.getByRole("button", { name: "Secure…" }).click();
  await page.getByLabel(/Let nobody in by a password/).check();
  await page.getByRole("button", { name: "Make the key and switch" }).click();
  const key = await page.getByLabel("Private key").innerText();
  assert(/^-----BEGIN OPENSSH PRIVATE KEY-----\n[\s\S]+-----END OPENSSH PRIVATE KEY-----\s*$/.test(key), "the whole key is shown");
  await page.getByRole("button", { name: "Copy the key" }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert(copied.trim() === key.trim(), "what is copied is what is shown");
  const secret = key.split("\n")[2];

  await page.keyboard.press("Escape");
  await page.locator("#ssh-h + .chip").getByText("Key", { exact: true }).waitFor();
  assert((await page.getByRole("button", { name: "Secure…" }).count()) === 0, "there is no password to replace any more");
  for (const place of ["settings", "audit", "commands", ""]) {
    await page.goto(`${URL_OF}/#/servers/${process.env.MUSTER_TEST_SERVER}/${place}`);
    await page.reload();
    await page.getByRole("heading", { level: 1 }).waitFor();
    assert(!(await page.content()).includes(secret), `the key is not seen again in ${place || "the overview"}`);
  }
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  assert(!kept.includes(secret), "the browser keeps it nowhere");
  const vm = await api("GET", `/api/v1/vms/${process.env.MUSTER_TEST_SERVER}`);
  assert(vm.ssh_auth_method === "ssh_key", vm.ssh_auth_method);
  console.log(`key ${JSON.stringify(key)}`);
});
