//! `packaging/quickstart` as a newcomer runs it: from its first line to nothing left.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::free_port,
    patience::held_to,
    process::Process,
    rest::{Rest, age_seconds},
};

/// Everything is built by now, and what is built is not built again: that would take longer than this.
const READY_LIMIT: Duration = Duration::from_secs(150);
/// The promises on Ctrl-C and on a summary that is asked for.
const ENDS_WITHIN: Duration = Duration::from_secs(6);
const FRESH_WITHIN: Duration = Duration::from_secs(3);

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/quickstart")
}

/// Processes whose command line names `directory`.
fn running_in(directory: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.map(|line| line.replace('\0', " ")).filter(|line| line.contains(directory)).collect()
}

/// Builds, so one at a time.
mod alone {
    use super::*;

    #[tokio::test]
    async fn quickstart_ends_with_this_machine_online_and_leaves_nothing_running() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let data_dir = directory.path().to_str().context("a path in UTF-8")?;
        let listen = format!("127.0.0.1:{}", free_port());
        let arguments = ["--data-dir", data_dir, "--listen", &listen];
        let mut quickstart = Process::start(&script(), &arguments, &[])?;
        quickstart.lines().first("the end of its start", READY_LIMIT, |line| line.contains("Ctrl-C")).await?;
        let shown = quickstart.lines().tail(20);
        ensure!(shown.contains(&format!("https://{listen}")), "{shown}");
        ensure!(shown.contains(&format!("{data_dir}/owner.token")), "{shown}");

        let token = std::fs::read_to_string(directory.path().join("owner.token"))?;
        let pin = std::fs::read_to_string(directory.path().join("ca.sha256"))?.parse()?;
        let rest = Rest::new(listen.parse()?, pin, &token)?;
        let servers = rest.get("/api/v1/vms").await?;
        let server = servers.get(0).context("this machine")?;
        ensure!(server["agent_status"] == "online", "{server}");
        let name = server["name"].as_str().context("a name")?;
        ensure!(shown.contains(name), "the fleet table shows {name}: {shown}");
        let id = server["id"].as_str().context("an id")?;
        let summary = rest.get(&format!("/api/v1/monitoring/servers/{id}/summary")).await?;
        let age = age_seconds(&summary["timestamp"])?;
        ensure!((-1.0..held_to(FRESH_WITHIN).as_secs_f64()).contains(&age), "the summary is {age} s old: {summary}");

        let (_, took) = quickstart.terminate(held_to(ENDS_WITHIN)).await?;
        println!("quickstart ended {} ms after SIGTERM", took.as_millis());
        let left = running_in(data_dir);
        ensure!(left.is_empty(), "still running: {left:?}");
        Ok(())
    }
}
