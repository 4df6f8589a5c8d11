//! The real agent on this machine: what it tells, how it ends, and what survives it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BytesMut};
use muster_shared::{
    command::{CommandBody, Envelope},
    id::CommandId,
    sign::CommandSigner,
    wire::{self, command_update, executor_reply, executor_request},
};
use muster_tests::{
    agent::{self, Agent},
    control_plane::{ControlPlane, Settings},
    fleet::{Host, Session, now_us},
    patience::{SOON, held_to},
    rest::age_seconds,
    stored, wait,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// The promise on ending.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// The promise on a summary that is asked for.
const FRESH_WITHIN: Duration = Duration::from_secs(3);

fn first_line_of(path: &str, prefix: &str) -> Result<String> {
    let text = std::fs::read_to_string(path)?;
    let line =
        text.lines().find_map(|line| line.strip_prefix(prefix)).with_context(|| format!("{prefix} in {path}"))?;
    Ok(line.trim_matches(['"', ' ', '\t', '=']).to_owned())
}

#[tokio::test]
async fn this_machine_shows_its_true_facts_and_a_fresh_summary() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let agent = Agent::join(&control_plane, "this-machine").await?;
    let server = wait::until("its facts", SOON, || async {
        let server = agent.shown(&control_plane).await?;
        Ok(server["os_version"].is_string().then_some(server))
    })
    .await?;
    let version = first_line_of("/etc/os-release", "VERSION_ID")?;
    assert_eq!(server["os_version"], version.as_str(), "{server}");
    assert_eq!(server["cpu_cores"].as_f64(), Some(std::thread::available_parallelism()?.get() as f64), "{server}");
    let memory: f64 = first_line_of("/proc/meminfo", "MemTotal:")?.trim_end_matches(" kB").parse()?;
    let told = server["memory_gb"].as_f64().context("memory_gb")?;
    assert!((told - memory * 1024.0 / 1e9).abs() < 2.0, "{told} GB told, {memory} KiB true");

    let id = server["id"].as_str().context("an id")?;
    let mut before = control_plane.first_sample(id, SOON).await?;
    for _ in 0..3 {
        let summary = wait::until("the next second's summary", SOON, || async {
            let summary = control_plane.first_sample(id, SOON).await?;
            Ok((summary["timestamp"] != before["timestamp"]).then_some(summary))
        })
        .await?;
        let age = age_seconds(&summary["timestamp"])?;
        assert!((-1.0..held_to(FRESH_WITHIN).as_secs_f64()).contains(&age), "the summary is {age} s old: {summary}");
        before = summary;
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_the_agent_within_five_seconds_and_its_server_is_offline_at_once() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let mut agent = Agent::join(&control_plane, "ends").await?;
    let took = agent.terminate().await?;
    assert!(took <= held_to(ENDS_WITHIN), "{took:?}");
    wait::until("its server to be offline", SOON, || async {
        Ok((agent.shown(&control_plane).await?["agent_status"] == "offline").then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_agent_whose_certificate_expired_while_it_was_off_heals_itself() -> Result<()> {
    let control_plane = Settings::new().argument("--agent-certificate-ttl=4s").start().await?;
    let mut agent = Agent::join(&control_plane, "sleeper").await?;
    agent.terminate().await?;
    // No event tells that a certificate has expired.
    tokio::time::sleep(Duration::from_secs(6)).await;
    agent.start_again()?;
    agent.online(&control_plane).await?;
    Ok(())
}

#[tokio::test]
async fn a_copied_state_directory_is_quarantined() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let mut original = Agent::join(&control_plane, "original").await?;
    original.terminate().await?;
    let copy = tempfile::tempdir()?;
    let copied = copy.path().join("agent");
    copy_directory(&original.state_dir(), &copied)?;
    original.start_again()?;
    original.online(&control_plane).await?;
    let _second = agent::run(&copied)?;
    wait::until("the quarantine", SOON, || async {
        let status = original.shown(&control_plane).await?["agent_status"].clone();
        ensure!(status == "quarantined", "{status}");
        Ok(Some(()))
    })
    .await
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}

/// What a compromised link could do: speak to the executor as the link does, with commands of its own making or altered
/// on their way. None starts.
#[tokio::test]
async fn a_compromised_link_cannot_act() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    // The command that is caught on its way stays unanswered.
    control_plane.expect_unfinished_commands();
    let agent = Agent::join(&control_plane, "compromised").await?;
    let server_id = agent.shown(&control_plane).await?["id"].as_str().context("an id")?.to_owned();

    let neighbour = Arc::new(Host::enrol(&control_plane, "neighbour", 12).await?);
    let mut session = Session::open(Arc::clone(&neighbour), control_plane.address()).await?;
    ensure!(session.hear().await?.is_none(), "welcomed");
    let preflight = format!("/api/v1/vms/{}/preflight", neighbour.server_id());
    let _events = control_plane.rest().stream(&preflight, None).await?;
    let for_neighbour = session.delivery().await?;

    let unsigned = wire::SignedCommand { signature: Vec::new(), ..for_neighbour.clone() };
    let own = CommandSigner::from_pkcs8("k1", &CommandSigner::generate_pkcs8()?)?;
    let of_own_making = own.sign(&Envelope {
        command_id: CommandId::generate(),
        server_id: server_id.parse()?,
        issued_at_us: now_us(),
        expires_at_us: now_us() + 60_000_000,
        body: CommandBody::RefreshFacts,
    });
    let under_its_name = wire::SignedCommand { key_id: for_neighbour.key_id.clone(), ..of_own_making.clone() };
    for (command, code) in [
        (for_neighbour, "wrong_host"),
        (unsigned, "signature_invalid"),
        (under_its_name, "signature_invalid"),
        (of_own_making, "unknown_key"),
    ] {
        assert_eq!(refusal(&agent, command).await?, code);
    }
    Ok(())
}

/// The word with which the executor refuses a command that comes over its socket.
async fn refusal(agent: &Agent, command: wire::SignedCommand) -> Result<String> {
    let mut socket = UnixStream::connect(agent.state_dir().join("run/executor.sock")).await?;
    for kind in [executor_request::Kind::Subscribe(wire::Subscribe {}), executor_request::Kind::Submit(command)] {
        socket.write_all(&wire::ExecutorRequest { kind: Some(kind) }.encode_length_delimited_to_vec()).await?;
    }
    let mut heard = BytesMut::new();
    let answered = async {
        loop {
            while let Ok(reply) = wire::ExecutorReply::decode_length_delimited(heard.clone()) {
                let length = reply.encoded_len();
                heard.advance(length + prost::length_delimiter_len(length));
                match reply.kind {
                    Some(executor_reply::Kind::Error(error)) => return Ok(error.code),
                    Some(executor_reply::Kind::Update(update)) => {
                        if let Some(command_update::Kind::Finished(finished)) = update.kind {
                            ensure!(finished.outcome() == wire::CommandOutcome::Refused, "{finished:?}");
                            return Ok(finished.code);
                        }
                    }
                    _ => {}
                }
            }
            ensure!(socket.read_buf(&mut heard).await? > 0, "the executor hung up");
        }
    };
    tokio::time::timeout(SOON, answered).await.context("the executor says nothing")?
}

/// Kill again and again, so one at a time.
mod alone {
    use super::*;

    const KILLS: usize = 10;

    #[tokio::test]
    async fn ten_kills_of_the_agent_lose_no_frame_and_no_result() -> Result<()> {
        let control_plane = ControlPlane::start().await?;
        let mut agent = Agent::join(&control_plane, "killed").await?;
        let id = agent.shown(&control_plane).await?["id"].as_str().context("an id")?.to_owned();
        for _ in 0..KILLS {
            control_plane.first_sample(&id, SOON).await?;
            // The run is left to itself: the kill comes somewhere in it.
            drop(control_plane.rest().stream(&format!("/api/v1/vms/{id}/preflight"), None).await);
            agent.kill().await?;
            agent.start_again()?;
            agent.online(&control_plane).await?;
        }
        wait::until("every command's end", SOON, || async {
            let query = "SELECT COUNT(*) FROM commands WHERE finished_at_us IS NULL";
            let left = control_plane.database().number(query).await?;
            ensure!(left == 0, "{left} commands are unfinished");
            Ok(Some(()))
        })
        .await?;
        let twice = "SELECT COUNT(*) FROM commands WHERE id IN \
                     (SELECT command_id FROM command_updates WHERE body LIKE '%started%' \
                      GROUP BY command_id HAVING COUNT(*) > 1)";
        assert_eq!(control_plane.database().number(twice).await?, 0, "a command was started twice");
        agent.terminate().await?;
        // Each start goes on in a range of numbers of its own, so there is one gap a kill and none within a life.
        for sequences in stored::sequences_of(control_plane.database(), &id).await?.values() {
            let gaps = sequences.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            ensure!(gaps <= KILLS, "{gaps} gaps: {sequences:?}");
        }
        Ok(())
    }
}
