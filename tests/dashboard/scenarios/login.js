// A terminal is signed in: its address opened, its code compared, approved; its token stands among one's own.
import { assert, claim, scenario, URL_OF } from "../browser.js";

const [ADDRESS, CODE] = process.env.MUSTER_TEST_LOGIN.split(" ");

await scenario("login", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/login/made-up`);
  await page.getByText("This request is of no use any more").waitFor();
  await page.goto(ADDRESS);
  await page.getByText(CODE, { exact: true }).waitFor();
  await page.getByLabel("Good for").selectOption("7");
  await page.getByRole("button", { name: /approve/ }).first().click();
  await page.getByText("Go back to your terminal").waitFor();
  await page.getByRole("link", { name: "your tokens" }).click();
  await page.getByText(/^muster on /).waitFor();
  await page.goto(ADDRESS);
  await page.getByRole("button", { name: /The codes are the same/ }).click();
  await page.getByText("approved before").waitFor();
  assert(!(await page.content()).includes("mst_"), "no token is shown");
});
