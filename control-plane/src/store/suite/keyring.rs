//! Sealed values: each in its own place only, all of them known, and a master key that can be turned while anybody may
//! die at any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use muster_shared::seal::{Place, SealError, sealed_prefix};

use super::*;
use crate::{
    error::ErrorKind,
    keyring::{RETIRE_AFTER_US, Rotation, reseal},
    servers::SshLogin,
    ssh_keys::{KeySource, KeyType, NewKeyPair},
    store::{Dialect, Exchange, SEALED_COLUMNS, SealedColumn, SealedValue, test_database::on_each},
};

/// No sealed value begins so.
const NO_PREFIX: [u8; 1] = [0xff];

type Opened = BTreeMap<(&'static str, &'static str, String, String), Vec<u8>>;

async fn ring_in(folder: &Path, store: &Store) -> Keyring {
    Keyring::open_or_create(folder, store, NOW_US).await.expect("a key ring")
}

/// Two organisations with two servers of each kind of login, key pairs, repeated creations and control secrets.
async fn populate(store: &Store, keyring: &Keyring) -> [Fleet; 2] {
    for name in ["ca", "command-key"] {
        keyring.keep_control_secret(store, name, name.as_bytes(), NOW_US).await.expect("kept");
    }
    let fleets = [
        Fleet::sealed_by(store.clone(), keyring.clone()).await,
        Fleet::sealed_by(store.clone(), keyring.clone()).await,
    ];
    for fleet in &fleets {
        let row = fleet.user.to_string();
        let place = Place { organization: "-", table: "users", row: &row, column: "totp_secret_sealed" };
        let sealed = keyring.seal(&place, row.as_bytes()).expect("sealed");
        assert!(store.begin_totp(fleet.user, &sealed).await.expect("kept"));
        for number in 0..2 {
            let pair = NewKeyPair {
                name: format!("pair-{number}").parse().expect("a name"),
                description: "".parse().expect("a description"),
                source: KeySource::Generate(KeyType::Ed25519),
            };
            let (pair, _) = fleet.ssh_keys.create(&fleet.act(), pair).await.expect("a key pair");
            let secret = |text: &str| SecretString::from(format!("{text} {number}"));
            let key = SshAuth::Key {
                private_key: secret("key"),
                passphrase: Some(secret("phrase")),
                sudo_password: Some(secret("sudo")),
            };
            let logins = [
                ("password", SshAuth::Password(secret("password")).into()),
                ("key", key.into()),
                ("pair", SshLogin::KeyPair { id: pair.id, sudo_password: None }),
            ];
            for (kind, login) in logins {
                let mut server = new_server(&format!("{kind}-{number}"));
                server.connection.auth = login;
                let repeat = format!("{kind}-{number}").parse().expect("a key");
                fleet.servers.create(&fleet.act(), server, Some(&repeat)).await.expect("a server");
            }
        }
    }
    fleets
}

async fn values(store: &Store) -> Vec<(&'static SealedColumn, SealedValue)> {
    let mut all = Vec::new();
    for column in SEALED_COLUMNS {
        let values = store.sealed_values_without(column, &NO_PREFIX, None, 1000).await.expect("read");
        all.extend(values.into_iter().map(|value| (column, value)));
    }
    all
}

async fn opened(store: &Store, keyring: &Keyring) -> Opened {
    let open = |(column, value): (&'static SealedColumn, SealedValue)| {
        let secret = keyring.open(&column.place(&value), &value.sealed).expect("every value opens");
        ((column.table, column.column, value.organization, value.row), secret.to_vec())
    };
    values(store).await.into_iter().map(open).collect()
}

#[tokio::test]
async fn every_sealed_column_of_the_schema_is_listed() {
    on_each(|store| async move {
        let sql = match store.dialect() {
            Dialect::Sqlite => {
                "SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master m \
                 JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
            }
            Dialect::Postgres => {
                "SELECT table_name::text AS table_name, column_name::text AS column_name \
                 FROM information_schema.columns WHERE table_schema = current_schema()"
            }
        };
        let rows = sqlx::query(sql).fetch_all(store.read()).await.expect("a schema");
        let text = |row: &sqlx::any::AnyRow, column: &str| sqlx::Row::get::<String, _>(row, column);
        let found: BTreeSet<_> = rows
            .iter()
            .map(|row| (text(row, "table_name"), text(row, "column_name")))
            .filter(|(_, column)| column == "sealed" || column.ends_with("_sealed"))
            .collect();
        let listed = SEALED_COLUMNS.iter().map(|it| (it.table.to_owned(), it.column.to_owned())).collect();
        assert_eq!(found, listed);
    })
    .await;
}

