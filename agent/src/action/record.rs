//! Changes on disk: what was planned, how far it got, and what each step replaced. Root's alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_shared::{
    action::{Item, ItemName, life::Life},
    id::CommandId,
};
use ring::digest::{SHA256, digest};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{
    host::{File, Moment},
    plan::Plan,
    step::{Owner, ServiceState},
};
use crate::durable;

/// Changes that are over and still kept; of more the oldest are forgotten, and can't be undone any more.
pub const MAX_KEPT: usize = 128;
/// How often a lock that another process holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: CommandId,
    pub item: Item,
    pub at_us: i64,
    pub plan: Plan,
    pub life: Life,
    /// What each begun step replaced, by step.
    pub kept: Vec<Kept>,
    /// When it is taken back without a confirmation; set while it is armed.
    pub deadline: Option<Deadline>,
    /// Why it is taken back, in words.
    #[serde(default)]
    pub trouble: String,
    /// The command that asked for it to be taken back.
    #[serde(default)]
    pub undone_by: Option<CommandId>,
    /// How often taking it back has failed.
    #[serde(default)]
    pub failed_undos: u32,
}

/// What a step replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Kept {
    /// Nothing has to be known for the inverse.
    Nothing,
    /// There was no file.
    NoFile,
    /// The file; its bytes are in `before-<step>`.
    File {
        mode: u32,
        owner: Owner,
        sha256: String,
    },
    /// Whether the directory was there.
    Directory {
        was_there: bool,
    },
    /// The packages that were installed, and those that the step brought, once it is done.
    Packages {
        before: Vec<String>,
        brought: Option<Vec<String>>,
    },
    Service {
        unit: String,
        before: ServiceState,
    },
}

/// A moment in a boot; any other boot is past it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    pub boot: String,
    pub ms: u64,
}

impl Deadline {
    /// `after_s` seconds from now.
    #[must_use]
    pub fn after(now: &Moment, after_s: u32) -> Self {
        Self { boot: now.boot.clone(), ms: now.ms + u64::from(after_s) * 1000 }
    }

    /// What is left until then.
    #[must_use]
    pub fn left(&self, now: &Moment) -> Duration {
        if now.boot == self.boot { Duration::from_millis(self.ms.saturating_sub(now.ms)) } else { Duration::ZERO }
    }
}

/// The SHA-256 of some bytes, in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// The folder of all changes.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

/// Held while a change is made or taken back; released when dropped, also by a process that dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it releases the lock")] fs::File);

impl Records {
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Waits until no other process makes or takes back a change; `None` when that takes longer than `within`.
    ///
    /// # Errors
    /// When the lock's file can't be made.
    pub async fn lock(&self, within: Duration) -> io::Result<Option<Lock>> {
        durable::create_directory(&self.folder, 0o700)?;
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(self.folder.join("lock"))?;
        let until = Instant::now() + within;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Lock(file))),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            sleep(TRY_AGAIN).await;
        }
    }

    fn place(&self, id: CommandId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Where a step's program writes.
    #[must_use]
    pub fn output(&self, id: CommandId, step: u32) -> PathBuf {
        self.place(id).join(format!("output-{step}"))
    }

    /// The change that this command made; `None` where there is none.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn load(&self, id: CommandId) -> io::Result<Option<Record>> {
        match fs::read(self.place(id).join("record.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the change as it stands, durably.
    ///
    /// # Errors
    /// When it can't be written; the earlier one then still stands.
    pub fn save(&self, record: &Record) -> io::Result<()> {
        let place = self.place(record.id);
        let is_new = !place.exists();
        durable::create_directory(&place, 0o700)?;
        durable::write_atomically(&place.join("record.json"), &serde_json::to_vec(record)?, 0o600)?;
        if is_new { durable::sync_parent(&place) } else { Ok(()) }
    }

    /// Keeps the file that a step is about to replace, durably.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep_file(&self, id: CommandId, step: u32, file: &File) -> io::Result<Kept> {
        let place = self.place(id).join(format!("before-{step}"));
        durable::write_atomically(&place, &file.bytes, 0o600)?;
        Ok(Kept::File { mode: file.mode, owner: file.owner, sha256: sha256(&file.bytes) })
    }

    /// The file that a step replaced.
    ///
    /// # Errors
    /// When it can't be read or is not what was kept.
    pub fn kept_file(&self, id: CommandId, step: u32, (mode, owner, sum): (u32, Owner, &str)) -> io::Result<File> {
        let bytes = fs::read(self.place(id).join(format!("before-{step}")))?;
        if sha256(&bytes) != sum {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kept copy of the file is damaged"));
        }
        Ok(File { bytes, mode, owner })
    }

    /// Every change, the oldest first. One that can't be read is passed over and logged.
    #[must_use]
    pub fn all(&self) -> Vec<Record> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<CommandId>().ok());
        let mut records: Vec<Record> = ids
            .filter_map(|id| {
                self.load(id).unwrap_or_else(|cause| {
                    tracing::error!(%cause, change = %id, "the record of a change can't be read");
                    None
                })
            })
            .collect();
        records.sort_by_key(|record| (record.at_us, record.id));
        records
    }

    /// The newest change of `item` that is in force, or partly so.
    #[must_use]
    pub fn newest_in_force(&self, item: ItemName) -> Option<Record> {
        use muster_shared::action::life::Phase;
        let in_force = |record: &Record| {
            record.item.name() == item
                && matches!(record.life.phase, Phase::Committed | Phase::Awaiting | Phase::UndoFailed)
        };
        self.all().into_iter().rev().find(in_force)
    }

    /// Forgets the oldest changes beyond [`MAX_KEPT`], of those that are over.
    pub fn forget_oldest(&self) {
        let over: Vec<Record> = self.all().into_iter().filter(|record| record.life.is_over()).collect();
        for record in over.iter().take(over.len().saturating_sub(MAX_KEPT)) {
            // It is tried again with the next change.
            let _ = fs::remove_dir_all(self.place(record.id));
        }
    }
}
