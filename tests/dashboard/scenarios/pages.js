// Every page, light and dark: axe finds no violation. With MUSTER_SCREENS, a picture of each at both widths as well.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { assert, claim, OWNER_PASSWORD, scenario, signIn, URL_OF } from "../browser.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENS = process.env.MUSTER_SCREENS;
const PAGES = [
  ["fleet", "/"], ["add", "/add"], ["add-ssh", "/add/ssh"], ["server", "/servers/web-1"], ["containers", "/servers/web-1/containers"],
  ["readiness", "/servers/web-1/readiness"], ["hardening", "/servers/web-1/hardening"], ["environments", "/servers/web-1/environments"],
  ["commands", "/servers/web-1/commands"], ["facts", "/servers/web-1/facts"], ["server-audit", "/servers/web-1/audit"], ["settings", "/servers/web-1/settings"],
  ["projects", "/projects"], ["members", "/members"], ["quota", "/quota"], ["keys", "/keys"], ["audit", "/audit"], ["you", "/you"],
];
const SIZES = SCREENS ? ["wide", "phone"] : ["wide"];

async function check(page, name) {
  // The page's policy lets nothing in from outside; the checker comes in beside it.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const found = violations.map((one) => `${one.id}: ${one.help}\n    ${one.nodes.slice(0, 4).map((node) => `${node.html}\n      ${node.failureSummary?.replaceAll("\n", " ")}`).join("\n    ")}`);
  assert(found.length === 0, `${name}\n  ${found.join("\n  ")}`);
}

await scenario("pages", async (first, { open }) => {
  await first.goto(`${URL_OF}/`);
  await first.getByRole("heading", { name: "Sign in" }).waitFor();
  await claim(first);
  const faults = [];
  for (const size of SIZES) {
    for (const scheme of ["light", "dark"]) {
      const page = await open({ size, scheme });
      const look = async (name) => {
        try {
          if (size === "wide") await check(page, `${name}, ${scheme}`);
        } catch (fault) {
          faults.push(fault.message);
        }
        if (SCREENS && (scheme === "light" || ["fleet", "server"].includes(name))) {
          await page.screenshot({ path: join(SCREENS, `${name}-${size === "wide" ? 1440 : 390}${scheme === "dark" ? "-dark" : ""}.png`) });
        }
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (overflow > 0) faults.push(`${name} at ${size}: ${overflow} px wider than the window`);
      };
      await page.goto(`${URL_OF}/`);
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await look("sign-in");
      await signIn(page, "owner", OWNER_PASSWORD);
      await page.getByRole("heading", { name: /^Fleet/ }).waitFor();
      for (const [name, path] of PAGES) {
        await page.goto(`${URL_OF}/#${path}`);
        await page.locator("main h1").first().waitFor();
        // Until what is read has been read: the page shows no "Loading" any more.
        await page.waitForFunction(() => ![...document.querySelectorAll("main [role=status]")].some((one) => /^Loading/.test(one.textContent ?? "")));
        await page.waitForTimeout(SCREENS && ["server", "containers", "fleet"].includes(name) ? 12_000 : 400);
        await look(name);
      }
    }
  }
  assert(faults.length === 0, faults.join("\n"));
});
