// The same on many servers, from the fleet: a dry run in waves, then made; and at once by the marked servers' own buttons. What
// the host did it signed.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

const ID = process.env.MUSTER_TEST_SERVER;

await scenario("runs", async (page) => {
  await claim(page);
  const { name } = await api("GET", `/api/v1/vms/${ID}`);
  await page.goto(`${URL_OF}/#/`);
  await page.getByLabel(`Select ${name}`).check();
  await page.getByRole("button", { name: "In waves…" }).click();
  await page.getByRole("heading", { name: "New run" }).waitFor();
  await page.locator("#what").selectOption("fix");
  await page.getByLabel("Which fix").selectOption("configure_sudo");
  await page.getByText("On the 1 server that you marked").waitFor();
  await page.getByRole("button", { name: "Show what would be done" }).click();
  await page.getByText("Dry run", { exact: true }).waitFor();
  const server = page.locator(`li[data-server="${name}"]`);
  await server.getByText("Planned", { exact: true }).waitFor();
  let made = JSON.stringify(await api("GET", `/api/v1/commands?server=${ID}&kind=change`));
  assert(made.includes('"applied":false') && !made.includes('"applied":true'), `a plan changes nothing: ${made}`);

  await page.getByRole("button", { name: "Apply to 1 server…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Apply" }).click();
  await page.getByRole("link", { name: "Its dry run" }).waitFor();
  await server.getByText("Succeeded", { exact: true }).waitFor();
  await page.locator("header").getByText("Done", { exact: true }).waitFor();
  made = JSON.stringify(await api("GET", `/api/v1/commands?server=${ID}&kind=change&state=succeeded`));
  assert(made.includes('"applied":true'), `it is made: ${made}`);

  await server.getByRole("link", { name }).click();
  await page.getByText(`Signed by ${name}, verified`).first().waitFor();
  await page.goto(`${URL_OF}/#/audit`);
  await page.getByLabel("Action").fill("COMMAND_FINISHED");
  await page.keyboard.press("Enter");
  await page.getByText(`Signed by ${name}, verified`).first().waitFor();

  await page.goto(`${URL_OF}/#/`);
  await page.getByLabel(`Select ${name}`).check();
  await page.getByRole("button", { name: "Check readiness" }).click();
  await dialog.getByText("Done.", { exact: true }).waitFor();
  await dialog.getByText("Needs setup").waitFor();
  await dialog.getByRole("button", { name: "Close" }).last().click();
  await page.getByRole("button", { name: "Fix…" }).click();
  await dialog.getByText("This is the plan.").waitFor();
  await dialog.getByRole("button", { name: "Apply to 1 server" }).click();
  await dialog.getByText("Done.", { exact: true }).waitFor({ timeout: 300_000 });
  await dialog.getByText("Done and verified").first().waitFor();
  await dialog.getByRole("button", { name: "Close" }).last().click();

  await page.goto(`${URL_OF}/#/runs`);
  await page.locator("main li").nth(1).waitFor();
  assert((await page.locator("main li").count()) === 2, "both runs are listed");
});
