//! Joining: a token lets one host in, once.

use std::{collections::HashSet, convert::Infallible};

use muster_shared::id::JoinTokenId;

use super::*;
use crate::{
    audit::Action,
    servers::{AgentStatus, ServerFilter},
    store::{JoinTokenStatus, test_database::on_each},
};

type Outcome = Enrolled<String, Infallible>;

async fn enroll(fleet: &Fleet, enrolment: &Enrolment, now_us: i64) -> Outcome {
    fleet.store.enroll(enrolment, |_, _| signed(), now_us).await.expect("answered")
}

#[tokio::test]
async fn of_a_hundred_hosts_with_one_token_one_joins() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let token = fleet.join_token(None).await;
        let hosts = (0..100).map(|number| enrolment(&token, &format!("host-{number}"))).collect::<Vec<_>>();
        let outcomes = futures_util::future::join_all(hosts.iter().map(|host| enroll(&fleet, host, NOW_US))).await;
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Enrolled::Consumed(_))).count();
        let late = outcomes.iter().filter(|outcome| matches!(outcome, Enrolled::AlreadyUsed)).count();
        assert_eq!((won, late), (1, 99));
        assert_eq!(fleet.servers.list(fleet.org, ServerFilter::default()).await.expect("a list").len(), 1);
        let listed = fleet.store.list_join_tokens(fleet.org).await.expect("a list");
        assert_eq!(listed[0].status(NOW_US), JoinTokenStatus::Used);
        assert!(listed[0].used_by.is_some());
    })
    .await;
}

#[tokio::test]
async fn bad_tokens_are_told_apart() {
    on_each(|store| async move {
        let (fleet, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let unknown = Token::generate("mjt_").expect("randomness");
        assert!(matches!(enroll(&fleet, &enrolment(&unknown, "a"), NOW_US).await, Enrolled::Unknown));
        let expired = fleet.join_token(None).await;
        let later = NOW_US + 10 * MINUTE_US;
        assert!(matches!(enroll(&fleet, &enrolment(&expired, "a"), later).await, Enrolled::Expired));
        let revoked = fleet.join_token(None).await;
        let ids: Vec<JoinTokenId> =
            fleet.store.list_join_tokens(fleet.org).await.expect("a list").iter().map(|token| token.id).collect();
        for id in ids {
            assert!(
                !theirs.store.revoke_join_token(id, &theirs.record(Action::JoinTokenRevoked)).await.expect("hidden")
            );
            assert!(fleet.store.revoke_join_token(id, &fleet.record(Action::JoinTokenRevoked)).await.expect("revoked"));
        }
        assert!(matches!(enroll(&fleet, &enrolment(&revoked, "a"), NOW_US).await, Enrolled::Revoked));
        assert!(theirs.store.list_join_tokens(theirs.org).await.expect("a list").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_failed_signature_leaves_the_token_good() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let token = fleet.join_token(None).await;
        let unsigned: Enrolled<String, &str> =
            fleet.store.enroll(&enrolment(&token, "a"), |_, _| Err("no"), NOW_US).await.expect("answered");
        assert!(matches!(unsigned, Enrolled::NotSigned("no")));
        assert!(fleet.servers.list(fleet.org, ServerFilter::default()).await.expect("a list").is_empty());
        assert!(matches!(enroll(&fleet, &enrolment(&token, "a"), NOW_US).await, Enrolled::Consumed(_)));
    })
    .await;
}

#[tokio::test]
async fn hosts_of_one_name_get_names_of_their_own() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let tokens = [fleet.join_token(None).await, fleet.join_token(None).await, fleet.join_token(None).await];
        let hosts = tokens.each_ref().map(|token| enrolment(token, "debian"));
        futures_util::future::join_all(hosts.iter().map(|host| enroll(&fleet, host, NOW_US))).await;
        let servers = fleet.servers.list(fleet.org, ServerFilter::default()).await.expect("a list");
        let names: HashSet<_> = servers.iter().map(|server| server.name.to_string()).collect();
        assert_eq!(names, HashSet::from(["debian".into(), "debian-2".into(), "debian-3".into()]));
        assert!(servers.iter().all(|server| server.agent.status == AgentStatus::Pending));
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_joins_again_stays_the_same_server_with_new_papers() {
    on_each(|store| async move {
        let (fleet, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let (server, serial) = fleet.joined("debian").await;
        let token = fleet.join_token(None).await;
        let again = Enrolment { previous_server: Some(server), ..enrolment(&token, "debian") };
        let Enrolled::Consumed(joined) = enroll(&fleet, &again, NOW_US).await else { panic!("not joined") };
        assert_eq!((joined.server_id, joined.is_new_server), (server, false));
        let old = fleet.store.certificate(&serial).await.expect("read").expect("there");
        assert_eq!(old.revoked_because.as_deref(), Some("enrolled_again"));
        assert!(fleet.store.certificate(&joined.made).await.expect("read").expect("there").is_good());
        let foreign = theirs.join_token(None).await;
        let moved = Enrolment { previous_server: Some(server), ..enrolment(&foreign, "debian") };
        let Enrolled::Consumed(joined) = enroll(&theirs, &moved, NOW_US).await else { panic!("not joined") };
        assert_ne!(joined.server_id, server, "a token of another organisation takes no server over");
    })
    .await;
}

#[tokio::test]
async fn a_token_for_a_server_makes_the_host_that_server() {
    on_each(|store| async move {
        let (fleet, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let server = fleet.create("web").await;
        let token = fleet.join_token(Some(server.id)).await;
        let Enrolled::Consumed(joined) = enroll(&fleet, &enrolment(&token, "x"), NOW_US).await else {
            panic!("not joined")
        };
        assert_eq!((joined.server_id, joined.is_new_server), (server.id, false));
        let foreign = NewJoinToken {
            id: JoinTokenId::generate(),
            hash: Token::generate("mjt_").expect("randomness").hash(),
            for_server: Some(server.id),
            server_name: None,
            allowed_families: vec![],
            created_by: theirs.user,
            expires_at_us: NOW_US + MINUTE_US,
        };
        assert!(
            !theirs.store.insert_join_token(&foreign, &theirs.record(Action::JoinTokenCreated)).await.expect("refused")
        );
    })
    .await;
}

#[tokio::test]
async fn renewal_needs_good_papers_and_a_good_standing() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        let (other, _) = fleet.joined("other").await;
        let renew = async |server, old: &str| {
            let (certificate, serial) = signed().expect("signed");
            let renewed = fleet.store.renew_certificate(fleet.org, server, old, &certificate, NOW_US).await;
            renewed.expect("answered").then_some(serial)
        };
        let renewed = renew(server, &serial).await.expect("renewed");
        assert!(fleet.store.certificate(&serial).await.expect("read").expect("there").is_good());
        assert_eq!(renew(other, &serial).await, None, "papers of another server");
        assert_eq!(renew(server, "0badc0de").await, None, "papers never given out");
        assert!(fleet.store.revoke_agent(server, &fleet.record(Action::AgentRevoked)).await.expect("revoked"));
        assert_eq!(renew(server, &renewed).await, None, "revoked");
    })
    .await;
}
