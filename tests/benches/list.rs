//! What a page of a large fleet costs: as it comes, filtered down to one in a hundred, and far from the start.
//!
//! `cargo test --bench list` asks a few hundred servers to show that it works; `just bench list` asks ten thousand, on
//! both databases. A call is a whole one: TLS, the guard, the query, the evaluation, the answer.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_tests::control_plane::{ControlPlane, Database, Settings};

/// A page's name, its query, and how many servers it must show of so many.
type Page = (&'static str, &'static str, fn(usize) -> usize);

/// Pages asked for.
const PAGES: [Page; 7] = [
    ("no filter, 100 servers", "limit=100", |servers| servers.min(100)),
    ("no filter, the last 100", "limit=100&skip=LAST", |servers| servers.min(100)),
    (
        "1 % by version and disk",
        "limit=100&filter=docker.version < version(\"20\") %26%26 disk.free_gb < 20.0",
        percent,
    ),
    ("1 % by a fact", "limit=100&filter=os.id == \"alpine\"", percent),
    (
        "1 % by health and name",
        "limit=100&filter=health_status == \"unreachable\" %26%26 name.endsWith(\"00\")",
        percent,
    ),
    ("all by a fact, the first 100", "limit=100&filter=has(os.id)", |servers| servers.min(100)),
    ("all by a fact, the last 100", "limit=100&skip=LAST&filter=has(os.id)", |servers| servers.min(100)),
];

fn percent(servers: usize) -> usize {
    (servers / 100).min(100)
}

struct Plan {
    servers: usize,
    calls: usize,
    databases: &'static [Database],
}

impl Plan {
    /// `cargo bench` says `--bench`; `cargo test` does not.
    fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self { servers: 10_000, calls: 100, databases: &[Database::Sqlite, Database::Postgres] }
        } else {
            Self { servers: 300, calls: 3, databases: &[Database::Sqlite] }
        }
    }
}

/// Servers as a fleet has them: two Docker versions, a full disk here and there, facts of a usual size.
async fn fill(control_plane: &ControlPlane, servers: usize) -> Result<()> {
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
        "docker.images=30",
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
         data_disk_available_bytes, agent_status, agent_version, agent_allowed_families, last_seen_at_us, filter_facts) \
         SELECT '01890a5d-ac96-774b-bcce-' || substr('000000000000' || CAST(n AS TEXT), length(CAST(n AS TEXT)) + 1), \
         o.id, 'server-' || CAST(n AS TEXT), 'custom', 'Frankfurt', 'running', {now_us} + n, {now_us}, '203.0.113.10', \
         'auto', 22, 'auto', {now_us}, 'host-' || CAST(n AS TEXT), 'Debian GNU/Linux', '12', 'x86_64', 'running', \
         CASE WHEN n % 10 = 0 THEN '19.03.9' ELSE '24.0.7' END, 4, 8000000000, 160000000000, \
         CASE WHEN n % 100 < 10 THEN 15000000000 ELSE 90000000000 END, 'offline', '0.1.0', 'observe,fix', {now_us}, \
         CASE WHEN n % 100 = 0 THEN 'os.id=alpine' ELSE 'os.id=debian' END || '\n{}' \
         FROM numbers CROSS JOIN organizations o",
        facts.join("\n")
    );
    control_plane.database().rows(&query).await?;
    control_plane.database().rows("ANALYZE").await?;
    Ok(())
}

fn query(page: &str, servers: usize) -> String {
    let page = page.replace("LAST", &servers.saturating_sub(100).to_string());
    let page: String = page.chars().map(|c| if c == ' ' { "%20".to_owned() } else { c.to_string() }).collect();
    format!("/api/v1/vms?{}", page.replace('"', "%22").replace('<', "%3c").replace("==", "%3d%3d"))
}

async fn measure(plan: &Plan, database: Database) -> Result<Vec<[f64; 2]>> {
    let control_plane = Settings::new().on(database).start().await?;
    fill(&control_plane, plan.servers).await?;
    let mut measured = Vec::new();
    for (title, page, expected) in PAGES {
        let path = query(page, plan.servers);
        let mut calls = Vec::new();
        for _ in 0..plan.calls {
            let begun = Instant::now();
            let servers = control_plane.rest().get(&path).await?;
            calls.push(begun.elapsed());
            let shown = servers.as_array().context("a list")?.len();
            ensure!(shown == expected(plan.servers), "{title} on {database:?}: {shown} servers");
        }
        calls.sort_unstable();
        let at = |part: usize| calls.get((calls.len() * part / 100).min(calls.len() - 1)).map_or(0.0, milliseconds);
        measured.push([at(50), at(99)]);
    }
    Ok(measured)
}

fn milliseconds(duration: &Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::from_arguments();
    let mut columns = Vec::new();
    for database in plan.databases {
        columns.push(measure(&plan, *database).await?);
    }
    let heads: String = plan.databases.iter().map(|database| format!(" {database:?} p50, p99 |")).collect();
    println!("\n| a page of {} servers |{heads}\n| --- |{}", plan.servers, " --- |".repeat(columns.len()));
    for (index, (title, ..)) in PAGES.iter().enumerate() {
        let cells = columns.iter().filter_map(|column| column.get(index));
        let cells: String = cells.map(|[p50, p99]| format!(" {p50:.1} ms, {p99:.1} ms |")).collect();
        println!("| {title} |{cells}");
    }
    Ok(())
}
