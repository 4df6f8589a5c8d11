// The machine changes networks: what the browser had under way is dropped, and the page goes on by itself.
import { addDevices, assert, claim, hold, scenario, URL_OF } from "../browser.js";

let networks = 0;

/** Changes the networks while a request for `wanted`, made by `go`, is on its way. */
async function roam(page, wanted, go) {
  hold(true);
  const [asked, dropped] = [page.waitForRequest(wanted), page.waitForEvent("requestfailed", (request) => wanted.test(request.url()))];
  await go();
  await asked;
  networks += 1;
  addDevices(`road${networks}`, `side${networks}`, `198.51.100.${networks}/24`);
  const request = await dropped;
  hold(false);
  assert(/NETWORK_CHANGED/.test(request.failure().errorText), `it was dropped for the change: ${request.failure().errorText}`);
}

await scenario("roam", async (page) => {
  await claim(page);
  const row = page.getByRole("row").filter({ hasText: "web-1" });
  await row.getByText("%").first().waitFor();
  const fine = async () => assert((await page.getByRole("alert").filter({ hasText: /./ }).count()) === 0, "the page has nothing to complain of");

  await roam(page, /assets\/Members/, () => page.getByRole("link", { name: "Members" }).click());
  await page.getByRole("row").filter({ hasText: "owner" }).waitFor();
  await fine();
  await page.goto(`${URL_OF}/#/`);
  await row.waitFor();
  await roam(page, /\/members\?/, () => page.getByRole("link", { name: "Members" }).click());
  await page.getByRole("row").filter({ hasText: "owner" }).waitFor();
  await fine();

  await page.goto(`${URL_OF}/#/`);
  const before = await row.innerText();
  await page.waitForFunction((before) => [...document.querySelectorAll("[role=row]")].some((row) => row.innerText.includes("web-1") && row.innerText !== before), before);
  await page.locator(".table:not(.old)").waitFor();
  await fine();
});
