// The readiness checks by the names people know them by.
export const CHECKS: Record<string, [title: string, about: string]> = {
  ssh_connectivity: ["SSH", "One can log in"],
  root_access: ["Root", "Root is reachable, or sudo works without asking"],
  os_compatibility: ["Operating system", "It is one that is supported"],
  docker_installed: ["Docker is installed", "And new enough"],
  docker_running: ["Docker runs", "The engine answers"],
  docker_permissions: ["Docker may be used", "By the user that deploys"],
  disk_space: ["Disk space", "20 GB are free"],
  network_connectivity: ["Network", "Registries can be reached"],
  ports_available: ["Ports 80 and 443", "Nothing else holds them"],
  specifications: ["Size", "Enough cores, memory and disk"],
  clock_skew: ["Clock", "It is right to the minute"],
  cgroup_version: ["Control groups", "Version 2"],
  docker_address_pools: ["Docker's networks", "Room for more"],
  inotify_headroom: ["File watches", "Room for more"],
};

export const titleOf = (name: string): string => CHECKS[name]?.[0] ?? name.replaceAll("_", " ");

/** What mends a failed check. */
export const FIXES: Record<string, string> = {
  root_access: "configure_sudo", docker_installed: "install_docker", docker_running: "start_docker", docker_permissions: "add_to_docker_group",
  disk_space: "free_disk", ports_available: "free_ports",
};
