//! The key ring: the keys that seal what the database must not show, kept in a file outside of it.
//!
//! `DIR/keyring.toml` (mode 0600) lists keys by id; the last one seals, the others still open what they sealed. It is
//! made at the first start. A database that holds sealed values and no key ring means that the file was lost: starting
//! is refused, since a new key could open none of them.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_shared::seal::{KeyRing, Place, SealError};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::store::{Store, StoreError};

const FILE: &str = "keyring.toml";
/// The organisation of secrets that belong to the control plane itself.
const CONTROL: &str = "-";

/// Why the key ring can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("the database holds sealed values but {0:?} is missing: restore it from your backup")]
    Missing(PathBuf),
    #[error("{0:?} may be read by others: run chmod 600 on it")]
    Exposed(PathBuf),
    #[error("{0:?} is not a key ring: {1}")]
    Malformed(PathBuf, String),
    #[error("{0:?} can't be read or written")]
    Io(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyringFile {
    keys: Vec<KeyEntry>,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    /// 32 bytes, base64.
    secret: String,
}

/// The open key ring. Clones share it.
#[derive(Debug, Clone)]
pub struct Keyring {
    ring: Arc<KeyRing>,
}

impl Keyring {
    /// Reads `data_dir/keyring.toml`, or makes it when nothing in `store` was sealed yet.
    ///
    /// # Errors
    /// [`KeyringError`]: missing though needed, readable by others, malformed, or not accessible.
    pub async fn open_or_create(data_dir: &Path, store: &Store) -> Result<Self, KeyringError> {
        let path = data_dir.join(FILE);
        match read(&path) {
            Ok(keyring) => Ok(keyring),
            Err(KeyringError::Io(_, source)) if source.kind() == io::ErrorKind::NotFound => {
                if store.holds_sealed_values().await? {
                    return Err(KeyringError::Missing(path));
                }
                create(&path)?;
                read(&path)
            }
            Err(error) => Err(error),
        }
    }

    /// A ring with the one key given, for tests.
    #[cfg(test)]
    pub(crate) fn of_key(byte: u8) -> Self {
        let mut ring = KeyRing::default();
        ring.push("test", Zeroizing::new([byte; 32])).expect("a good key");
        Self { ring: Arc::new(ring) }
    }

    /// Seals `secret` for `place`.
    ///
    /// # Errors
    /// [`SealError`] when the system has no randomness.
    pub fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        self.ring.seal(place, secret)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`SealError`]: damaged, from a lost key, or from another place.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.ring.open(place, sealed)
    }

    /// The control plane's own secret `name`, if it was made.
    ///
    /// # Errors
    /// [`KeyringError`]: the store failed or the value doesn't open.
    pub async fn control_secret(
        &self,
        store: &Store,
        name: &'static str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        let Some(sealed) = store.control_secret(name).await? else { return Ok(None) };
        Ok(Some(self.open(&control_place(name), &sealed)?))
    }

    /// Keeps `secret` as the control plane's own secret `name` unless there is one, and answers the one kept: when two
    /// replicas start at once, both use the first's.
    ///
    /// # Errors
    /// [`KeyringError`]: the store failed or the value doesn't open.
    pub async fn keep_control_secret(
        &self,
        store: &Store,
        name: &'static str,
        secret: &[u8],
        now_us: i64,
    ) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let place = control_place(name);
        let sealed = self.seal(&place, secret)?;
        let kept = store.keep_control_secret(name, &sealed, now_us).await?;
        Ok(self.open(&place, &kept)?)
    }
}

fn control_place(name: &str) -> Place<'_> {
    Place { organization: CONTROL, table: "control_secrets", row: name, column: "sealed" }
}

fn read(path: &Path) -> Result<Keyring, KeyringError> {
    let io = |source| KeyringError::Io(path.to_owned(), source);
    let malformed = |why: String| KeyringError::Malformed(path.to_owned(), why);
    let mode = fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyringError::Exposed(path.to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
    // The parser's message may quote the line, and the line may be a key.
    let file: KeyringFile =
        toml::from_str(&text).map_err(|_| malformed("expected [[keys]] with id and secret".into()))?;
    let mut ring = KeyRing::default();
    for entry in &file.keys {
        let secret = STANDARD.decode(entry.secret.as_bytes()).map(Zeroizing::new);
        let key = secret
            .ok()
            .and_then(|secret| <[u8; 32]>::try_from(secret.as_slice()).ok())
            .ok_or_else(|| malformed(format!("the secret of key {:?} must be 32 bytes in base64", entry.id)))?;
        ring.push(&entry.id, Zeroizing::new(key)).map_err(|source| malformed(source.to_string()))?;
    }
    if file.keys.is_empty() {
        return Err(malformed("it holds no key".into()));
    }
    Ok(Keyring { ring: Arc::new(ring) })
}

fn create(path: &Path) -> Result<(), KeyringError> {
    let key = KeyRing::generate_key()?;
    let secret = Zeroizing::new(STANDARD.encode(key.as_slice()));
    let text = Zeroizing::new(format!(
        "# The keys that seal secrets in Muster's database. Back this file up apart from the database: without it,\n\
         # no stored credential opens again.\n\n[[keys]]\nid = \"k1\"\nsecret = \"{}\"\n",
        secret.as_str()
    ));
    write_private(path, text.as_bytes()).map_err(|source| KeyringError::Io(path.to_owned(), source))
}

/// Writes a new file that only its owner may read, durably: it is there whole or not at all. An existing one stays.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    // A hard link fails where a rename would overwrite.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DatabaseUrl;

    async fn store_in(folder: &Path) -> Store {
        Store::open(&DatabaseUrl::sqlite_in(folder)).await.expect("a new database")
    }

    #[tokio::test]
    async fn a_ring_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store_in(folder.path()).await;
        let first = Keyring::open_or_create(folder.path(), &store).await.expect("made");
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        let kept = first.keep_control_secret(&store, "ca", b"one", 1).await.expect("kept");
        assert_eq!(kept.as_slice(), b"one");
        let second = Keyring::open_or_create(folder.path(), &store).await.expect("read");
        let kept = second.keep_control_secret(&store, "ca", b"two", 2).await.expect("kept");
        assert_eq!(kept.as_slice(), b"one");
    }

    #[tokio::test]
    async fn a_lost_ring_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store_in(folder.path()).await;
        let ring = Keyring::open_or_create(folder.path(), &store).await.expect("made");
        ring.keep_control_secret(&store, "ca", b"one", 1).await.expect("kept");
        fs::remove_file(folder.path().join(FILE)).expect("removed");
        let error = Keyring::open_or_create(folder.path(), &store).await.expect_err("refused");
        assert!(matches!(error, KeyringError::Missing(_)), "{error}");
        assert!(!folder.path().join(FILE).exists());
    }

    #[tokio::test]
    async fn a_ring_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store_in(folder.path()).await;
        Keyring::open_or_create(folder.path(), &store).await.expect("made");
        fs::set_permissions(folder.path().join(FILE), fs::Permissions::from_mode(0o640)).expect("changed");
        let error = Keyring::open_or_create(folder.path(), &store).await.expect_err("refused");
        assert!(matches!(error, KeyringError::Exposed(_)), "{error}");
    }
}
