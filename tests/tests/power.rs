//! Power on real servers: a reboot proves its boot, a stop ends in order, a start wakes through a neighbour, and a killed
//! executor orders nothing twice. This machine's engine is the hardware that lets a server boot again.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster_shared::power::{MacAddress, WAKE_PORT};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{Ending, LabServer, Network, Release, Variant},
    rest::{Answer, age_seconds},
    wait,
};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

/// Longest anything here may take that is no boot.
const SOON: Duration = Duration::from_secs(30);
/// The promise on a command whose executor was killed, from its restart; systemd restarts it after a second.
const KNOWN_WITHIN_SECONDS: f64 = 15.0 + 1.0;
const POLICY: &str = "/etc/muster-agent/policy.toml";

async fn join(control_plane: &ControlPlane, server: &LabServer, allow: &[&str]) -> Result<String> {
    Ok(control_plane.join_allowing(server, allow).await?["id"].as_str().context("an id")?.to_owned())
}

async fn ask(control_plane: &ControlPlane, server: &str, action: &str) -> Result<Answer> {
    control_plane.rest().call(Method::POST, &format!("/api/v1/vms/{server}/{action}"), None).await
}

/// Asks for what must be taken, and answers the command's id.
async fn order(control_plane: &ControlPlane, server: &str, action: &str) -> Result<String> {
    let answer = ask(control_plane, server, action).await?;
    ensure!(answer.status == StatusCode::ACCEPTED, "{action}: {} {}", answer.status, answer.text);
    Ok(answer.body["command"]["id"].as_str().context("a command")?.to_owned())
}

async fn command(control_plane: &ControlPlane, id: &str) -> Result<Value> {
    control_plane.rest().get(&format!("/api/v1/commands/{id}")).await
}

async fn ended(control_plane: &ControlPlane, id: &str) -> Result<Value> {
    wait::until("the command's end", Duration::from_secs(60), || async {
        let command = command(control_plane, id).await?;
        Ok((!command["finished_at"].is_null()).then_some(command))
    })
    .await
}

async fn shows(control_plane: &ControlPlane, server: &str, field: &str, expected: &Value) -> Result<()> {
    wait::until(&format!("{field} to be {expected}"), SOON, || async {
        let shown = control_plane.server(server).await?;
        ensure!(&shown[field] == expected, "{}", shown[field]);
        Ok(Some(()))
    })
    .await
}

async fn refuses(control_plane: &ControlPlane, server: &str, action: &str, code: &str) -> Result<()> {
    let answer = ask(control_plane, server, action).await?;
    ensure!(answer.status == StatusCode::CONFLICT && answer.body["code"] == code, "{} {}", answer.status, answer.text);
    Ok(())
}

