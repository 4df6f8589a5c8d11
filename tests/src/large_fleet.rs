//! Thousands of servers on record, for what is asked of a large fleet.

use anyhow::Result;

use crate::control_plane::ControlPlane;

/// Puts `servers` on record as a fleet has them: two Docker versions, a full disk here and there, facts of a usual size
/// that no two hosts share. They are called `server-1` and so on, and none has an agent that is online.
///
/// # Errors
/// When the database refuses.
pub async fn fill(control_plane: &ControlPlane, servers: usize) -> Result<()> {
    let now_us = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
    let facts: Vec<_> = [
        "os.codename=bookworm",
        "os.support_tier=full",
        "kernel=6.1.0-28-amd64",
        "package_manager=apt",
        "init_system=systemd",
        "virtualization=kvm",
        "cpu.model=Intel(R) Xeon(R) Gold 6254 CPU @ 3.10GHz",
        "memory.swap_gb=2.147",
        "disk.fs_type=ext4",
        "docker.storage_driver=overlay2",
        "docker.cgroup_version=2",
        "docker.live_restore=false",
        "docker.containers=12",
        "reboot_pending=false",
        "security_updates=3",
        "clock.synchronized=true",
        "clock.service=chrony",
        "clock.timezone=Europe/Berlin",
        "firewall.kind=nftables",
        "firewall.active=true",
        "sshd.version=9.2p1",
        "sshd.password_authentication=no",
        "sshd.permit_root_login=no",
        "ports.tcp=22,80,443,5432,8080,9100",
        "ports.udp=68,323",
        "cgroup_version=2",
    ]
    .into();
    let query = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {servers}) \
         INSERT INTO servers (id, org_id, name, provider, region, status, created_at_us, updated_at_us, ipv4_address, \
         connection_host_type, ssh_port, ssh_sudo_mode, facts_collected_at_us, detected_hostname, os_type, os_version, \
         os_arch, docker_status, docker_version, detected_cpu_cores, detected_memory_bytes, data_disk_bytes, \
         data_disk_available_bytes, agent_status, agent_version, agent_allowed_families, last_seen_at_us, filter_facts_id, \
         filter_facts) \
         SELECT '01890a5d-ac96-774b-bcce-' || substr('000000000000' || CAST(n AS TEXT), length(CAST(n AS TEXT)) + 1), \
         o.id, 'server-' || CAST(n AS TEXT), 'custom', 'Frankfurt', 'running', {now_us} + n, {now_us}, '203.0.113.10', \
         'auto', 22, 'auto', {now_us}, 'host-' || CAST(n AS TEXT), 'Debian GNU/Linux', '12', 'x86_64', 'running', \
         CASE WHEN n % 10 = 0 THEN '19.03.9' ELSE '24.0.7' END, 4, 8000000000, 160000000000, \
         CASE WHEN n % 100 < 10 THEN 15000000000 ELSE 90000000000 END, 'offline', '0.1.0', 'observe,fix', {now_us}, \
         'facts-' || CAST(n AS TEXT), \
         CASE WHEN n % 100 = 0 THEN 'os.id=alpine' ELSE 'os.id=debian' END || '\n{}\ndocker.images=' || CAST(n AS TEXT) \
         FROM numbers CROSS JOIN organizations o",
        facts.join("\n")
    );
    control_plane.database().rows(&query).await?;
    control_plane.database().rows("ANALYZE").await?;
    Ok(())
}
