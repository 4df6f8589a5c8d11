//! `muster serve` as a process: its first start, its settings, its end.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::Result;
use http::{Method, StatusCode};
use muster_tests::{
    binaries,
    control_plane::ControlPlane,
    patience::{SOON, held_to},
    process::Process,
};

/// The promises on ending and on coming back.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);
const READY_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_first_start_leaves_a_private_token_and_a_ca_to_pin() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    for (file, others_may_read) in [("owner.token", false), ("keyring.toml", false), ("ca.pem", true)] {
        let mode = std::fs::metadata(control_plane.directory().join(file))?.permissions().mode();
        assert_eq!(mode & 0o077 != 0, others_may_read, "{file} has mode {mode:o}");
    }
    let servers = control_plane.rest().get("/api/v1/vms").await?;
    assert_eq!(servers, serde_json::json!([]));
    Ok(())
}

#[tokio::test]
async fn strangers_see_health_and_nothing_else() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let stranger = control_plane.rest().with_token("mst_wrong");
    for (path, status) in [
        ("/healthz", StatusCode::OK),
        ("/readyz", StatusCode::OK),
        ("/api/v1/vms", StatusCode::UNAUTHORIZED),
        ("/metrics", StatusCode::UNAUTHORIZED),
        ("/api/v1/no-such-thing", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(stranger.call(Method::GET, path, None).await?.status, status, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_it_within_five_seconds_and_it_starts_again_as_it_was() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    let token = control_plane.owner_token()?;
    let took = control_plane.terminate().await?;
    assert!(took <= held_to(DRAINED_WITHIN), "draining took {took:?}");
    control_plane.start_again().await?;
    assert_eq!(control_plane.owner_token()?, token);
    control_plane.rest().get("/api/v1/vms").await?;
    Ok(())
}

#[tokio::test]
async fn after_sigkill_it_is_ready_again_within_five_seconds() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    control_plane.kill().await?;
    let took = control_plane.start_again().await?;
    assert!(took <= held_to(READY_WITHIN), "ready after {took:?}");
    Ok(())
}

#[tokio::test]
async fn a_misspelt_setting_is_refused_with_the_nearest_name() -> Result<()> {
    let mut process = Process::start(&binaries::muster(), &["serve"], &[("MUSTER_LISTN", "127.0.0.1:1")])?;
    let status = process.wait(SOON).await?;
    assert_eq!(status.code(), Some(64));
    process.lines().first("the nearest name", SOON, |line| line.contains("MUSTER_LISTEN")).await?;
    Ok(())
}
