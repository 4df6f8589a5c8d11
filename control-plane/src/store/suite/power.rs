//! Power: who stands beside whom, packets that are waited on, and servers that were stopped.

use muster_shared::{
    command::{CommandBody, CommandState},
    facts::{Facts, Interface, InterfaceAddress},
    id::CommandId,
    policy::Family,
    power::{POWERING_OFF, WakeArgs},
};

use super::*;
use crate::{
    commands::{Command, CommandFilter, DEFAULT_TTL_US, Finished, REPORT_GRACE_US, Step, UP_WITHIN_US, Update},
    power::neighbours::{Missing, choose},
    servers::ServerStatus,
    sessions::{Closing, Entered, Entry},
    store::{SessionClaim, SessionOutcome, test_database::on_each},
};

/// Opens a session in the boot `boot_id`; answers its generation.
async fn connect(fleet: &Fleet, server: ServerId, serial: &str, generation: u64, boot_id: &str) -> u64 {
    let claim = SessionClaim {
        serial: serial.into(),
        server_id: server,
        generation,
        machine_id_sha256: String::new(),
        boot_id: boot_id.into(),
        agent_version: "0.1.0".into(),
        allowed_families: vec![Family::Observe, Family::Power],
    };
    let entered = fleet.store.enter(&[Entry::Open(claim)], NOW_US).await.expect("answered");
    let [Entered::Session(SessionOutcome::Opened { generation, .. })] = entered[..] else { panic!("{entered:?}") };
    let confirm = Entry::Confirm { org: fleet.org, server, generation };
    fleet.store.enter(&[confirm], NOW_US).await.expect("confirmed");
    generation
}

/// Ends the session `generation`; answers whether it was the server's.
async fn close(fleet: &Fleet, server: ServerId, generation: u64, at_us: i64) -> bool {
    let closing = Closing {
        org: fleet.org,
        server,
        generation,
        lease_owner: format!("{server}/{generation}"),
        is_current: true,
        last_seen_at_us: at_us,
    };
    let entered = fleet.store.enter(&[Entry::Close(closing)], at_us).await.expect("answered");
    entered == [Entered::Changed(true)]
}

async fn stands_in(fleet: &Fleet, server: ServerId, mac: &str, ip: &str) {
    let addresses = vec![InterfaceAddress { ip: ip.into(), prefix: 16 }];
    let facts =
        Facts { interfaces: vec![Interface { name: "eth0".into(), mac: mac.into(), addresses }], ..Facts::default() };
    let json = serde_json::to_vec(&facts).expect("JSON");
    fleet.servers.record_facts(fleet.org, server, &json, NOW_US, NOW_US).await.expect("kept");
}

async fn submit(fleet: &Fleet, server: ServerId, body: CommandBody) -> Command {
    fleet.commands.submit(&fleet.act(), server, body, DEFAULT_TTL_US).await.expect("submitted")
}

async fn end(fleet: &Fleet, server: ServerId, id: CommandId, code: &str, now_us: i64) {
    let end = Finished {
        state: CommandState::Succeeded,
        code: code.into(),
        detail: "done".into(),
        result: None,
        receipt: None,
    };
    for (seq, step) in [(1, Step::Started), (2, Step::Finished(end))] {
        fleet.commands.record(server, id, &Update { seq, at_us: now_us, step }, now_us).await.expect("recorded");
    }
}

async fn status(fleet: &Fleet, server: ServerId) -> ServerStatus {
    fleet.servers.get(fleet.org, server).await.expect("read").status
}