#[tokio::test]
async fn any_two_ciphertexts_exchanged_are_refused() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let keyring = ring_in(folder.path(), &store).await;
        let fleets = populate(&store, &keyring).await;
        let all = values(&store).await;
        let kinds: BTreeSet<_> = all.iter().map(|(column, _)| (column.table, column.column)).collect();
        assert_eq!(kinds.len(), SEALED_COLUMNS.len(), "every column has values");
        let mut pairs = 0;
        for (column, here) in &all {
            assert!(keyring.open(&column.place(here), &here.sealed).is_ok());
            for (_, there) in all.iter().filter(|(_, there)| there.sealed != here.sealed) {
                assert_eq!(keyring.open(&column.place(here), &there.sealed), Err(SealError::Refused));
                pairs += 1;
            }
        }
        assert_eq!(pairs, all.len() * (all.len() - 1));
        // The same in the database, as somebody who may write to it would do, and as a login would meet it.
        let [ours, _] = &fleets;
        let servers = ours.servers.list(ours.org, crate::servers::ServerFilter::default()).await.expect("a list");
        for server in servers {
            assert!(ours.servers.ssh_target(ours.org, server.id).await.is_ok());
            let row = server.key_pair.map_or(server.id.to_string(), |pair| pair.to_string());
            let mine = all.iter().filter(|(column, value)| value.row == row && column.table != "idempotency_keys");
            for (column, value) in mine {
                for (_, stolen) in all.iter().filter(|(_, stolen)| stolen.sealed != value.sealed) {
                    let put = |was: &SealedValue, is: &[u8]| Exchange { value: was.clone(), anew: is.to_vec() };
                    let there = SealedValue { sealed: stolen.sealed.clone(), ..value.clone() };
                    store.exchange_sealed(column, &[put(value, &stolen.sealed)]).await.expect("written");
                    let error = ours.servers.ssh_target(ours.org, server.id).await.expect_err("refused");
                    assert_eq!(error.kind, ErrorKind::Internal);
                    assert_eq!(store.exchange_sealed(column, &[put(&there, &value.sealed)]).await.expect("back"), 1);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn turning_the_key_survives_death_at_every_await() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().expect("a folder");
        populate(&store, &ring_in(folder.path(), &store).await).await;
        let before = opened(&store, &ring_in(folder.path(), &store).await).await;
        let mut deaths = 0;
        loop {
            let keyring = ring_in(folder.path(), &store).await;
            let old = keyring.keys().pop().expect("a key").id;
            let new = keyring.add_key(NOW_US, &mut |_| Ok(())).expect("added");
            let done = die_after(deaths, reseal(&store, &keyring)).await;
            drop(keyring);
            let keyring = ring_in(folder.path(), &store).await;
            assert_eq!(opened(&store, &keyring).await, before, "after {deaths} waits");
            reseal(&store, &keyring).await.expect("goes on");
            assert_eq!(opened(&store, &keyring).await, before);
            for (column, value) in values(&store).await {
                assert!(value.sealed.starts_with(&sealed_prefix(&new)), "{} {}", column.table, value.row);
            }
            assert!(keyring.remove_key(&old, &mut |_| Ok(())).expect("removed"));
            assert_eq!(opened(&store, &ring_in(folder.path(), &store).await).await, before);
            if done.is_some() {
                break;
            }
            deaths += 1;
        }
        assert!(deaths >= SEALED_COLUMNS.len(), "it died {deaths} times only");
    })
    .await;
}

#[tokio::test]
async fn a_key_is_retired_once_nothing_needs_it() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let keyring = ring_in(folder.path(), &store).await;
        let [fleet, stranger] = populate(&store, &keyring).await;
        let rotation = Rotation::new(store.clone(), keyring.clone());
        let (fleet, stranger) = match store.first_organization().await.expect("read") {
            Some(org) if org == fleet.org => (fleet, stranger),
            _ => (stranger, fleet),
        };
        let later = fleet.act_at(NOW_US + RETIRE_AFTER_US);
        for refused in [rotation.rotate(&stranger.act()).await, rotation.retire(&stranger.act(), "k1").await] {
            assert_eq!(refused.expect_err("not theirs").kind, ErrorKind::PermissionDenied);
        }
        assert_eq!(rotation.retire(&later, "k1").await.expect_err("it seals").code, "key_seals");
        let standing = rotation.rotate(&fleet.act()).await.expect("rotated");
        let total = values(&store).await.len() as u64;
        assert_eq!((standing.keys.len(), standing.remaining()), (2, total));
        let refused = async |act: &Act, id: &str| rotation.retire(act, id).await.expect_err("refused").code;
        assert_eq!(refused(&fleet.act(), "k1").await, "key_just_replaced");
        assert_eq!(refused(&later, "k1").await, "key_needed");
        assert_eq!(refused(&later, "k7").await, "not_found");
        let done = reseal(&store, &keyring).await.expect("sealed anew");
        assert_eq!((done.done, done.missed, done.unopened), (total, 0, 0));
        assert_eq!(rotation.standing(fleet.org).await.expect("read").remaining(), 0);
        let standing = rotation.retire(&later, "k1").await.expect("retired");
        assert_eq!(standing.keys.iter().map(|key| key.key.id.as_str()).collect::<Vec<_>>(), ["k2"]);
        opened(&store, &ring_in(folder.path(), &store).await).await;
    })
    .await;
}

#[tokio::test]
async fn nobody_writes_back_what_was_sealed_anew() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let keyring = ring_in(folder.path(), &store).await;
        let fleet = Fleet::sealed_by(store.clone(), keyring.clone()).await;
        let id = fleet.create("web").await.id;
        let row = store.server_row(fleet.org, id).await.expect("read").expect("there");
        let value = values(&store).await.pop().expect("a value");
        keyring.add_key(NOW_US, &mut |_| Ok(())).expect("added");
        assert_eq!(reseal(&store, &keyring).await.expect("sealed anew").done, 1);
        assert!(!store.update_server(&row, &fleet.record(Action::ServerUpdated)).await.expect("answered"));
        let late = Exchange { anew: b"late".to_vec(), value: value.1 };
        assert_eq!(store.exchange_sealed(value.0, &[late]).await.expect("answered"), 0);
        let patch = crate::servers::ServerPatch { region: Some(label("Paris")), ..Default::default() };
        fleet.servers.update(&fleet.act(), id, &patch).await.expect("changed");
        assert!(fleet.servers.ssh_target(fleet.org, id).await.is_ok());
    })
    .await;
}
