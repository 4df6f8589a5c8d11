//! The ring's file: made once, private, replaced whole.

use std::os::unix::fs::PermissionsExt as _;

use muster_shared::seal::sealed_with;

use super::*;
use crate::store::DatabaseUrl;

async fn store_in(folder: &Path) -> Store {
    Store::open(&DatabaseUrl::sqlite_in(folder)).await.expect("a new database")
}

#[tokio::test]
async fn a_ring_is_made_once_and_kept_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path()).await;
    let first = Keyring::open_or_create(folder.path(), &store, 1).await.expect("made");
    let path = folder.path().join(FILE);
    assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
    let kept = first.keep_control_secret(&store, "ca", b"one", 1).await.expect("kept");
    assert_eq!(kept.as_slice(), b"one");
    let second = Keyring::open_or_create(folder.path(), &store, 1).await.expect("read");
    let kept = second.keep_control_secret(&store, "ca", b"two", 2).await.expect("kept");
    assert_eq!(kept.as_slice(), b"one");
}

#[tokio::test]
async fn a_lost_ring_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path()).await;
    let ring = Keyring::open_or_create(folder.path(), &store, 1).await.expect("made");
    ring.keep_control_secret(&store, "ca", b"one", 1).await.expect("kept");
    fs::remove_file(folder.path().join(FILE)).expect("removed");
    let error = Keyring::open_or_create(folder.path(), &store, 1).await.expect_err("refused");
    assert!(matches!(error, KeyringError::Missing(_)), "{error}");
    assert!(!folder.path().join(FILE).exists());
}

#[tokio::test]
async fn a_ring_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path()).await;
    Keyring::open_or_create(folder.path(), &store, 1).await.expect("made");
    fs::set_permissions(folder.path().join(FILE), fs::Permissions::from_mode(0o640)).expect("changed");
    let error = Keyring::open_or_create(folder.path(), &store, 1).await.expect_err("refused");
    assert!(matches!(error, KeyringError::Exposed(_)), "{error}");
}

const PLACE: Place<'_> = Place { organization: "o", table: "t", row: "r", column: "c" };

#[tokio::test]
async fn whoever_dies_while_replacing_the_file_leaves_a_whole_one() {
    for last in [Step::Written, Step::Synced, Step::Renamed, Step::Durable] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store_in(folder.path()).await;
        let ring = Keyring::open_or_create(folder.path(), &store, 1).await.expect("made");
        let sealed = ring.seal(&PLACE, b"before").expect("sealed");
        let died = ring.add_key(2, &mut |step| if step == last { Err(io::Error::other("died")) } else { Ok(()) });
        assert!(matches!(died, Err(KeyringError::Io(..))), "{last:?}: {died:?}");
        let again = Keyring::open_or_create(folder.path(), &store, 3).await.expect("whole");
        let expected: &[&str] = if matches!(last, Step::Renamed | Step::Durable) { &["k1", "k2"] } else { &["k1"] };
        let ids = |ring: &Keyring| ring.keys().into_iter().map(|key| key.id).collect::<Vec<_>>();
        assert_eq!(ids(&again), expected, "{last:?}");
        assert_eq!(again.open(&PLACE, &sealed).expect("opens").as_slice(), b"before");
        let id = again.add_key(4, &mut |_| Ok(())).expect("the next one goes through");
        assert_eq!(ids(&again).last(), Some(&id));
        let mode = fs::metadata(folder.path().join(FILE)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn replicas_follow_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path()).await;
    let one = Keyring::open_or_create(folder.path(), &store, 1).await.expect("made");
    let two = Keyring::open_or_create(folder.path(), &store, 1).await.expect("read");
    assert_eq!(one.add_key(2, &mut |_| Ok(())).expect("added"), "k2");
    let sealed = one.seal(&PLACE, b"new").expect("sealed");
    assert_eq!(sealed_with(&sealed), Ok("k2"));
    assert_eq!(two.open(&PLACE, &sealed).expect("read again").as_slice(), b"new");
    assert_eq!(two.add_key(3, &mut |_| Ok(())).expect("added"), "k3");
    assert_eq!(sealed_with(&one.seal(&PLACE, b"newer").expect("sealed")), Ok("k3"));
    assert!(one.remove_key("k1", &mut |_| Ok(())).expect("removed"));
    assert!(!two.remove_key("k3", &mut |_| Ok(())).expect("the newest stays"));
    assert_eq!(two.add_key(4, &mut |_| Ok(())).expect("added"), "k4");
}

#[tokio::test]
async fn a_ring_has_a_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path()).await;
    let ring = Keyring::open_or_create(folder.path(), &store, 1).await.expect("made");
    for _ in 1..file::MAX_KEYS {
        ring.add_key(2, &mut |_| Ok(())).expect("added");
    }
    assert!(matches!(ring.add_key(3, &mut |_| Ok(())), Err(KeyringError::Full)));
}
