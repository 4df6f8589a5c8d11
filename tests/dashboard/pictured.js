// A server anybody might have, for the picture of its facts: those of the machine that runs this are nobody's business.
const GB = 1e9;

const PICTURED = {
  hostname: "web-1", kernel: "6.1.0-28-amd64", arch: "x86_64", virtualization: "kvm", package_manager: "apt", init_system: "systemd",
  os: { id: "debian", name: "Debian GNU/Linux", version: "12", codename: "bookworm", pretty_name: "Debian GNU/Linux 12 (bookworm)", support_tier: "full" },
  cpu: { model: "AMD EPYC 7543 32-Core Processor", cores: 4 },
  memory: { total_bytes: 8 * 2 ** 30, swap_total_bytes: 2 * 2 ** 30 },
  disks: [{ name: "vda", size_bytes: 160 * GB, rotational: false, model: "" }],
  mounts: [
    { path: "/", total_bytes: 155 * GB, available_bytes: 91 * GB, fs_type: "ext4", read_only: false },
    { path: "/boot/efi", total_bytes: 0.5 * GB, available_bytes: 0.49 * GB, fs_type: "vfat", read_only: false },
  ],
  addresses: [{ interface: "eth0", ip: "203.0.113.10" }, { interface: "eth0", ip: "2001:db8::10" }, { interface: "docker0", ip: "172.17.0.1" }],
  clock: { synchronized: true, service: "chrony", timezone: "Europe/Berlin" },
  firewall: { kind: "nftables", active: true },
  reboot_pending: { because_of: ["linux-image-6.1.0-29-amd64"] }, security_updates_pending: 3,
  listening: [
    { port: 22, protocol: "tcp", address: "0.0.0.0", process: "sshd", unit: "ssh.service" },
    { port: 80, protocol: "tcp", address: "0.0.0.0", process: "docker-proxy", unit: "docker.service" },
    { port: 323, protocol: "udp", address: "127.0.0.1", process: "chronyd", unit: "chrony.service" },
  ],
  docker: { status: "running", version: "24.0.7", storage_driver: "overlay2", data_directory: "/var/lib/docker", cgroup_driver: "systemd", cgroup_version: 2, live_restore: true, images: 9, images_bytes: 4.1 * GB },
  sshd: { version: "OpenSSH_9.2p1", settings: { passwordauthentication: "no", permitrootlogin: "prohibit-password", port: "22", pubkeyauthentication: "yes" } },
  unread: {},
};

/** Shows {@link PICTURED} on the page instead of what the host says of itself. */
export async function pictureFacts(page) {
  await page.route("**/api/v1/vms/*/facts", async (route) => {
    const answer = await route.fetch();
    const document = await answer.json();
    const docker = { ...document.facts.docker, ...PICTURED.docker };
    await route.fulfill({ response: answer, json: { ...document, facts: { ...document.facts, ...PICTURED, docker, booted_at_us: (Date.now() - 9 * 86_400_000) * 1000 } } });
  });
  await page.reload();
  await page.getByText(PICTURED.cpu.model).waitFor();
}
