//! Servers, as people and probes see them.

use muster_shared::preflight::{CheckName, CheckResult, PreflightReport, Qualification};
use secrecy::ExposeSecret as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::{
    audit::Action,
    error::ErrorKind,
    servers::{ConnectionOutcome, ConnectionPatch, HealthStatus, ServerFilter, ServerPatch, ServerStatus, SshLogin},
    store::test_database::{TestDatabase, on_each},
};

#[tokio::test]
async fn what_is_created_is_read_back() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let made = fleet.create("production-server-1").await;
        assert_eq!(made.status, ServerStatus::Running);
        assert_eq!(made.organization_name, "Acme Corp");
        assert_eq!(made.connection_host().as_deref(), Some("203.0.113.10"));
        assert_eq!(made.declared.memory_gb, Some(7.5));
        assert_eq!(made.health(NOW_US).status, HealthStatus::Unknown);
        assert_eq!(fleet.servers.resolve(fleet.org, "production-server-1").await.expect("by name"), made);
        assert_eq!(fleet.servers.resolve(fleet.org, &made.id.to_string()).await.expect("by id"), made);
        let target = fleet.servers.ssh_target(fleet.org, made.id).await.expect("a target");
        assert_eq!((target.host.as_str(), target.port), ("203.0.113.10", 22));
        assert!(matches!(target.auth, SshAuth::Password(password) if password.expose_secret() == "canary-password"));
    })
    .await;
}

#[tokio::test]
async fn another_organization_sees_nothing_and_changes_nothing() {
    on_each(|store| async move {
        let (ours, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let server = ours.create("web").await;
        let not_found = |kind: ErrorKind| assert_eq!(kind, ErrorKind::NotFound);
        not_found(theirs.servers.get(theirs.org, server.id).await.expect_err("hidden").kind);
        not_found(theirs.servers.resolve(theirs.org, "web").await.expect_err("hidden").kind);
        not_found(theirs.servers.facts(theirs.org, server.id).await.expect_err("hidden").kind);
        not_found(theirs.servers.ssh_target(theirs.org, server.id).await.expect_err("hidden").kind);
        let patch = ServerPatch { name: Some(name("taken-over")), ..ServerPatch::default() };
        not_found(theirs.servers.update(&theirs.act(), server.id, &patch).await.expect_err("hidden").kind);
        let key = fingerprint('a');
        not_found(theirs.servers.accept_host_key(&theirs.act(), server.id, &key).await.expect_err("hidden").kind);
        theirs.servers.record_facts(theirs.org, server.id, b"{}", NOW_US, NOW_US).await.expect("nothing to do");
        assert!(theirs.servers.list(theirs.org, ServerFilter::default()).await.expect("a list").is_empty());
        assert_eq!(ours.servers.get(ours.org, server.id).await.expect("unchanged"), server);
    })
    .await;
}

#[tokio::test]
async fn names_are_unique_in_an_organization_only() {
    on_each(|store| async move {
        let (ours, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        ours.create("web").await;
        theirs.create("web").await;
        let error = ours.servers.create(&ours.act(), new_server("web"), None).await.expect_err("taken");
        assert_eq!((error.kind, error.code), (ErrorKind::Conflict, "name_taken"));
        let other = ours.create("db").await;
        let patch = ServerPatch { name: Some(name("web")), ..ServerPatch::default() };
        let error = ours.servers.update(&ours.act(), other.id, &patch).await.expect_err("taken");
        assert_eq!(error.code, "name_taken");
    })
    .await;
}

#[tokio::test]
async fn a_repeated_creation_creates_once() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let key = "key-1".parse().expect("a key");
        let act = fleet.act();
        let create = |server| fleet.servers.create(&act, server, Some(&key));
        let (first, second) = tokio::join!(create(new_server("web")), create(new_server("web")));
        let (first, second) = (first.expect("made"), second.expect("the same"));
        assert_eq!(first.id, second.id);
        assert_eq!(create(new_server("web")).await.expect("the same").id, first.id);
        let mut other = new_server("web");
        other.connection.auth = SshAuth::Password(SecretString::from("another".to_owned())).into();
        assert_eq!(create(other).await.expect_err("another body").code, "idempotency_key_reused");
        assert_eq!(fleet.servers.list(fleet.org, ServerFilter::default()).await.expect("a list").len(), 1);
        assert_eq!(fleet.store.forget_idempotency_keys(NOW_US + 1).await.expect("forgotten"), 1);
    })
    .await;
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let before = fleet.create("web").await;
        let patch = ServerPatch {
            declared: Resources { cpu_cores: Some(8.0), ..Resources::default() },
            connection: Some(ConnectionPatch {
                fqdn: Some("web.example.com".parse().ok()),
                auth: Some(SshLogin::Own(SshAuth::Key {
                    private_key: SecretString::from("a key".to_owned()),
                    passphrase: Some(SecretString::from("a phrase".to_owned())),
                    sudo_password: None,
                })),
                ..ConnectionPatch::default()
            }),
            ..ServerPatch::default()
        };
        let after = fleet.servers.update(&fleet.act_at(NOW_US + 1), before.id, &patch).await.expect("changed");
        assert_eq!(after.name, before.name);
        assert_eq!((after.declared.cpu_cores, after.declared.memory_gb), (Some(8.0), Some(7.5)));
        assert_eq!(after.connection_host().as_deref(), Some("web.example.com"));
        let row = fleet.store.server_row(fleet.org, before.id).await.expect("read").expect("there");
        assert!(row.auth.password.is_none(), "the old password is gone");
        let target = fleet.servers.ssh_target(fleet.org, before.id).await.expect("a target");
        assert!(matches!(target.auth, SshAuth::Key { passphrase: Some(_), .. }));
        let nowhere = ServerPatch {
            connection: Some(ConnectionPatch { fqdn: Some(None), ipv4: Some(None), ..ConnectionPatch::default() }),
            ..ServerPatch::default()
        };
        let error = fleet.servers.update(&fleet.act(), before.id, &nowhere).await.expect_err("no address left");
        assert_eq!(error.code, "address_required");
    })
    .await;
}

