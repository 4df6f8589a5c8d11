// A member sees no owner's button, and gets a 403 behind it.
import { api, assert, claim, OWNER_PASSWORD, scenario, signIn, URL_OF } from "../browser.js";

await scenario("member", async (page, { open }) => {
  await claim(page);
  await page.goto(`${URL_OF}/#/servers/web-1/settings`);
  await page.getByRole("button", { name: "Delete…" }).waitFor();
  await api("POST", "/api/v1/users", { name: "mina", password: "for the first time only", role: "member" });

  const other = await open();
  await signIn(other, "mina", "for the first time only");
  await other.getByRole("heading", { name: "Choose your own password" }).waitFor();
  await other.getByLabel("The password you were given").fill("for the first time only");
  await other.getByLabel("New password").fill(OWNER_PASSWORD);
  await other.getByLabel("The same again").fill(OWNER_PASSWORD);
  await other.getByRole("button", { name: "Set it" }).click();
  await other.getByRole("row").filter({ hasText: "web-1" }).waitFor();
  for (const hidden of ["Add server", "SSH keys", "Audit"]) {
    assert((await other.getByRole("link", { name: hidden }).count()) === 0, `a member sees no "${hidden}"`);
  }
  await other.goto(`${URL_OF}/#/servers/web-1`);
  await other.getByRole("heading", { name: "web-1", level: 1 }).waitFor();
  for (const hidden of ["Power", "Run the checks", "Delete…", "Save"]) {
    assert((await other.getByRole("button", { name: hidden }).count()) === 0, `a member sees no "${hidden}"`);
  }
  await other.goto(`${URL_OF}/#/servers/web-1/settings`);
  await other.goto(`${URL_OF}/#/`);
  await other.getByRole("row").filter({ hasText: "web-1" }).waitFor();
  assert((await other.getByRole("checkbox").count()) === 0, "a member marks nothing");
  const dry = await api("POST", "/api/v1/fleet/runs", { task: { kind: "fix", action: "start_docker" }, servers: ["web-1"], dry_run: true });
  await other.goto(`${URL_OF}/#/runs`);
  await other.getByRole("link", { name: "Start Docker" }).click();
  await other.locator('li[data-server="web-1"]').waitFor();
  await other.getByText(/^(Done|Stopped.*)$/).first().waitFor();
  for (const path of ["/runs", `/runs/${dry.id}`]) {
    await other.goto(`${URL_OF}/#${path}`);
    await other.locator("main h1").first().waitFor();
    assert((await other.getByRole("main").getByRole("button").count()) === 0, `a member sees no button on ${path}`);
    assert((await other.getByRole("link", { name: "New run" }).count()) === 0, "a member begins no run");
  }
  await other.goto(`${URL_OF}/#/runs/new`);
  await other.getByText("An owner or admin of this organisation").waitFor();
  assert((await other.getByRole("main").getByRole("button").count()) === 0, "a member begins no run by its address either");
  const me = await api("GET", "/api/v1/me");
  const pair = await api("POST", `/api/v1/organizations/${me.organization_id}/ssh-keys`, { name: "production", key_type: "ed25519" });
  const rotate = `/api/v1/organizations/${me.organization_id}/ssh-keys/${pair.id}/rotate`;
  await other.goto(`${URL_OF}/#/keys`);
  await other.getByText("needs the permission org.ssh_keys.list").waitFor();
  assert((await other.getByRole("button", { name: /Rotate/ }).count()) === 0, "a member rotates no key");
  await other.goto(`${URL_OF}/#/members`);
  await other.getByRole("cell", { name: /mina/ }).waitFor();
  assert((await other.getByRole("button", { name: /Add member|Remove/ }).count()) === 0, "a member changes no members");
  const statuses = await other.evaluate(async ([rotate, run]) => {
    const session = await (await fetch("/api/v1/session")).json();
    const ask = (method, path, body) => fetch(path, { method, headers: { "x-csrf-token": session.csrf_token, "content-type": "application/json" }, body: body && JSON.stringify(body) }).then((response) => response.status);
    return Promise.all([ask("DELETE", "/api/v1/vms/web-1"), ask("POST", "/api/v1/vms/web-1/preflight"), ask("POST", "/api/v1/join-tokens", {}), ask("POST", "/api/v1/vms/web-1/reboot"), ask("GET", "/api/v1/audit"), ask("POST", rotate, {}), ask("POST", `/api/v1/fleet/runs/${run}/cancel`), ask("POST", "/api/v1/fleet/runs", { task: { kind: "preflight" }, servers: ["web-1"], dry_run: false })]);
  }, [rotate, dry.id]);
  assert(statuses.every((status) => status === 403), `each is a 403: ${statuses}`);
});
