// The SSH form's fields, as the API takes them.

export interface Login {
  name: string;
  address: string;
  port: string;
  username: string;
  method: "password" | "key" | "pair";
  password: string;
  privateKey: string;
  passphrase: string;
  pair: string;
  sudo: "auto" | "none" | "sudo";
  sudoPassword: string;
  region: string;
}

export const NEW: Login = { name: "", address: "", port: "22", username: "root", method: "password", password: "", privateKey: "", passphrase: "", pair: "", sudo: "auto", sudoPassword: "", region: "" };

/** Which of the API's address fields `address` belongs in. */
function addressField(address: string): "ipv4_address" | "ipv6_address" | "fqdn" | "hostname" {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) return "ipv4_address";
  if (address.includes(":")) return "ipv6_address";
  return address.includes(".") ? "fqdn" : "hostname";
}

/** The body that creates or tests the server; `fingerprint` is the host key somebody looked at. */
export function body(login: Login, fingerprint: string | null): Record<string, unknown> {
  const address = login.address.trim().replace(/^\[|\]$/g, "");
  const some = (text: string) => text || undefined;
  return {
    name: login.name.trim() || undefined,
    region: some(login.region.trim()),
    [addressField(address)]: address,
    ssh_port: Number(login.port) || 22,
    ssh_username: login.username.trim() || "root",
    ssh_password: login.method === "password" ? login.password : undefined,
    ssh_private_key: login.method === "key" ? login.privateKey : undefined,
    ssh_key_passphrase: login.method === "key" ? some(login.passphrase) : undefined,
    ssh_key_pair_id: login.method === "pair" ? login.pair : undefined,
    ssh_sudo_password: some(login.sudoPassword),
    ssh_sudo_mode: login.sudo,
    ssh_host_key_fingerprint: fingerprint ?? undefined,
  };
}
