//! Key pairs of organisations, and servers that are entered with them.

use muster_shared::id::SshKeyPairId;
use secrecy::ExposeSecret as _;

use super::*;
use crate::{
    error::{Error, ErrorKind},
    servers::{ConnectionPatch, ServerPatch, SshLogin},
    ssh_keys::{KeyPairPatch, KeySource, KeyType, NewKeyPair, SshKeyPair},
    store::{AuditFilter, test_database::on_each},
};

fn new_pair(name: &str) -> NewKeyPair {
    NewKeyPair {
        name: name.parse().expect("a name"),
        description: "for all of them".parse().expect("a description"),
        source: KeySource::Generate(KeyType::Ed25519),
    }
}

async fn pair(fleet: &Fleet, name: &str) -> (SshKeyPair, String) {
    let (pair, private_key) = fleet.ssh_keys.create(&fleet.act(), new_pair(name)).await.expect("a key pair");
    (pair, private_key.expect("made here").to_string())
}

async fn server_with(fleet: &Fleet, name: &str, id: SshKeyPairId) -> Result<Server, Error> {
    let mut server = new_server(name);
    server.connection.auth = SshLogin::KeyPair { id, sudo_password: None };
    fleet.servers.create(&fleet.act(), server, None).await
}

#[tokio::test]
async fn a_pair_is_kept_listed_renamed_and_deleted() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (web, _) = pair(&fleet, "web").await;
        let (db, _) = pair(&fleet, "db").await;
        assert_eq!(fleet.ssh_keys.get(fleet.org, web.id).await.expect("kept"), web);
        assert_eq!(fleet.ssh_keys.list(fleet.org, 0, 10).await.expect("a list"), [web.clone(), db.clone()]);
        assert_eq!(fleet.ssh_keys.list(fleet.org, 1, 1).await.expect("a page"), std::slice::from_ref(&db));
        let taken = fleet.ssh_keys.create(&fleet.act(), new_pair("web")).await.expect_err("taken");
        assert_eq!((taken.kind, taken.code), (ErrorKind::Conflict, "name_taken"));
        let rename = |name: &str| KeyPairPatch { name: name.parse().ok(), description: None };
        let taken = fleet.ssh_keys.update(&fleet.act(), db.id, rename("web")).await.expect_err("taken");
        assert_eq!(taken.code, "name_taken");
        let renamed = fleet.ssh_keys.update(&fleet.act_at(NOW_US + 1), db.id, rename("data")).await.expect("renamed");
        assert_eq!((renamed.name.as_str(), renamed.description.as_str()), ("data", "for all of them"));
        assert_eq!((renamed.created_at_us, renamed.updated_at_us), (NOW_US, NOW_US + 1));
        fleet.ssh_keys.delete(&fleet.act(), db.id).await.expect("deleted");
        let gone = fleet.ssh_keys.delete(&fleet.act(), db.id).await.expect_err("gone");
        assert_eq!(gone.kind, ErrorKind::NotFound);
        let filter = AuditFilter { resource_type: Some("ssh_key_pair".into()), limit: 100, ..AuditFilter::default() };
        let words: Vec<_> = fleet.store.list_audit(fleet.org, &filter).await.expect("read");
        let words: Vec<_> = words.iter().map(|entry| entry.action.as_str()).collect();
        let expected = ["SSH_KEY_PAIR_DELETED", "SSH_KEY_PAIR_UPDATED", "SSH_KEY_PAIR_CREATED", "SSH_KEY_PAIR_CREATED"];
        assert_eq!(words, expected);
    })
    .await;
}

#[tokio::test]
async fn servers_are_entered_with_their_pair_until_they_get_another_login() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (pair, private_key) = pair(&fleet, "web").await;
        let server = server_with(&fleet, "web-1", pair.id).await.expect("a server");
        assert_eq!(server.key_pair, Some(pair.id));
        let target = fleet.servers.ssh_target(fleet.org, server.id).await.expect("a target");
        assert!(matches!(target.auth, SshAuth::Key { private_key: key, .. } if key.expose_secret() == private_key));
        assert_eq!(fleet.ssh_keys.get(fleet.org, pair.id).await.expect("read").used_by, 1);
        let used = fleet.ssh_keys.delete(&fleet.act(), pair.id).await.expect_err("in use");
        assert_eq!((used.kind, used.code), (ErrorKind::Precondition, "key_pair_in_use"));
        let login = SshAuth::Password(SecretString::from("another".to_owned())).into();
        let patch = ServerPatch {
            connection: Some(ConnectionPatch { auth: Some(login), ..ConnectionPatch::default() }),
            ..ServerPatch::default()
        };
        let server = fleet.servers.update(&fleet.act(), server.id, &patch).await.expect("changed");
        assert_eq!(server.key_pair, None);
        fleet.ssh_keys.delete(&fleet.act(), pair.id).await.expect("deleted");
    })
    .await;
}

