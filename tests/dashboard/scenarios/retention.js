// How long measurements are kept: the owner sets it, what can't be is refused in words, and a member only reads it.
import { api, assert, claim, OWNER_PASSWORD, scenario, signIn, URL_OF } from "../browser.js";

await scenario("retention", async (page, { open }) => {
  await claim(page);
  const { organization_id: org } = await api("GET", "/api/v1/me");
  await page.goto(`${URL_OF}/#/quota`);
  await page.getByRole("heading", { name: "How long measurements are kept" }).waitFor();
  await page.getByText("7 d of 7 d at most").waitFor();

  await page.getByLabel("Every second, days").fill("3");
  await page.getByRole("button", { name: "Set the retention" }).click();
  await page.getByText("3 d of 7 d at most").waitFor();
  const kept = await api("GET", `/api/v1/organizations/${org}/metrics-retention`);
  assert(kept.raw_retention_seconds === 3 * 86_400 && kept.own.minute_retention_seconds == null, JSON.stringify(kept));

  await page.getByLabel("Every second, days").fill("3000");
  await page.getByRole("button", { name: "Set the retention" }).click();
  await page.locator("main").getByRole("alert").waitFor();
  assert((await api("GET", `/api/v1/organizations/${org}/metrics-retention`)).raw_retention_seconds === 3 * 86_400, "nothing was changed");

  await api("POST", "/api/v1/users", { name: "mina", password: OWNER_PASSWORD, role: "member" });
  const other = await open();
  await signIn(other, "mina", OWNER_PASSWORD);
  await other.getByLabel("The password you were given").fill(OWNER_PASSWORD);
  await other.getByLabel("New password").fill(`${OWNER_PASSWORD} too`);
  await other.getByLabel("The same again").fill(`${OWNER_PASSWORD} too`);
  await other.getByRole("button", { name: "Set it" }).click();
  await other.getByRole("heading", { name: /^Fleet/ }).waitFor();
  await other.goto(`${URL_OF}/#/quota`);
  await other.getByText("3 d of 7 d at most").waitFor();
  assert((await other.getByRole("button", { name: "Set the retention" }).count()) === 0, "a member sets nothing");

  // Where an engine keeps them, how long is its own business: no figure of the database's is shown for it.
  await page.route("**/metrics-retention", (route) => route.fulfill({ json: { ...kept, kept_by: "engine", raw_retention_seconds: null, minute_retention_seconds: null, hour_retention_seconds: null } }));
  await page.reload();
  await page.getByText("An engine of its own keeps the measurements").waitFor();
  assert((await page.getByText("at most").count()) + (await page.getByRole("button", { name: "Set the retention" }).count()) === 0, "nothing else is said");
});