/// Waits for the packet that wakes `mac`.
async fn woken(socket: &UdpSocket, mac: MacAddress) -> Result<()> {
    let mut packet = [0; 256];
    let heard = async {
        loop {
            let length = socket.recv(&mut packet).await?;
            if packet[..length] == mac.magic_packet() {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(SOON, heard).await.context("no packet came")?
}

async fn rebooted(control_plane: &ControlPlane, server: LabServer, id: &str) -> Result<LabServer> {
    let reboot = order(control_plane, id, "reboot").await?;
    ensure!(command(control_plane, &reboot).await?["state"] == "started");
    assert_eq!(server.ended().await?, Ending::Rebooted);
    let server = server.boot_again().await?;
    let done = ended(control_plane, &reboot).await?;
    assert_eq!(done["state"], "succeeded", "{done}");
    let result = &done["result"];
    assert_ne!(result["old_boot_id"], result["new_boot_id"], "{result}");
    let age = age_seconds(&result["boot_time"])?;
    ensure!((0.0..60.0).contains(&age), "booted {age} s ago: {result}");
    println!("reboot: {} s from the order until the agent was back", result["downtime_seconds"]);
    assert_eq!(control_plane.server(id).await?["status"], "running");
    Ok(server)
}

async fn stopped(control_plane: &ControlPlane, server: &LabServer, id: &str) -> Result<()> {
    let stop = order(control_plane, id, "stop").await?;
    assert_eq!(server.ended().await?, Ending::PoweredOff);
    // The host is gone, so whatever is known now was recorded before.
    let done = command(control_plane, &stop).await?;
    assert_eq!((&done["state"], &done["code"]), (&json!("succeeded"), &json!("powering_off")), "{done}");
    shows(control_plane, id, "status", &json!("stopped")).await
}

#[tokio::test]
async fn a_server_reboots_stops_and_is_woken_by_its_neighbour() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let peer = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let id = join(&control_plane, &server, &["observe", "power"]).await?;
    let peer_id = join(&control_plane, &peer, &["observe"]).await?;

    refuses(&control_plane, &peer_id, "reboot", "policy_refused").await?;
    let server = rebooted(&control_plane, server, &id).await?;
    let running = ask(&control_plane, &id, "start").await?;
    assert_eq!((running.status, &running.body["command"]), (StatusCode::OK, &Value::Null), "{}", running.text);

    stopped(&control_plane, &server, &id).await?;
    refuses(&control_plane, &id, "stop", "agent_offline").await?;
    refuses(&control_plane, &id, "start", "peer_not_allowed").await?;
    peer.write_file(POLICY, "0644", b"allow = [\"observe\", \"power\"]\n").await?;
    shows(&control_plane, &peer_id, "allowed_families", &json!(["observe", "power"])).await?;

    let facts = control_plane.rest().get(&format!("/api/v1/vms/{id}/facts")).await?;
    let mac = &facts["facts"]["interfaces"][0]["mac"];
    let mac: MacAddress = mac.as_str().with_context(|| facts.to_string())?.parse()?;
    let card = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, WAKE_PORT)).await?;
    let wake = order(&control_plane, &id, "start").await?;
    woken(&card, mac).await?;
    let sent = command(&control_plane, &wake).await?;
    assert_eq!((&sent["server_id"], &sent["target_server_id"]), (&json!(peer_id), &json!(id)), "{sent}");
    let server = server.boot_again().await?;
    let done = ended(&control_plane, &wake).await?;
    assert_eq!((&done["state"], &done["code"]), (&json!("succeeded"), &json!("back")), "{done}");
    println!("start: {}", done["detail"]);
    shows(&control_plane, &id, "status", &json!("running")).await?;

    stopped(&control_plane, &server, &id).await?;
    peer.run(&["systemctl", "stop", "muster-agent-link"]).await?;
    shows(&control_plane, &peer_id, "agent_status", &json!("offline")).await?;
    refuses(&control_plane, &id, "start", "no_peer").await
}

/// Puts a program in the place of the one the executor gives its orders with, which notes each order and then runs
/// `and_then`: the executor is its parent.
async fn replace_orders(server: &LabServer, and_then: &str) -> Result<()> {
    let script = format!("#!/bin/sh\necho order >> /var/lib/orders\n{and_then}\n");
    server.write_file("/usr/bin/systemd-run", "0755", script.as_bytes()).await
}

async fn orders(server: &LabServer) -> Result<usize> {
    Ok(server.run(&["cat", "/var/lib/orders"]).await?.lines().count())
}

#[tokio::test]
async fn a_killed_executor_orders_a_reboot_once_at_most_and_knows_how_it_ended() -> Result<()> {
    let network = Network::create().await?;
    let control_plane = Settings::new().reached_from(&network).start().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    let id = join(&control_plane, &server, &["observe", "power"]).await?;
    server.run(&["cp", "-a", "/usr/bin/systemd-run", "/usr/bin/systemd-run.true"]).await?;

    replace_orders(&server, "kill -9 $PPID").await?;
    let reboot = order(&control_plane, &id, "reboot").await?;
    let done = ended(&control_plane, &reboot).await?;
    assert_eq!((&done["state"], &done["code"]), (&json!("failed"), &json!("still_up")), "{done}");
    let took = age_seconds(&done["started_at"])? - age_seconds(&done["finished_at"])?;
    println!("killed before the order: known after {took:.1} s");
    ensure!(took <= KNOWN_WITHIN_SECONDS, "{took} s");
    assert_eq!(orders(&server).await?, 1);

    replace_orders(&server, "/usr/bin/systemd-run.true \"$@\"; kill -9 $PPID").await?;
    let reboot = order(&control_plane, &id, "reboot").await?;
    assert_eq!(server.ended().await?, Ending::Rebooted);
    let server = server.boot_again().await?;
    let done = ended(&control_plane, &reboot).await?;
    assert_eq!(done["state"], "succeeded", "{done}");
    assert_eq!(orders(&server).await?, 2, "one for each command");
    Ok(())
}
