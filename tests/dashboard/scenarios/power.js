// The power button: what it does is said before it is done, a host that does not allow it says so, and a reboot is seen
// until the server is back.
import { assert, claim, scenario, URL_OF } from "../browser.js";

const [ID, BARRED] = process.env.MUSTER_TEST_SERVERS.split(" ");

await scenario("power", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/${BARRED}`);
  const power = page.getByRole("button", { name: "Power" });
  await power.click();
  await page.getByText("This host's own policy does not accept").waitFor();
  assert(await page.getByRole("button", { name: "Reboot" }).isDisabled(), "what the host refuses can't be chosen");

  await page.goto(`${URL_OF}/#/servers/${ID}/commands`);
  await power.click();
  await page.getByRole("button", { name: "Reboot" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("what runs on it is interrupted").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await power.click();
  await page.getByRole("button", { name: "Reboot" }).click();
  await dialog.getByRole("button", { name: "Reboot" }).click();
  const reboot = page.locator("main li").filter({ hasText: "Reboot" });
  await reboot.getByText("Started", { exact: true }).waitFor();
  console.log("rebooting now");
  await reboot.getByText("Succeeded", { exact: true }).waitFor();
  await page.getByText(/agent .* online/).waitFor();
});
