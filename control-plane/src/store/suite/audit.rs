//! Changes and their entries, together or not at all; and whatever is done behind the control plane's back is named.

use futures_util::future::join_all;
use muster_shared::{command::CommandBody, id::OrgId, power::WakeArgs};
use serde_json::Value;

use super::*;
use crate::{
    audit::{Audit, Entry, Fault},
    commands::DEFAULT_TTL_US,
    error::ErrorKind,
    servers::ServerPatch,
    store::{AuditFilter, test_database::on_each},
};

fn all() -> AuditFilter {
    AuditFilter { limit: 1000, ..AuditFilter::default() }
}

async fn faults(fleet: &Fleet) -> Vec<Fault> {
    let verifier = fleet.store.audit_signer().expect("a key").verifier();
    Audit::new(fleet.store.clone(), verifier).verify(fleet.org).await.expect("read").faults
}

async fn entries(fleet: &Fleet) -> Vec<Entry> {
    fleet.store.list_audit(fleet.org, &all()).await.expect("read")
}

#[tokio::test]
async fn a_change_is_on_record_with_who_and_what() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        let patch = ServerPatch { region: Some(label("Helsinki")), ..ServerPatch::default() };
        fleet.servers.update(&fleet.act_at(NOW_US + 5), id, &patch).await.expect("changed");
        let entries = entries(&fleet).await;
        let words: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(words, ["SERVER_UPDATED", "SERVER_CREATED", "ORGANIZATION_CREATED"]);
        let updated = &entries[0];
        assert_eq!((updated.resource_id.as_str(), updated.resource_name.as_str()), (&*id.to_string(), "web"));
        assert_eq!((updated.actor_kind.as_str(), updated.actor_name.as_str()), ("user", "owner"));
        assert_eq!((updated.at_us, updated.seq), (NOW_US + 5, 3));
        assert_eq!(updated.before, r#"{"region":"Frankfurt"}"#);
        assert_eq!(updated.after, r#"{"region":"Helsinki"}"#);
        let created: Value = serde_json::from_str(&entries[1].after).expect("JSON");
        assert_eq!(created["ssh_password"], "kept");
        assert!(!entries.iter().any(|entry| entry.after.contains("canary") || entry.before.contains("canary")));
        let filter = AuditFilter { action: Some("SERVER_CREATED".into()), ..all() };
        assert_eq!(fleet.store.list_audit(fleet.org, &filter).await.expect("read").len(), 1);
        assert_eq!(fleet.store.list_audit(OrgId::generate(), &all()).await.expect("read"), []);
    })
    .await;
}

#[tokio::test]
async fn what_is_on_record_of_a_server_includes_its_commands_and_those_about_it() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let (other, _) = fleet.joined("other").await;
        let about = async |server| {
            let filter = AuditFilter { server: Some(server), ..all() };
            let entries = fleet.store.list_audit(fleet.org, &filter).await.expect("read");
            entries.into_iter().map(|entry| entry.action).collect::<Vec<_>>()
        };
        let joined = about(server).await;
        assert!(joined.contains(&"SERVER_JOINED".to_owned()) && !joined.iter().any(|word| word.starts_with("COMMAND")));
        let submit = async |server, body| {
            let submitted = fleet.commands.submit(&fleet.act(), server, body, DEFAULT_TTL_US).await;
            submitted.expect("submitted").id
        };
        let own = submit(server, CommandBody::RefreshFacts).await;
        fleet.commands.cancel(&fleet.act(), own).await.expect("cancelled");
        let args = WakeArgs {
            mac: "02:00:00:00:00:01".parse().expect("an address"),
            interface: "eth0".parse().expect("a name"),
            target: server,
        };
        submit(other, CommandBody::Wake(args)).await;
        submit(other, CommandBody::RefreshFacts).await;
        let words = ["COMMAND_SUBMITTED", "COMMAND_CANCELLED", "COMMAND_SUBMITTED"].map(str::to_owned);
        assert_eq!(about(server).await, [&words[..], &joined].concat(), "newest first, each once");
        assert_eq!(about(other).await.iter().filter(|word| *word == "COMMAND_SUBMITTED").count(), 2);
        let page = AuditFilter { server: Some(server), action: Some("COMMAND_SUBMITTED".into()), skip: 1, ..all() };
        let page = fleet.store.list_audit(fleet.org, &page).await.expect("read");
        assert_eq!(page.iter().map(|entry| entry.resource_id.as_str()).collect::<Vec<_>>(), [&*own.to_string()]);
        let foreign = AuditFilter { server: Some(server), ..all() };
        assert_eq!(fleet.store.list_audit(OrgId::generate(), &foreign).await.expect("read"), []);
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_leaves_no_entry() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        fleet.create("web").await;
        let before = entries(&fleet).await;
        let error = fleet.servers.create(&fleet.act(), new_server("web"), None).await.expect_err("taken");
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert_eq!(entries(&fleet).await, before);
    })
    .await;
}

#[tokio::test]
async fn a_hundred_changes_at_once_are_one_sound_chain() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let names: Vec<_> = (0..100).map(|number| format!("s-{number}")).collect();
        let act = fleet.act();
        let made = join_all(names.iter().map(|name| fleet.servers.create(&act, new_server(name), None))).await;
        assert!(made.iter().all(Result::is_ok));
        let seqs: Vec<_> = entries(&fleet).await.iter().rev().map(|entry| entry.seq).collect();
        assert_eq!(seqs, (1..=101).collect::<Vec<_>>());
        assert_eq!(faults(&fleet).await, []);
    })
    .await;
}

#[tokio::test]
async fn tampering_with_rows_is_named() {
    for (statement, fault) in [
        ("UPDATE audit_entries SET actor_name = 'mallory' WHERE seq = 2", Fault::Edited(2)),
        ("UPDATE audit_entries SET after_json = '{}' WHERE seq = 4", Fault::Edited(4)),
        ("DELETE FROM audit_entries WHERE seq = 3", Fault::Missing(3)),
        ("DELETE FROM audit_entries WHERE seq = 4", Fault::CutOff(4)),
        ("DELETE FROM audit_entries WHERE seq = 1", Fault::Missing(1)),
        (
            "DELETE FROM audit_entries WHERE seq = 4; UPDATE audit_heads SET seq = 3, hash = \
             (SELECT hash FROM audit_entries WHERE seq = 3)",
            Fault::BadSignature(3),
        ),
        (
            "UPDATE audit_entries SET seq = 9 WHERE seq = 2; UPDATE audit_entries SET seq = 2 WHERE seq = 3; \
             UPDATE audit_entries SET seq = 3 WHERE seq = 9",
            Fault::Edited(2),
        ),
    ] {
        on_each(|store| async move {
            let fleet = Fleet::new(store).await;
            for name in ["a", "b", "c"] {
                fleet.create(name).await;
            }
            assert_eq!(faults(&fleet).await, []);
            sqlx::raw_sql(statement).execute(fleet.store.write()).await.expect("tampered");
            let found = faults(&fleet).await;
            assert!(found.contains(&fault), "{statement}: {found:?}");
        })
        .await;
    }
}
