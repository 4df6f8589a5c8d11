//! Sessions: generations, copies, revocation, and who is online.

use muster_shared::policy::Family;

use super::*;
use crate::{
    access::Act,
    audit::{Action, Record},
    servers::AgentStatus,
    sessions::{Closing, Entered, Entry, generation::CloneSign},
    store::{SessionClaim, SessionOutcome, test_database::on_each},
};

fn claim(server_id: ServerId, serial: &str, generation: u64) -> SessionClaim {
    SessionClaim {
        serial: serial.into(),
        server_id,
        generation,
        machine_id_sha256: "machine-1".into(),
        boot_id: "boot-1".into(),
        agent_version: "0.1.0".into(),
        allowed_families: vec![Family::Observe],
    }
}

pub(super) async fn open(fleet: &Fleet, claim: &SessionClaim) -> SessionOutcome {
    match enter(fleet, Entry::Open(claim.clone())).await {
        Entered::Session(outcome) => outcome,
        other => panic!("not a session: {other:?}"),
    }
}

async fn enter(fleet: &Fleet, entry: Entry) -> Entered {
    let entered = fleet.store.enter(&[entry], NOW_US).await.expect("answered");
    let [entered] = entered[..] else { panic!("{} outcomes of one entry", entered.len()) };
    entered
}

fn confirm(fleet: &Fleet, server: ServerId, generation: u64) -> Entry {
    Entry::Confirm { org: fleet.org, server, generation }
}

fn close(fleet: &Fleet, server: ServerId, generation: u64) -> Entry {
    Entry::Close(Closing {
        org: fleet.org,
        server,
        generation,
        lease_owner: format!("{server}/{generation}"),
        is_current: true,
        last_seen_at_us: NOW_US,
    })
}

async fn status(fleet: &Fleet, server: ServerId) -> AgentStatus {
    fleet.servers.get(fleet.org, server).await.expect("read").agent.status
}

#[tokio::test]
async fn a_host_comes_and_goes() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        let opened = |generation| SessionOutcome::Opened { org_id: fleet.org, generation };
        assert_eq!(open(&fleet, &claim(server, &serial, 0)).await, opened(1));
        assert_eq!(enter(&fleet, confirm(&fleet, server, 1)).await, Entered::Changed(true));
        assert_eq!(status(&fleet, server).await, AgentStatus::Online);
        assert_eq!(open(&fleet, &claim(server, &serial, 1)).await, opened(2));
        let closed =
            async |generation| enter(&fleet, close(&fleet, server, generation)).await == Entered::Changed(true);
        assert!(!closed(1).await, "an older session's end is no news");
        assert_eq!(status(&fleet, server).await, AgentStatus::Online);
        assert!(closed(2).await);
        assert_eq!(status(&fleet, server).await, AgentStatus::Offline);
        assert_eq!(open(&fleet, &claim(server, &serial, 1)).await, opened(3), "its confirmation was lost");
        assert_eq!(fleet.store.close_every_session().await.expect("closed"), 1);
        assert_eq!(status(&fleet, server).await, AgentStatus::Offline);
    })
    .await;
}

#[tokio::test]
async fn a_copy_quarantines_both_until_a_person_decides() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        for generation in 0..2 {
            open(&fleet, &claim(server, &serial, generation)).await;
            enter(&fleet, confirm(&fleet, server, generation + 1)).await;
        }
        let copy = claim(server, &serial, 1);
        let sign = CloneSign::OldGeneration;
        assert_eq!(open(&fleet, &copy).await, SessionOutcome::Clone { org_id: fleet.org, sign });
        assert_eq!(open(&fleet, &claim(server, &serial, 2)).await, SessionOutcome::Quarantined, "the original too");
        let told = fleet.recorded_of(server).await;
        assert_eq!(told.iter().filter(|action| *action == "AGENT_QUARANTINED").count(), 1, "{told:?}");
        assert!(!fleet.store.certificate(&serial).await.expect("read").expect("there").is_good());
        let token = fleet.join_token(Some(server)).await;
        let outcome = fleet.store.enroll(&enrolment(&token, "x"), |_, _| signed(), NOW_US).await.expect("answered");
        assert!(matches!(outcome, Enrolled::Quarantined));
        assert!(
            fleet
                .store
                .release_quarantine(server, &fleet.record(Action::AgentQuarantineReleased))
                .await
                .expect("released")
        );
        assert!(
            !fleet
                .store
                .release_quarantine(server, &fleet.record(Action::AgentQuarantineReleased))
                .await
                .expect("nothing to do")
        );
        assert_eq!(open(&fleet, &claim(server, &serial, 2)).await, SessionOutcome::Revoked, "old papers stay refused");
        let outcome = fleet.store.enroll(&enrolment(&token, "x"), |_, _| signed(), NOW_US).await.expect("answered");
        let Enrolled::Consumed(joined) = outcome else { panic!("not joined") };
        assert!(matches!(open(&fleet, &claim(server, &joined.made, 0)).await, SessionOutcome::Opened { .. }));
    })
    .await;
}

#[tokio::test]
async fn another_machine_with_the_same_disk_is_a_copy() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        let copy = SessionClaim { machine_id_sha256: "machine-2".into(), ..claim(server, &serial, 0) };
        let sign = CloneSign::OtherMachine;
        assert_eq!(open(&fleet, &copy).await, SessionOutcome::Clone { org_id: fleet.org, sign });
    })
    .await;
}

#[tokio::test]
async fn papers_open_nothing_but_their_own_server() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("one").await;
        let (other, _) = fleet.joined("two").await;
        assert_eq!(open(&fleet, &claim(other, &serial, 0)).await, SessionOutcome::Unknown);
        assert_eq!(open(&fleet, &claim(server, "", 0)).await, SessionOutcome::Unknown);
        assert!(fleet.store.revoke_agent(server, &fleet.record(Action::AgentRevoked)).await.expect("revoked"));
        assert_eq!(open(&fleet, &claim(server, &serial, 0)).await, SessionOutcome::Revoked);
        let stranger = Act::of_system(OrgId::generate(), NOW_US);
        let stranger = Record::new(&stranger, Action::AgentRevoked, other, "");
        assert!(!fleet.store.revoke_agent(other, &stranger).await.expect("hidden"));
    })
    .await;
}

#[tokio::test]
async fn sessions_opened_at_once_get_numbers_of_their_own() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        let claim = claim(server, &serial, 0);
        let outcomes = futures_util::future::join_all((0..5).map(|_| open(&fleet, &claim))).await;
        let mut numbers: Vec<u64> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                SessionOutcome::Opened { generation, .. } => generation,
                other => panic!("not opened: {other:?}"),
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    })
    .await;
}

#[tokio::test]
async fn the_last_sign_of_life_only_moves_forward() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        fleet.store.record_seen(&[(server, NOW_US + 5)]).await.expect("recorded");
        fleet.store.record_seen(&[(server, NOW_US + 3)]).await.expect("recorded");
        let agent = fleet.servers.get(fleet.org, server).await.expect("read").agent;
        assert_eq!(agent.last_seen_at_us, Some(NOW_US + 5));
    })
    .await;
}
