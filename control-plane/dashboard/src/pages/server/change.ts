// What a host reports of a change to it, planned or made.

export interface ChangeStep {
  title: string;
  diff?: string;
  reversible?: boolean;
}

export interface ChangeReport {
  item: { name: string };
  mode?: string;
  already: boolean;
  steps: ChangeStep[];
  applied: boolean;
  verified: boolean;
  undone: boolean;
  evidence: string;
  confirm_within_s?: number | null;
}

const TITLES: Record<string, string> = {
  install_docker: "Install Docker", start_docker: "Start Docker", add_to_docker_group: "Let the user use Docker", configure_sudo: "Let the user become root",
  free_disk: "Free disk space", free_ports: "Free the ports", sshd: "SSH settings", unattended_upgrades: "Security updates by themselves", fail2ban: "Shut out who guesses passwords",
  firewall: "Firewall", docker_daemon: "Docker daemon: live restore and log limits", auditd: "Audit log of Docker", ipv6_off: "IPv6 off", authorized_key: "Login key",
};

export const changeTitle = (name: string): string => TITLES[name] ?? name.replaceAll("_", " ");

/** Every report somewhere in an answer or an event's data. */
export function reportsIn(data: unknown, depth = 0): ChangeReport[] {
  if (!data || typeof data !== "object" || depth > 4) return [];
  if (Array.isArray(data)) return data.flatMap((item) => reportsIn(item, depth + 1));
  const of = data as Record<string, unknown>;
  if (Array.isArray(of.steps) && "applied" in of) return [of as unknown as ChangeReport];
  return Object.values(of).flatMap((value) => reportsIn(value, depth + 1));
}
