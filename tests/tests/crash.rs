//! SIGKILL of the control plane under load, again and again: nothing acknowledged is lost, nothing is stored twice.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

use std::time::Duration;

use anyhow::{Result, ensure};
use muster_tests::{
    control_plane::{ControlPlane, Database, Settings},
    fleet::{Fleet, Pace, Stored},
    patience::{SOON, held_to},
    wait,
};

const HOSTS: usize = 200;
const KILLS: usize = 10;
/// Series of each host; few, since it is the count of frames and acknowledgements that matters here.
const SERIES: u32 = 20;
/// Seconds of samples per frame, two frames a second from each host.
const PACE: Pace = Pace { period: Duration::from_millis(500), ticks: 5 };
/// The promise on coming back.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Asks every tenth host for a preflight, and does not wait for what comes of it: the kill comes in between.
async fn ask_some(control_plane: &ControlPlane, fleet: &Fleet, round: usize) {
    for host in fleet.hosts().iter().skip(round).step_by(10) {
        let path = format!("/api/v1/vms/{}/preflight", host.server_id());
        if let Ok(events) = control_plane.rest().stream(&path, None).await {
            drop(events);
        }
    }
}

async fn frames_acknowledged(fleet: &Fleet) -> usize {
    fleet.hosts().iter().map(|host| host.history().acknowledged().len()).sum()
}

async fn survives_ten_kills(database: Database) -> Result<Stored> {
    let mut control_plane = Settings::new().on(database).start().await?;
    let mut fleet = Fleet::enrol(&control_plane, HOSTS, SERIES).await?;
    fleet.start(control_plane.address(), PACE);
    for round in 0..KILLS {
        fleet.all_online(SOON).await?;
        let before = frames_acknowledged(&fleet).await;
        wait::until("frames to be acknowledged", SOON, || async {
            Ok((frames_acknowledged(&fleet).await >= before + HOSTS).then_some(()))
        })
        .await?;
        ask_some(&control_plane, &fleet, round).await;
        control_plane.kill().await?;
        let took = control_plane.start_again().await?;
        println!("kill {}: ready again after {} ms", round + 1, took.as_millis());
        ensure!(took <= held_to(READY_WITHIN), "ready after {took:?}");
    }
    fleet.all_online(SOON).await?;
    fleet.settle(SOON).await?;
    wait::until("every command's end", SOON, || async {
        let unfinished = "SELECT COUNT(*) FROM commands WHERE finished_at_us IS NULL";
        let left = control_plane.database().number(unfinished).await?;
        ensure!(left == 0, "{left} commands are unfinished");
        Ok(Some(()))
    })
    .await?;
    let stored = fleet.verify(&control_plane).await?;
    fleet.stop().await;
    Ok(stored)
}

/// Load the whole machine, so one at a time.
mod alone {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn ten_kills_under_two_hundred_hosts_lose_and_double_nothing() -> Result<()> {
        let stored = survives_ten_kills(Database::Sqlite).await?;
        println!("{HOSTS} hosts, {KILLS} kills: {stored:?}");
        ensure!(stored.commands > 0, "no command was under way in any kill");
        Ok(())
    }
}