#[tokio::test]
async fn another_organization_s_pair_is_not_there() {
    on_each(|store| async move {
        let (ours, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let (pair, _) = pair(&theirs, "web").await;
        let not_found = |result: Result<(), Error>| assert_eq!(result.expect_err("refused").kind, ErrorKind::NotFound);
        not_found(ours.ssh_keys.get(ours.org, pair.id).await.map(drop));
        not_found(ours.ssh_keys.update(&ours.act(), pair.id, KeyPairPatch::default()).await.map(drop));
        not_found(ours.ssh_keys.delete(&ours.act(), pair.id).await);
        not_found(server_with(&ours, "web-1", pair.id).await.map(drop));
        let server = ours.create("web-2").await;
        let login = || SshLogin::KeyPair { id: pair.id, sudo_password: None };
        not_found(ours.servers.begin_login_change(ours.org, server.id, login()).await.map(drop));
        let patch = ServerPatch {
            connection: Some(ConnectionPatch { auth: Some(login()), ..ConnectionPatch::default() }),
            ..ServerPatch::default()
        };
        not_found(ours.servers.update(&ours.act(), server.id, &patch).await.map(drop));
        assert_eq!(ours.ssh_keys.list(ours.org, 0, 10).await.expect("a list"), []);
        assert_eq!(theirs.ssh_keys.list(theirs.org, 0, 10).await.expect("a list"), [pair]);
    })
    .await;
}

#[tokio::test]
async fn deleting_a_pair_and_starting_to_use_it_never_leaves_a_server_without() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        for round in 0..8 {
            let (pair, _) = pair(&fleet, &format!("pair-{round}")).await;
            let name = format!("web-{round}");
            let act = fleet.act();
            let (made, deleted) =
                tokio::join!(server_with(&fleet, &name, pair.id), fleet.ssh_keys.delete(&act, pair.id));
            assert!(made.is_ok() != deleted.is_ok(), "{made:?} {deleted:?}");
            if let Ok(server) = made {
                fleet.servers.ssh_target(fleet.org, server.id).await.expect("its key opens");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_login_is_replaced_unless_somebody_else_was_faster() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let id = fleet.create("web").await.id;
        let password = |text: &str| SshLogin::Own(SshAuth::Password(SecretString::from(text.to_owned())));
        let key = |text: &str, sudo_password: Option<&str>| {
            SshLogin::Own(SshAuth::Key {
                private_key: SecretString::from(text.to_owned()),
                passphrase: None,
                sudo_password: sudo_password.map(SecretString::from),
            })
        };
        let begin = async |login| fleet.servers.begin_login_change(fleet.org, id, login).await.expect("begun");
        let first = begin(key("key 1", Some("sudo"))).await;
        let second = begin(password("second")).await;
        let act = fleet.act();
        let server = fleet.servers.finish_login_change(&act, first).await.expect("replaced");
        assert_eq!(server.ssh.expect("an account").auth_method, crate::servers::AuthMethod::SshKey);
        let late = fleet.servers.finish_login_change(&act, second).await.expect_err("late");
        assert_eq!((late.kind, late.code), (ErrorKind::Conflict, "changed_meanwhile"));
        // What sudo asks for outlives a new key, and nothing outlives a password.
        let change = begin(key("key 2", None)).await;
        fleet.servers.finish_login_change(&act, change).await.expect("replaced");
        let target = fleet.servers.ssh_target(fleet.org, id).await.expect("a target");
        assert!(matches!(&target.auth, SshAuth::Key { private_key, .. } if private_key.expose_secret() == "key 2"));
        assert_eq!(target.auth.sudo_password().map(|it| it.expose_secret()), Some("sudo"));
        let change = begin(password("third")).await;
        fleet.servers.finish_login_change(&act, change).await.expect("replaced");
        let row = fleet.store.server_row(fleet.org, id).await.expect("read").expect("there");
        assert!(row.auth.password.is_some() && row.auth.private_key.is_none() && row.auth.key_pair.is_none());
        let change = begin(key("key 3", None)).await;
        fleet.servers.finish_login_change(&act, change).await.expect("replaced");
        let row = fleet.store.server_row(fleet.org, id).await.expect("read").expect("there");
        assert!(row.auth.password.is_none(), "the password of before is forgotten");
        let filter =
            AuditFilter { action: Some("SERVER_SSH_PASSWORD_UPDATED".into()), limit: 9, ..AuditFilter::default() };
        let entries = fleet.store.list_audit(fleet.org, &filter).await.expect("read");
        assert_eq!(entries.len(), 1);
        assert!(entries[0].before.contains("\"ssh_auth_method\":\"ssh_key\""), "{}", entries[0].before);
        assert!(entries[0].after.contains("\"ssh_auth_method\":\"password\""), "{}", entries[0].after);
        assert!(!entries[0].after.contains("third") && !entries[0].before.contains("key 2"));
    })
    .await;
}