#[tokio::test]
async fn only_connected_servers_of_the_same_organization_and_network_are_neighbours() {
    on_each(|store| async move {
        let (ours, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let (target, _) = ours.joined("target").await;
        let (peer, serial) = ours.joined("peer").await;
        let (offline, _) = ours.joined("offline").await;
        let (elsewhere, elsewhere_serial) = ours.joined("elsewhere").await;
        let (foreign, foreign_serial) = theirs.joined("foreign").await;
        connect(&ours, elsewhere, &elsewhere_serial, 0, "boot").await;
        connect(&theirs, foreign, &foreign_serial, 0, "boot").await;
        stands_in(&ours, target, "02:00:00:00:00:01", "10.1.0.1").await;
        stands_in(&ours, offline, "02:00:00:00:00:02", "10.1.0.2").await;
        stands_in(&ours, elsewhere, "02:00:00:00:00:03", "10.2.0.3").await;
        stands_in(&theirs, foreign, "02:00:00:00:00:04", "10.1.0.4").await;
        stands_in(&ours, peer, "02:00:00:00:00:05", "10.1.0.5").await;
        let found = async || {
            let server = ours.servers.get(ours.org, target).await.expect("read");
            let places = ours.store.places(ours.org, target).await.expect("read");
            let neighbours = ours.store.neighbours(ours.org, &server, &places).await.expect("read");
            choose(ours.org, target, &places, &neighbours)
        };
        assert_eq!(found().await, Err(Missing::Peer("10.1.0.0/16".into())));
        connect(&ours, peer, &serial, 0, "boot").await;
        let waker = found().await.expect("a neighbour");
        assert_eq!((waker.server, waker.args.mac.to_string().as_str()), (peer, "02:00:00:00:00:01"));
        assert!(theirs.store.places(theirs.org, target).await.expect("read").is_empty());
        ours.servers.record_facts(ours.org, target, b"{}", NOW_US, NOW_US).await.expect("kept");
        assert_eq!(found().await.expect("still known").server, peer, "its last network is remembered");
    })
    .await;
}

#[tokio::test]
async fn a_packet_that_was_sent_is_waited_on_until_the_server_is_back_or_for_too_long() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (peer, _) = fleet.joined("peer").await;
        let (target, serial) = fleet.joined("target").await;
        let args = WakeArgs {
            mac: "02:00:00:00:00:01".parse().expect("an address"),
            interface: "eth0".parse().expect("a name"),
            target,
        };
        let [back, never] = [
            submit(&fleet, peer, CommandBody::Wake(args.clone())).await.id,
            submit(&fleet, peer, CommandBody::Wake(args)).await.id,
        ];
        let read = async |id| fleet.commands.get(fleet.org, id).await.expect("read");
        end(&fleet, peer, never, "sent", NOW_US).await;
        fleet.commands.reconcile(NOW_US + UP_WITHIN_US - 1).await.expect("reconciled");
        assert_eq!(read(never).await.state, CommandState::Started);
        fleet.commands.reconcile(NOW_US + UP_WITHIN_US).await.expect("reconciled");
        let ended = read(never).await;
        assert_eq!((ended.state, ended.code.as_str()), (CommandState::Failed, "not_up_yet"));
        end(&fleet, peer, back, "sent", NOW_US + DEFAULT_TTL_US).await;
        connect(&fleet, target, &serial, 0, "boot").await;
        fleet.commands.reconcile(NOW_US + DEFAULT_TTL_US + REPORT_GRACE_US).await.expect("reconciled");
        let ended = read(back).await;
        assert_eq!((ended.state, ended.code.as_str()), (CommandState::Succeeded, "back"));
        let listed = fleet.commands.list(fleet.org, &CommandFilter::of_server(target)).await.expect("listed");
        assert_eq!(listed.len(), 2, "the woken server's list has them, too");
    })
    .await;
}

#[tokio::test]
async fn a_server_is_stopped_once_it_has_gone_and_runs_once_it_is_back() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        let generation = connect(&fleet, server, &serial, 0, "boot-1").await;
        let stop = submit(&fleet, server, CommandBody::Stop).await.id;
        end(&fleet, server, stop, POWERING_OFF, NOW_US).await;
        assert_eq!(status(&fleet, server).await, ServerStatus::Running, "it is still there");
        close(&fleet, server, generation, NOW_US + SECOND_US).await;
        assert_eq!(status(&fleet, server).await, ServerStatus::Stopped);
        let generation = connect(&fleet, server, &serial, generation, "boot-1").await;
        assert_eq!(status(&fleet, server).await, ServerStatus::Running, "the stream broke on its way down");
        close(&fleet, server, generation, NOW_US + 2 * SECOND_US).await;
        assert_eq!(status(&fleet, server).await, ServerStatus::Stopped);
        let generation = connect(&fleet, server, &serial, generation, "boot-2").await;
        assert_eq!(status(&fleet, server).await, ServerStatus::Running);
        close(&fleet, server, generation, NOW_US + 3 * SECOND_US).await;
        assert_eq!(status(&fleet, server).await, ServerStatus::Running, "a new boot that is cut off was not stopped");
    })
    .await;
}

#[tokio::test]
async fn only_a_host_that_powers_off_now_leaves_its_server_stopped() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        for (body, code, at_us, expected) in [
            (CommandBody::Stop, "", NOW_US, ServerStatus::Running),
            (CommandBody::Reboot, POWERING_OFF, NOW_US, ServerStatus::Running),
            (CommandBody::Stop, POWERING_OFF, NOW_US + 10 * MINUTE_US, ServerStatus::Running),
            (CommandBody::Stop, POWERING_OFF, NOW_US + MINUTE_US, ServerStatus::Stopped),
        ] {
            let (server, serial) = fleet.joined("debian").await;
            let generation = connect(&fleet, server, &serial, 0, "boot").await;
            let id = submit(&fleet, server, body).await.id;
            end(&fleet, server, id, code, NOW_US).await;
            assert!(close(&fleet, server, generation, at_us).await);
            assert_eq!(status(&fleet, server).await, expected, "{code} {at_us}");
        }
        let (server, serial) = fleet.joined("debian").await;
        connect(&fleet, server, &serial, 0, "boot").await;
        let id = submit(&fleet, server, CommandBody::Stop).await.id;
        end(&fleet, server, id, POWERING_OFF, NOW_US).await;
        fleet.store.close_every_session().await.expect("closed");
        assert_eq!(status(&fleet, server).await, ServerStatus::Stopped, "the control plane died first");
    })
    .await;
}