#[tokio::test]
async fn two_changes_at_once_both_count() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        let region = ServerPatch { region: Some(label("Paris")), ..ServerPatch::default() };
        let provider = ServerPatch { provider: Some(label("hetzner")), ..ServerPatch::default() };
        let act = fleet.act();
        let (one, two) =
            tokio::join!(fleet.servers.update(&act, id, &region), fleet.servers.update(&act, id, &provider));
        one.and(two).expect("both changed");
        let server = fleet.servers.get(fleet.org, id).await.expect("read");
        assert_eq!((server.region, server.provider), (label("Paris"), label("hetzner")));
    })
    .await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged_oldest_first() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        for number in 0..5 {
            fleet.create(&format!("web-{number}")).await;
        }
        let page = |status, skip, limit| fleet.servers.list(fleet.org, ServerFilter { status, skip, limit });
        let names = |servers: Vec<Server>| servers.iter().map(|server| server.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(page(None, 1, 2).await.expect("a page")), ["web-1", "web-2"]);
        assert_eq!(page(Some(ServerStatus::Running), 0, 100).await.expect("a page").len(), 5);
        assert!(page(Some(ServerStatus::Stopped), 0, 100).await.expect("a page").is_empty());
        assert!(page(None, 5, 100).await.expect("a page").is_empty());
    })
    .await;
}

#[tokio::test]
async fn facts_are_kept_by_age_and_a_fast_clock_does_not_lock_others_out() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        let facts = |hostname: &str| format!(r#"{{"hostname":"{hostname}","cpu":{{"cores":4}}}}"#).into_bytes();
        let record = async |hostname: &str, collected_at_us, now_us| {
            fleet.servers.record_facts(fleet.org, id, &facts(hostname), collected_at_us, now_us).await.expect("kept");
        };
        record("from-the-future", NOW_US + 1000 * MINUTE_US, NOW_US).await;
        record("newer", NOW_US + 2, NOW_US + 2).await;
        record("older", NOW_US + 1, NOW_US + 3).await;
        let (facts, collected_at_us) = fleet.servers.facts(fleet.org, id).await.expect("read").expect("facts");
        assert_eq!((facts.hostname.as_str(), collected_at_us), ("newer", NOW_US + 2));
        let server = fleet.servers.get(fleet.org, id).await.expect("read");
        assert_eq!(server.detected.hostname.as_deref(), Some("newer"));
        assert_eq!(server.detected.cpu_cores, Some(4));
        let error = fleet.servers.record_facts(fleet.org, id, b"{", NOW_US, NOW_US).await.expect_err("refused");
        assert_eq!(error.code, "facts_malformed");
    })
    .await;
}

