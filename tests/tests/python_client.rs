//! Another language's gRPC client, by reflection alone.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::ControlPlane,
    fleet::{Fleet, Pace},
    patience::SOON,
    process::Process,
};
use serde_json::Value;

#[tokio::test]
async fn a_python_client_lists_servers_and_watches_one_by_reflection_alone() -> Result<()> {
    let python = std::env::var("MUSTER_TEST_PYTHON").context("MUSTER_TEST_PYTHON, which tests/run sets")?;
    let control_plane = ControlPlane::start().await?;
    let mut fleet = Fleet::enrol(&control_plane, 2, 12).await?;
    fleet.start(control_plane.address(), Pace::second());
    fleet.all_online(SOON).await?;

    let client = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python/client.py");
    let (address, directory) = (control_plane.address().to_string(), control_plane.directory().display().to_string());
    let (ca, token) = (format!("{directory}/ca.pem"), format!("{directory}/owner.token"));
    let script = client.to_str().context("a path in UTF-8")?;
    let mut process = Process::start(python.as_ref(), &[script, &address, &ca, &token, "host-1"], &[])?;
    let status = process.wait(SOON).await?;
    let output = process.lines().all().join("\n");
    ensure!(status.success(), "{output}");

    let lines: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let servers = lines[0]["servers"].as_array().context("servers")?;
    let mut names: Vec<_> = servers.iter().filter_map(|server| server["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["host-0", "host-1"], "{output}");
    assert_eq!(lines[1]["server"]["name"], "host-1", "the server as it is comes first: {output}");
    ensure!(lines[2..].iter().any(|event| event["summary"].is_object()), "{output}");
    fleet.settle(SOON).await
}
