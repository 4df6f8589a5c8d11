//! The one line, pasted into a root shell of each Debian release: through curl, through wget, and once more.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Output, Release, Variant},
    patience::{SOON, held_to},
    wait,
};
use serde_json::Value;

/// The promise, on a warm server.
const FIRST_SAMPLE_LIMIT: Duration = Duration::from_secs(3);

/// Which of the two lines is pasted, and without which program on the host.
#[derive(Clone, Copy)]
enum Fetcher {
    Curl,
    Wget,
}

impl Fetcher {
    fn line(self) -> &'static str {
        match self {
            Self::Curl => "command",
            Self::Wget => "command_wget",
        }
    }

    fn other(self) -> &'static str {
        match self {
            Self::Curl => "wget",
            Self::Wget => "curl",
        }
    }
}

async fn paste(control_plane: &ControlPlane, server: &LabServer, fetcher: Fetcher) -> Result<Output> {
    let created = control_plane.join_token(None).await?;
    server.paste(created[fetcher.line()].as_str().context("a line")?).await
}

/// Joins with one line and returns the server with how long its first sample took.
async fn join(control_plane: &ControlPlane, server: &LabServer, fetcher: Fetcher) -> Result<(Value, Duration)> {
    // Only the fetcher at hand may serve: with the other gone, a line that needs both would fail.
    server.run(&["rm", &format!("/usr/bin/{}", fetcher.other())]).await?;
    let begun = Instant::now();
    let output = paste(control_plane, server, fetcher).await?;
    ensure!(output.status.success(), "{}{}", output.stdout, output.stderr);
    let joined = control_plane.server_named(server.name()).await?.context("a server under its host's name")?;
    let id = joined["id"].as_str().context("an id")?;
    control_plane.first_sample(id, SOON).await.with_context(|| output.stdout + &output.stderr)?;
    Ok((joined, begun.elapsed()))
}

async fn joins_and_stays_as_it_is(release: Release) -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    for fetcher in [Fetcher::Curl, Fetcher::Wget] {
        let server = LabServer::start(&network, release, Variant::Plain).await?;
        let (joined, took) = join(&control_plane, &server, fetcher).await?;
        println!("{release:?}: first sample {} ms after pasting the line ({})", took.as_millis(), fetcher.line());
        assert!(took <= held_to(FIRST_SAMPLE_LIMIT), "the first sample took {took:?}");
        // Facts travel beside the samples, and are stored with those of others that came at the same moment.
        let facts = wait::until("the host's facts", SOON, || async {
            let server = control_plane.server_named(server.name()).await?.context("a server")?;
            Ok(server["os_type"].is_string().then_some(server))
        })
        .await?;
        assert!(facts["os_type"].as_str().is_some_and(|os| os.contains("Debian")), "{facts}");
        assert_eq!(facts["os_version"], release.version());
        for unit in ["muster-agent-link", "muster-agent-executor"] {
            assert_eq!(server.run(&["systemctl", "is-active", unit]).await?, "active", "{unit}");
        }

        let processes = server.run(&["pidof", "muster-agent"]).await?;
        let again = paste(&control_plane, &server, fetcher).await?;
        assert!(again.status.success(), "{}{}", again.stdout, again.stderr);
        let after = control_plane.server_named(server.name()).await?.context("a server")?;
        assert_eq!(after["id"], joined["id"], "a second line gives no second identity");
        assert_eq!(server.run(&["pidof", "muster-agent"]).await?, processes, "a second line restarts nothing");
    }
    let servers = control_plane.rest().get("/api/v1/vms").await?;
    assert_eq!(servers.as_array().map(Vec::len), Some(2));
    Ok(())
}

/// Timed, so one at a time.
mod alone {
    use super::*;

    #[tokio::test]
    async fn one_line_joins_bullseye_through_curl_and_through_wget() -> Result<()> {
        joins_and_stays_as_it_is(Release::Bullseye).await
    }

    #[tokio::test]
    async fn one_line_joins_bookworm_through_curl_and_through_wget() -> Result<()> {
        joins_and_stays_as_it_is(Release::Bookworm).await
    }

    #[tokio::test]
    async fn one_line_joins_trixie_through_curl_and_through_wget() -> Result<()> {
        joins_and_stays_as_it_is(Release::Trixie).await
    }
}

#[tokio::test]
async fn a_used_token_a_wrong_one_and_a_user_without_root_are_told_apart() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let first = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let second = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let created = control_plane.join_token(None).await?;
    let (line, token) = (created["command"].as_str().context("a line")?, created["token"].as_str().context("a token")?);

    assert!(first.paste(line).await?.status.success());
    let used = second.paste(line).await?;
    assert!(!used.status.success() && used.stderr.contains("token"), "{}", used.stderr);
    let wrong = second.paste(&line.replace(token, &token.replace(|c: char| c.is_ascii_digit(), "0"))).await?;
    assert!(!wrong.status.success() && wrong.stderr.contains("token"), "{}", wrong.stderr);
    let unprivileged = second.exec(&["runuser", "-u", "nobody", "--", "sh", "-c", line]).await?;
    assert!(!unprivileged.status.success() && unprivileged.stderr.contains("root"), "{}", unprivileged.stderr);
    assert!(!second.exec(&["systemctl", "is-enabled", "muster-agent-link"]).await?.status.success());
    Ok(())
}

#[tokio::test]
async fn a_tampered_script_is_not_run() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let created = control_plane.join_token(None).await?;
    let (line, hash) =
        (created["command"].as_str().context("a line")?, created["install_sha256"].as_str().context("a hash")?);
    assert!(line.contains(hash), "the line carries the script's hash: {line}");
    let other = hash.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect::<String>();
    let output = server.paste(&line.replace(hash, &other)).await?;
    assert!(!output.status.success(), "{}", output.stdout);
    assert_eq!(control_plane.server_named(server.name()).await?, None);
    Ok(())
}

/// How much each of the agent's processes could do to its host, on systemd's own scale from 0 to 10, and what it may.
const EXPOSURE: [(&str, f64); 2] = [("muster-agent-link.service", 2.0), ("muster-agent-executor.service", 7.5)];

#[tokio::test]
async fn the_units_are_as_closed_as_promised() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    control_plane.join(&server).await?;
    for (unit, limit) in EXPOSURE {
        let told = server.run(&["systemd-analyze", "security", "--no-pager", unit]).await?;
        let last = told.lines().last().context("a verdict")?;
        let exposure = last.split_once(&format!("for {unit}: ")).context("a verdict")?.1;
        let exposure: f64 = exposure.split(' ').next().context("a number")?.parse()?;
        println!("{unit}: {exposure}");
        ensure!(exposure <= limit, "{unit} is exposed by {exposure}, over {limit}:\n{told}");
    }
    Ok(())
}
