//! What a page of a large fleet costs: as it comes, filtered down to one in a hundred, and far from the start.
//!
//! `cargo test --bench list` asks a few hundred servers to show that it works; `just bench list` asks ten thousand, on
//! both databases. A call is a whole one: TLS, the guard, the query, the evaluation, the answer.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{Database, Settings},
    large_fleet,
    measure::percentile_ms,
};

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

fn query(page: &str, servers: usize) -> String {
    let page = page.replace("LAST", &servers.saturating_sub(100).to_string());
    let page: String = page.chars().map(|c| if c == ' ' { "%20".to_owned() } else { c.to_string() }).collect();
    format!("/api/v1/vms?{}", page.replace('"', "%22").replace('<', "%3c").replace("==", "%3d%3d"))
}

async fn measure(plan: &Plan, database: Database) -> Result<Vec<[f64; 2]>> {
    let control_plane = Settings::new().on(database).start().await?;
    large_fleet::fill(&control_plane, plan.servers).await?;
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
        measured.push([50, 99].map(|percent| percentile_ms(&calls, percent)));
    }
    Ok(measured)
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
