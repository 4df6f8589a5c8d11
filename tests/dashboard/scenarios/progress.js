// What a host says of a command that somebody else gave: live in the server's list, kept when it has ended, and on record.
import { api, assert, claim, scenario, URL_OF } from "../browser.js";

const ID = process.env.MUSTER_TEST_SERVER;

/** Asks for a run on the server by another hand than the page's, and waits for its end. */
async function asked(what, body) {
  const headers = { authorization: `Bearer ${process.env.MUSTER_TEST_OWNER_TOKEN}`, "content-type": "application/json", accept: "text/event-stream" };
  const response = await fetch(`${URL_OF}/api/v1/vms/${ID}/${what}`, { method: "POST", headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  assert(response.ok && text.includes("event: complete"), text);
}

await scenario("progress", async (page) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/${ID}/commands`);

  // Given outside of this page; it is heard of there.
  const fixing = asked("preflight/fix", { actions: ["install_docker"] });
  const running = page.locator("main li").filter({ has: page.getByText("Started", { exact: true }) });
  const log = running.getByRole("log", { name: "What the host says" });
  await log.filter({ hasText: /docker/i }).waitFor();
  // A page that comes while it runs shows what was said before, and goes on.
  await page.reload();
  await log.filter({ hasText: /docker/i }).waitFor();
  await fixing;

  const change = page.locator("main li").filter({ has: page.getByText("Install Docker", { exact: true }) }).filter({ has: page.getByText("Succeeded", { exact: true }) }).first();
  const said = change.getByRole("log", { name: "What the host says" });
  await said.waitFor();
  const shown = await said.innerText();
  const [{ id }] = (await api("GET", `/api/v1/vms/${ID}/commands`)).filter(({ kind, result }) => kind === "change" && result?.applied);
  const { progress } = await api("GET", `/api/v1/commands/${id}`);
  const last = progress.lines.at(-1).line;
  assert(shown.trim().endsWith(last.trim()), `the last line is there when it has ended: ${last} in ${shown}`);

  await page.reload();
  await change.getByText("What the host said").click();
  await said.filter({ hasText: last }).waitFor();

  // A readiness check is a line, too, whether it was seen live or is asked for.
  await asked("preflight");
  const preflight = page.locator("main li").filter({ has: page.getByText("Preflight", { exact: true }) }).first();
  const checked = preflight.getByRole("log", { name: "What the host says" });
  await checked.or(preflight.getByText("What the host said")).first().waitFor();
  if (!(await checked.isVisible())) await preflight.getByText("What the host said").click();
  await checked.filter({ hasText: /cgroup version: (passed|warning|failed): / }).waitFor();

  await page.goto(`${URL_OF}/#/servers/${ID}/audit`);
  await page.getByText("Command finished").first().waitFor();
  await page.locator("main li").filter({ hasText: /Command submitted\s+command\s+preflight on \S+/ }).first().waitFor();
  await page.getByText("Server joined").waitFor();
  // And whatever is done next comes by itself.
  await api("PATCH", `/api/v1/vms/${ID}`, { region: "Helsinki" });
  await page.getByText("Server updated").waitFor();
});