#[tokio::test]
async fn a_preflight_report_qualifies_until_it_is_old() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        assert_eq!(fleet.servers.preflight(fleet.org, id).await.expect("read"), None);
        let report = PreflightReport {
            checked_at_us: NOW_US,
            checks: vec![CheckResult::failed(CheckName::DockerInstalled, "no docker", "install it")],
            system: None,
        };
        fleet.servers.record_preflight(fleet.org, id, &report).await.expect("kept");
        let old = PreflightReport { checked_at_us: NOW_US - 1, checks: vec![], system: None };
        fleet.servers.record_preflight(fleet.org, id, &old).await.expect("nothing to do");
        assert_eq!(fleet.servers.preflight(fleet.org, id).await.expect("read"), Some(report));
        let server = fleet.servers.get(fleet.org, id).await.expect("read");
        assert_eq!(server.qualification(NOW_US), Some(Qualification::NeedsSetup));
        assert_eq!(server.qualification(NOW_US + 8 * 24 * 60 * MINUTE_US), Some(Qualification::Stale));
    })
    .await;
}

#[tokio::test]
async fn a_changed_host_key_waits_for_a_person() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        let (first, second) = (fingerprint('a'), fingerprint('b'));
        let act = Act::of_system(fleet.org, NOW_US);
        for key in [&first, &second] {
            fleet.servers.record_host_key(&act, id, key).await.expect("recorded, or nothing to do");
        }
        for _ in 0..2 {
            fleet.servers.offer_host_key(&act, id, &second).await.expect("recorded, or no news");
        }
        let server = fleet.servers.get(fleet.org, id).await.expect("read");
        assert_eq!((server.host_key, server.host_key_offered), (Some(first.clone()), Some(second.clone())));
        let target = fleet.servers.ssh_target(fleet.org, id).await.expect("a target");
        assert_eq!(target.host_key, Some(first));
        let server = fleet.servers.accept_host_key(&fleet.act(), id, &second).await.expect("accepted");
        assert_eq!((server.host_key, server.host_key_offered), (Some(second), None));
        let keys = ["SERVER_HOST_KEY_ACCEPTED", "SERVER_HOST_KEY_OFFERED", "SERVER_HOST_KEY_RECORDED"];
        let told = fleet.recorded_of(id).await;
        assert_eq!(
            told.iter().filter(|action| keys.contains(&action.as_str())).collect::<Vec<_>>(),
            keys,
            "newest first"
        );
    })
    .await;
}

#[tokio::test]
async fn the_last_connection_decides_the_health_of_a_server_without_agent() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        let record = async |outcome, at_us| {
            fleet.servers.record_connection(fleet.org, id, outcome, "in words", at_us).await.expect("recorded");
            fleet.servers.get(fleet.org, id).await.expect("read").health(NOW_US + 9).status
        };
        assert_eq!(record(ConnectionOutcome::AuthFailed, NOW_US + 1).await, HealthStatus::AuthFailed);
        assert_eq!(record(ConnectionOutcome::Success, NOW_US + 3).await, HealthStatus::Healthy);
        assert_eq!(record(ConnectionOutcome::Unreachable, NOW_US + 2).await, HealthStatus::Healthy);
    })
    .await;
}

#[tokio::test]
async fn secrets_are_nowhere_in_the_database_files() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    let id = fleet.create("web").await.id;
    assert!(fleet.store.holds_sealed_values().await.expect("read"));
    for file in std::fs::read_dir(database.folder()).expect("a folder") {
        let path = file.expect("a file").path();
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path:?} is its owner's alone");
        let content = std::fs::read(path).expect("readable");
        assert!(!content.windows(15).any(|window| window == b"canary-password"));
    }
    assert!(fleet.servers.ssh_target(fleet.org, id).await.is_ok());
}

#[tokio::test]
async fn ciphertexts_moved_between_servers_are_refused() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (one, two) = (fleet.create("one").await.id, fleet.create("two").await.id);
        let stolen = fleet.store.server_row(fleet.org, one).await.expect("read").expect("there").auth;
        let mut row = fleet.store.server_row(fleet.org, two).await.expect("read").expect("there");
        row.auth = stolen;
        assert!(fleet.store.update_server(&row, &fleet.record(Action::ServerUpdated)).await.expect("written"));
        let error = fleet.servers.ssh_target(fleet.org, two).await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Internal);
    })
    .await;
}

fn fingerprint(digit: char) -> crate::servers::Fingerprint {
    format!("SHA256:{}", digit.to_string().repeat(43)).parse().expect("a fingerprint")
}
