//! The key ring's file. It is replaced whole: written beside, made durable, then renamed over. Whoever dies on the way
//! leaves either the old file or the new one, and a new key seals only once the file that holds it is durable.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_shared::seal::KeyRing;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{KeyringError, RingKey, write_private};

/// Keys in one ring: each rotation adds one, and unneeded ones are to be retired.
pub(super) const MAX_KEYS: usize = 16;

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
    /// Absent in files that were made before keys said it.
    #[serde(default)]
    made_at_us: i64,
}

/// Tells one version of the file from another: a replaced file is another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// What the file held when it was read.
pub(super) struct Contents {
    pub(super) ring: KeyRing,
    pub(super) keys: Vec<RingKey>,
    pub(super) stamp: Stamp,
}

/// How far replacing the file got. Tests stop at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Written,
    Synced,
    Renamed,
    Durable,
}

/// Lets a test die at a step.
pub(crate) type Reached<'a> = &'a mut dyn FnMut(Step) -> io::Result<()>;

/// Which version of the file is there now.
pub(super) fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Contents, KeyringError> {
    let malformed = |why: String| KeyringError::Malformed(path.to_owned(), why);
    // Another process may have just renamed it here: it must not be lost once something was sealed with its keys.
    let before =
        stamp(path).and_then(|stamp| sync_folder(path).map(|()| stamp)).map_err(|source| io_error(path, source))?;
    let entries = entries(path)?;
    let mut ring = KeyRing::default();
    for entry in &entries {
        let secret = STANDARD.decode(entry.secret.as_bytes()).map(Zeroizing::new);
        let key = secret
            .ok()
            .and_then(|secret| <[u8; 32]>::try_from(secret.as_slice()).ok())
            .ok_or_else(|| malformed(format!("the secret of key {:?} must be 32 bytes in base64", entry.id)))?;
        ring.push(&entry.id, Zeroizing::new(key)).map_err(|source| malformed(source.to_string()))?;
    }
    let keys = entries.iter().map(|entry| RingKey { id: entry.id.clone(), made_at_us: entry.made_at_us }).collect();
    Ok(Contents { ring, keys, stamp: before })
}

/// Makes the first file, unless there is one.
pub(super) fn create(path: &Path, now_us: i64) -> Result<(), KeyringError> {
    let text = render(&[new_entry("k1".to_owned(), now_us)?]);
    write_private(path, text.as_bytes()).map_err(|source| io_error(path, source))
}

/// Adds a new key, which seals from then on, and answers its id.
pub(super) fn add_key(path: &Path, now_us: i64, reached: Reached<'_>) -> Result<String, KeyringError> {
    let _alone = lock(path)?;
    let mut entries = entries(path)?;
    if entries.len() >= MAX_KEYS {
        return Err(KeyringError::Full);
    }
    // The newest key is never removed, so that no id is ever given out twice.
    let number = |entry: &KeyEntry| entry.id.strip_prefix('k').and_then(|digits| digits.parse::<u32>().ok());
    let highest = entries.iter().filter_map(number).max().unwrap_or(0);
    let id = format!("k{}", highest.saturating_add(1));
    entries.push(new_entry(id.clone(), now_us)?);
    replace(path, render(&entries).as_bytes(), reached).map_err(|source| io_error(path, source))?;
    Ok(id)
}

/// Removes the key `id`, which must not be the newest; answers whether it was there.
pub(super) fn remove_key(path: &Path, id: &str, reached: Reached<'_>) -> Result<bool, KeyringError> {
    let _alone = lock(path)?;
    let mut entries = entries(path)?;
    if entries.last().is_none_or(|newest| newest.id == id) {
        return Ok(false);
    }
    let before = entries.len();
    entries.retain(|entry| entry.id != id);
    if entries.len() == before {
        return Ok(false);
    }
    replace(path, render(&entries).as_bytes(), reached).map_err(|source| io_error(path, source))?;
    Ok(true)
}

fn entries(path: &Path) -> Result<Vec<KeyEntry>, KeyringError> {
    let malformed = |why: &str| KeyringError::Malformed(path.to_owned(), why.to_owned());
    let mode = fs::metadata(path).map_err(|source| io_error(path, source))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyringError::Exposed(path.to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|source| io_error(path, source))?);
    // The parser's message may quote the line, and the line may be a key.
    let file: KeyringFile = toml::from_str(&text).map_err(|_| malformed("expected [[keys]] with id and secret"))?;
    if file.keys.is_empty() {
        return Err(malformed("it holds no key"));
    }
    Ok(file.keys)
}

fn new_entry(id: String, now_us: i64) -> Result<KeyEntry, KeyringError> {
    let key = KeyRing::generate_key()?;
    Ok(KeyEntry { id, secret: STANDARD.encode(key.as_slice()), made_at_us: now_us })
}

fn render(entries: &[KeyEntry]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(512 + 256 * entries.len()));
    text.push_str(
        "# The keys that seal secrets in Muster's database; the last one seals. Back this file up apart from the\n\
         # database: without it, no stored credential opens again.\n",
    );
    for entry in entries {
        for part in ["\n[[keys]]\nid = ", &quoted(&entry.id), "\nsecret = \"", &entry.secret, "\"\nmade_at_us = "] {
            text.push_str(part);
        }
        text.push_str(&entry.made_at_us.to_string());
        text.push('\n');
    }
    text
}

/// A JSON text is a TOML text, too.
fn quoted(id: &str) -> String {
    serde_json::Value::from(id).to_string()
}

fn replace(path: &Path, content: &[u8], reached: Reached<'_>) -> io::Result<()> {
    let temporary = path.with_extension("next");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    reached(Step::Written)?;
    file.sync_all()?;
    reached(Step::Synced)?;
    fs::rename(&temporary, path)?;
    reached(Step::Renamed)?;
    sync_folder(path)?;
    reached(Step::Durable)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// One process changes the file at a time; the lock goes with its holder.
fn lock(path: &Path) -> Result<File, KeyringError> {
    let open = || {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.with_extension("lock"))?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> KeyringError {
    KeyringError::Io(path.to_owned(), source)
}
