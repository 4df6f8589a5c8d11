// The same by the keyboard alone: from signing in to a green server.
import { assert, SOON, scenario, URL_OF } from "../browser.js";

await scenario("keyboard", async (page) => {
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  // Only what can be operated: a region that has the focus is called by everything in it.
  const focused = () => page.evaluate(() => {
    const element = document.activeElement?.matches("a, button, input, select, textarea, summary") ? document.activeElement : null;
    return (element?.labels?.[0]?.innerText ?? element?.innerText ?? "").trim();
  });
  const tabTo = async (text, most = 60) => {
    for (let steps = 0; steps < most; steps += 1) {
      if ((await focused()).includes(text)) return;
      await press("Tab");
    }
    throw new Error(`the keyboard does not reach "${text}"; it stands on "${await focused()}"`);
  };
  await page.goto(`${URL_OF}/`);
  await page.getByLabel("Name").waitFor();
  await tabTo("owner token");
  await press("Enter");
  await page.getByLabel("Owner token").waitFor();
  await page.waitForFunction(() => document.activeElement?.labels?.[0]?.innerText.includes("Owner token"));
  await page.keyboard.type(process.env.MUSTER_TEST_OWNER_TOKEN);
  for (const field of ["New password", "The same again"]) {
    await tabTo(field);
    await page.keyboard.type("correct horse battery");
  }
  await press("Enter");
  await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
  await press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await press("g", "a");
  await page.getByRole("heading", { name: "Add server" }).waitFor();
  await page.getByLabel(/^Name/).waitFor();
  await tabTo("Name");
  await page.keyboard.type("keyed-1");
  await tabTo("Make the line");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert(outline !== "none", "what has the focus shows it");
  await press("Enter");
  await page.locator("#join-line").waitFor();
  assert((await focused()).includes("Copy the line"), `the focus goes to the line: ${await focused()}`);
  await press("Enter");
  console.log(`line ${await page.evaluate(() => navigator.clipboard.readText())}`);
  await page.locator("section.green").waitFor({ timeout: SOON });
  await tabTo("Open it");
  await press("Enter");
  await page.getByRole("heading", { name: "keyed-1", level: 1 }).waitFor();
  await press("g", "s");
  await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
  await press("/");
  await page.waitForFunction(() => document.activeElement?.id === "filter");
  await page.keyboard.type("keyed");
  await page.getByRole("row").filter({ hasText: "keyed-1" }).waitFor();
  await press("Escape", "Escape");
  await press("j", "Enter");
  await page.getByRole("heading", { name: "keyed-1", level: 1 }).waitFor();
});
