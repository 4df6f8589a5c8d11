// Add a server by the one line and see it turn green. Whoever started this runs the line that is printed.
import { assert, claim, scenario, URL_OF } from "../browser.js";

await scenario("add-by-line", async (page) => {
  await claim(page);
  await page.getByRole("link", { name: "Add the first server" }).click();
  await page.getByLabel(/^Name/).fill("web-1");
  await page.getByRole("button", { name: "Make the line" }).click();
  const line = await page.locator("#join-line").innerText();
  await page.getByRole("button", { name: "Copy the line" }).click();
  assert((await page.evaluate(() => navigator.clipboard.readText())) === line, "the line that is shown is what is copied");
  await page.locator("li[data-state=now]").filter({ hasText: "Waiting for the line" }).waitFor();
  const before = (await page.locator("section.card").first().boundingBox()).height;
  console.log(`line ${line}`);
  for (const step of ["The line was run", "Agent connected", "Facts are here", "First sample"]) {
    await page.locator("li[data-state=done]").filter({ hasText: step }).waitFor();
  }
  await page.locator("section.green").waitFor();
  assert(before > 100, "the card stands before it turns green");
  await page.getByRole("link", { name: "Open it" }).click();
  await page.getByRole("heading", { name: "web-1", level: 1 }).waitFor();
  await page.goto(`${URL_OF}/#/`);
  await page.getByRole("row").filter({ hasText: "web-1" }).getByText("%").first().waitFor();
});
