// The fleet's table: filters with completion, wrong ones with their column, kept ones, sorting, and the same for many.
// Then what everybody has of their own: tokens; and the record, verified.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

const rows = (page) => page.locator('[role="row"] a[href*="/servers/"]');
const names = (page) => rows(page).allInnerTexts();

async function filters(page) {
  const filter = page.getByRole("combobox", { name: "Filter servers" });
  await filter.fill("");
  await filter.pressSequentially("hardening_s");
  await page.getByRole("option", { name: /hardening_score/ }).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert((await filter.inputValue()) === "hardening_score", `the name is completed: ${await filter.inputValue()}`);
  await filter.fill('name.startsWith("spare") && regio == "x"');
  const problem = page.locator("#filter-problem");
  await problem.getByText(/column 29/).waitFor();
  const [text, caret] = (await problem.locator("pre").innerText()).split("\n");
  assert(text[caret.indexOf("^")] === "r" && text.slice(caret.indexOf("^")).startsWith("regio "), `the caret stands under the wrong name:\n${text}\n${caret}`);
  await filter.fill('name.startsWith("spare")');
  await page.waitForFunction(() => document.querySelectorAll('[role="row"] a[href*="/servers/"]').length === 2);
  await page.getByRole("button", { name: "Save this filter" }).click();
  await page.reload();
  await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
  await filter.fill("");
  await page.waitForFunction(() => document.querySelectorAll('[role="row"] a[href*="/servers/"]').length === 3);
  await page.getByRole("button", { name: "Filters" }).click();
  await page.getByRole("button", { name: 'name.startsWith("spare")' }).click();
  await page.waitForFunction(() => document.querySelectorAll('[role="row"] a[href*="/servers/"]').length === 2);
  await filter.fill("");
}

async function sorted(page) {
  // The host tells by itself within two minutes.
  await api("POST", "/api/v1/vms/web-1/facts/refresh");
  const score = page.getByRole("row").filter({ hasText: "web-1" }).locator(".score");
  await page.waitForFunction(() => /^\d+$/.test([...document.querySelectorAll('[role="row"]')].find((row) => row.textContent.includes("web-1"))?.querySelector(".score")?.textContent ?? ""));
  const { score: told } = await api("GET", "/api/v1/vms/web-1/hardening");
  assert((await score.innerText()) === String(told), `the score is the host's: ${told}`);
  const title = page.getByRole("columnheader", { name: /Score/ });
  await title.getByRole("button").click();
  await page.waitForFunction(() => document.querySelector(".score[aria-sort]")?.getAttribute("aria-sort") === "ascending");
  assert((await names(page)).at(-1) === "web-1", `what is not known comes first: ${await names(page)}`);
  await title.getByRole("button").click();
  assert((await names(page))[0] === "web-1", `and last the other way: ${await names(page)}`);
}

async function many(page) {
  await page.getByLabel("Select web-1").check();
  await page.getByRole("region", { name: "The marked servers" }).getByRole("button", { name: "Check readiness" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Done.").waitFor();
  await dialog.getByText(/Qualified|Needs setup|Unqualified/).waitFor();
  await dialog.getByRole("button", { name: "Close" }).last().click();
  await page.getByRole("button", { name: "Harden…" }).click();
  await dialog.getByText("This is the plan.").waitFor();
  await dialog.getByRole("button", { name: "Close" }).last().click();
  const made = await api("GET", "/api/v1/vms/web-1/commands");
  assert(!JSON.stringify(made).includes('"mode":"apply"'), "a plan changes nothing");
}

async function tokens(page) {
  await page.goto(`${URL_OF}/#/you`);
  await page.getByRole("button", { name: "New token" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("script");
  await dialog.getByRole("button", { name: "Make it" }).click();
  const token = (await page.getByLabel("Token", { exact: true }).innerText()).trim();
  const asks = () => fetch(`${URL_OF}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } }).then((answer) => answer.status);
  assert((await asks()) === 200, "the token that was shown works");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Revoke script" }).click();
  await page.getByRole("button", { name: "Revoke script" }).waitFor({ state: "detached" });
  assert((await asks()) === 401, "and no more once it is revoked");
}

async function record(page) {
  await page.goto(`${URL_OF}/#/audit`);
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("is whole and signed").waitFor();
}

await scenario("fleet", async (page) => {
  await claim(page);
  for (const name of ["spare-1", "spare-2"]) {
    await api("POST", "/api/v1/vms", { name, ipv4_address: "203.0.113.10", ssh_username: "root", ssh_password: "correct horse" });
  }
  await page.waitForFunction(() => document.querySelectorAll('[role="row"] a[href*="/servers/"]').length === 3);
  await filters(page);
  await sorted(page);
  await many(page);
  await tokens(page);
  await record(page);
});
