//! The key ring: the keys that seal what the database must not show, kept in a file outside of it.
//!
//! `DIR/keyring.toml` (mode 0600) lists keys by id; the last one seals, the others still open what they sealed. It is
//! made at the first start. A database that holds sealed values and no key ring means that the file was lost: starting
//! is refused, since a new key could open none of them.
//!
//! The master key is rotated while everything runs ([`Rotation`]): a new key is added durably and seals at once, a
//! reconciler ([`keep_resealed`]) seals anew what older keys sealed, and a key that nothing needs can be retired.
//! Replicas share the file: before sealing each looks whether it was replaced, and one that meets a value of a key it
//! does not know reads the file again.

mod carried;
mod file;
mod reseal;
mod rotation;
#[cfg(test)]
mod tests;

pub use carried::{CARRIED_LIFE_US, Carried, MAX_CARRIED_BYTES};
pub(crate) use file::Reached;
#[cfg(test)]
pub(crate) use file::Step;
pub use reseal::{Resealed, keep_resealed, reseal};
pub use rotation::{KeyStanding, RETIRE_AFTER_US, RingStanding, Rotation};

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use muster_shared::seal::{KeyRing, Place, SealError};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::{
    app::chain,
    store::{Store, StoreError},
};

const FILE: &str = "keyring.toml";
/// The organisation of secrets that belong to the control plane itself.
pub const CONTROL: &str = "-";

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
    #[error("the key ring holds as many keys as it may")]
    Full,
    #[error("this key ring has no file")]
    NoFile,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key of the ring, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    pub id: String,
    /// 0 where the file does not say.
    pub made_at_us: i64,
}

/// The open key ring. Clones share it.
#[derive(Debug, Clone)]
pub struct Keyring {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` for a ring that a test made up.
    path: Option<PathBuf>,
    loaded: RwLock<Arc<Loaded>>,
    /// A key was added: there is something to seal anew.
    turned: Notify,
}

struct Loaded {
    ring: KeyRing,
    keys: Vec<RingKey>,
    stamp: Option<file::Stamp>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("path", &self.path).finish_non_exhaustive()
    }
}

impl From<file::Contents> for Loaded {
    fn from(contents: file::Contents) -> Self {
        Self { ring: contents.ring, keys: contents.keys, stamp: Some(contents.stamp) }
    }
}

impl Keyring {
    /// Reads `data_dir/keyring.toml`, or makes it when nothing in `store` was sealed yet.
    ///
    /// # Errors
    /// [`KeyringError`]: missing though needed, readable by others, malformed, or not accessible.
    pub async fn open_or_create(data_dir: &Path, store: &Store, now_us: i64) -> Result<Self, KeyringError> {
        let path = data_dir.join(FILE);
        match file::read(&path) {
            Ok(contents) => Ok(Self::of(Some(path), contents.into())),
            Err(KeyringError::Io(_, source)) if source.kind() == io::ErrorKind::NotFound => {
                if store.holds_sealed_values().await? {
                    return Err(KeyringError::Missing(path));
                }
                file::create(&path, now_us)?;
                let contents = file::read(&path)?;
                Ok(Self::of(Some(path), contents.into()))
            }
            Err(error) => Err(error),
        }
    }

    fn of(path: Option<PathBuf>, loaded: Loaded) -> Self {
        Self { shared: Arc::new(Shared { path, loaded: RwLock::new(Arc::new(loaded)), turned: Notify::new() }) }
    }

    /// A ring with the one key given, for tests.
    #[cfg(test)]
    pub(crate) fn of_key(byte: u8) -> Self {
        let mut ring = KeyRing::default();
        ring.push("test", Zeroizing::new([byte; 32])).expect("a good key");
        Self::of(None, Loaded { ring, keys: vec![RingKey { id: "test".to_owned(), made_at_us: 0 }], stamp: None })
    }

    /// Seals `secret` for `place` with the newest key there is.
    ///
    /// # Errors
    /// [`SealError`] when the system has no randomness.
    pub fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        self.newest().ring.seal(place, secret)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`SealError`]: damaged, from a lost key, or from another place.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match self.loaded().ring.open(place, sealed) {
            // Another replica added the key meanwhile.
            Err(SealError::UnknownKey(_)) => self.newest().ring.open(place, sealed),
            decided => decided,
        }
    }

    /// Adds a key durably; it seals from now on. Answers its id. Blocks.
    ///
    /// # Errors
    /// [`KeyringError::Full`], or the file can't be replaced.
    pub(crate) fn add_key(&self, now_us: i64, reached: Reached<'_>) -> Result<String, KeyringError> {
        let path = self.shared.path.as_ref().ok_or(KeyringError::NoFile)?;
        let id = file::add_key(path, now_us, reached)?;
        self.newest();
        self.shared.turned.notify_one();
        Ok(id)
    }

    /// Removes the key `id` durably, unless it is the newest; answers whether it was there. Blocks.
    ///
    /// # Errors
    /// The file can't be replaced.
    pub(crate) fn remove_key(&self, id: &str, reached: Reached<'_>) -> Result<bool, KeyringError> {
        let path = self.shared.path.as_ref().ok_or(KeyringError::NoFile)?;
        let removed = file::remove_key(path, id, reached)?;
        self.newest();
        Ok(removed)
    }

    /// The ring's keys, oldest first, as the file holds them now.
    #[must_use]
    pub fn keys(&self) -> Vec<RingKey> {
        self.newest().keys.clone()
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The ring as the file holds it now. A file that can't be read leaves the one in use.
    fn newest(&self) -> Arc<Loaded> {
        let loaded = self.loaded();
        let Some(path) = &self.shared.path else { return loaded };
        match file::stamp(path) {
            Ok(stamp) if loaded.stamp == Some(stamp) => return loaded,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(error = %error, "the key ring's file is gone: restore it before the next start");
                return loaded;
            }
        }
        match file::read(path) {
            Ok(contents) => {
                let fresh = Arc::new(Loaded::from(contents));
                *self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
                fresh
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "the key ring's file can't be used: the ring in use stays");
                loaded
            }
        }
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
