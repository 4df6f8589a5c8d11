// What a host says of itself is text and nothing else. The host is simulated, and says the worst in every field.
import { assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("hostile", async (page) => {
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("dialog", (dialog) => {
    asked.push(`dialog ${dialog.message()}`);
    void dialog.dismiss();
  });
  await claim(page);
  for (const tab of ["", "/facts", "/containers", "/containers/0123456789ab", "/settings", "/audit"]) {
    await page.goto(`${URL_OF}/#/servers/hostile${tab}`);
    await page.getByRole("heading", { name: "hostile", level: 1 }).waitFor();
    await page.waitForTimeout(500);
  }
  await page.goto(`${URL_OF}/#/servers/hostile/containers`);
  await page.getByText("<img src=x onerror=").first().waitFor();
  await page.getByRole("link", { name: "<img src=x onerror=" }).click();
  await page.getByRole("heading", { name: "<img src=x onerror=", level: 2 }).waitFor();
  await page.goto(`${URL_OF}/#/servers/hostile/facts`);
  await page.getByText("<script>").first().waitFor();
  const seen = await page.evaluate(() => ({
    run: window.owned ?? null,
    images: document.querySelectorAll("img, iframe, main script").length,
    steering: /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText),
  }));
  assert(seen.run === null, "nothing a host said has run");
  assert(seen.images === 0, "nothing a host said became an element");
  assert(!seen.steering, "nothing a host said steers the text around it");
  const strange = asked.filter((url) => !url.startsWith(URL_OF));
  assert(strange.length === 0, `nothing was asked from elsewhere: ${strange}`);
});
