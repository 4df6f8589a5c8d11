// First run, sign-in, a wrong password, the second factor, and signing out.
import { createHmac } from "node:crypto";
import { readQr } from "../qr.js";
import { assert, claim, OWNER_PASSWORD, scenario, signIn, URL_OF } from "../browser.js";

function code(secret, at = Date.now()) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replace(/=+$/, "")].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const hash = createHmac("sha1", key).update(counter).digest();
  const offset = hash[19] & 15;
  return String((hash.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

await scenario("sign-in", async (page) => {
  await page.goto(`${URL_OF}/`);
  await page.getByRole("button", { name: /owner token/ }).click();
  await page.getByLabel("Owner token").fill("mst_wrong");
  await page.getByLabel("New password").fill(OWNER_PASSWORD);
  await page.getByLabel("The same again").fill(OWNER_PASSWORD);
  await page.getByRole("button", { name: "Set it and sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "not valid" }).waitFor();
  await claim(page);

  const cookies = await page.context().cookies();
  assert(cookies.length === 1 && cookies[0].httpOnly && cookies[0].secure && cookies[0].sameSite === "Strict", `a cookie scripts can't read: ${JSON.stringify(cookies)}`);
  assert((await page.evaluate(() => document.cookie)) === "", "scripts see no cookie");

  await page.goto(`${URL_OF}/#/you`);
  await page.getByRole("button", { name: "Turn on…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Your password").fill(OWNER_PASSWORD);
  await dialog.getByRole("button", { name: "Go on" }).click();
  const secret = (await dialog.locator("p.mono").innerText()).replaceAll(" ", "");
  const scanned = new URL(await readQr(dialog.getByRole("img", { name: "QR code for your app" })));
  assert(scanned.protocol === "otpauth:" && scanned.searchParams.get("secret") === secret, `a camera reads the same secret: ${scanned}`);
  await dialog.getByLabel("Code", { exact: true }).fill(code(secret));
  await dialog.getByRole("button", { name: "Turn it on" }).click();
  const recovery = (await dialog.locator("pre").innerText()).trim().split("\n");
  assert(recovery.length === 10, `ten recovery codes: ${recovery.length}`);
  await dialog.getByRole("button", { name: "I keep them" }).click();

  await page.getByRole("button", { name: "Sign out" }).first().click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await signIn(page, "owner", "not the password");
  await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
  await signIn(page, "owner");
  await page.getByLabel("Code of your second factor").fill(recovery[0]);
  await page.getByRole("button", { name: "Sign in" }).click();
  // Still on the page it was opened with.
  await page.getByRole("navigation", { name: "Main" }).waitFor();
});
