//! The database: all SQL lives here, one file a noun, written once for SQLite and PostgreSQL.
//!
//! SQLite runs in WAL mode with full synchronisation: one connection writes, a pool reads. PostgreSQL has one pool.
//! Ids are texts, times are microseconds UTC in integers, flags are 0 or 1. Every query over a tenant's rows takes an
//! [`OrgId`](muster_shared::id::OrgId); the few that start from a proven identity (a certificate, a token's hash) say
//! so. A transaction never waits for another host.

mod access;
mod address;
mod agents;
mod api_tokens;
mod audit;
mod block_retention;
mod blocks;
mod certificates;
mod command_changes;
mod command_queue;
mod commands;
mod containers;
mod days;
mod declared;
mod disk_use;
mod enrollment;
mod environment_rows;
mod environments;
mod error;
mod filter;
mod fleet_run_work;
mod fleet_runs;
mod forwarding;
mod frames;
mod hardening;
mod health;
mod join_tokens;
mod ledger;
mod members;
mod metrics_retention;
mod migrations;
mod observations;
mod oidc;
mod organizations;
mod power;
mod projects;
mod quota;
mod rows;
mod sealed;
mod sealing;
mod secrets;
mod server_deletion;
mod servers;
mod ssh_key_rotation_turns;
mod ssh_key_rotations;
mod ssh_keys;
mod stripes;
#[cfg(test)]
pub(crate) mod suite;
#[cfg(test)]
pub(crate) mod test_database;
mod totp;
mod user_sessions;
mod users;

pub use access::FirstOwner;
pub use address::{DatabaseUrl, Dialect};
pub use agents::{SessionClaim, SessionOutcome};
pub use audit::AuditFilter;
pub use blocks::{BlockKey, BlockRow, Resolution};
pub use certificates::{CertificateStanding, IssuedCertificate};
pub use command_changes::{Claim, RecordOutcome};
pub use commands::EndedCommand;
pub use days::{Compaction, DayRow, DueDay};
pub use enrollment::{Enrolled, Enrolment, Joined};
pub use environments::EnvironmentCounts;
pub use error::StoreError;
pub use filter::{FactsCell, FilterFacts, ScanPosition, Scanned};
pub use forwarding::{ForwardPosition, ForwardingLease, FrameKey, WaitingFrame, WaitingFrames};
pub use frames::{DeclaredList, FrameRow, StoredFrame};
pub use health::CheckedServer;
pub use join_tokens::{JoinToken, JoinTokenStatus, NewJoinToken};
pub use projects::ProjectDeletion;
pub use sealed::{Exchange, SEALED_COLUMNS, SealedColumn, SealedValue};
pub use sealing::{PoisonFrame, Sealing};
pub use server_deletion::ServerDeletion;
pub use ssh_key_rotation_turns::Switched;
pub use ssh_key_rotations::RotationStart;
pub use ssh_keys::Deletion;
pub use stripes::{StripeRow, StripeRun, StripesKey, StripesOf};

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use muster_shared::metric::{Series, SeriesId};
use sqlx::{AnyPool, Connection as _, Transaction, any::AnyPoolOptions};
use tokio::sync::OnceCell;

use self::command_queue::CommandQueue;
use crate::{audit::AuditSigner, metrics::KeptLists};

/// Connections that read SQLite; it has one that writes.
const SQLITE_READERS: u32 = 8;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 16;
/// How long a query waits for a free connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dialect: Dialect,
    write: AnyPool,
    read: AnyPool,
    /// Comes from the database itself, sealed, and so after it.
    audit_signer: OnceCell<AuditSigner>,
    /// Whether frames that are stored wait for an engine.
    forwards: AtomicBool,
    /// Changes of commands that wait for the transaction that is written.
    commands: CommandQueue,
    /// Lists of series that were read, by how they are stored: one that was damaged since is not taken for what it was.
    declared: KeptLists<(SeriesId, Series)>,
}

type Tx = Transaction<'static, sqlx::Any>;
type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Connects, and brings the schema up to this version's.
    ///
    /// # Errors
    /// [`StoreError`]: not reachable, or its schema is newer than this version knows.
    pub async fn open(url: &DatabaseUrl) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let (write, read) = match url.dialect() {
            Dialect::Sqlite => {
                make_private(url)?;
                let write = sqlite_pool(1, SQLITE_WRITER).connect(&format!("{}?mode=rwc", url.as_str())).await?;
                migrations::run(&write, url.dialect()).await?;
                let read =
                    sqlite_pool(SQLITE_READERS, SQLITE_READER).connect(&format!("{}?mode=rw", url.as_str())).await?;
                (write, read)
            }
            Dialect::Postgres => {
                let pool = AnyPoolOptions::new()
                    .max_connections(POSTGRES_CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect(url.as_str())
                    .await?;
                migrations::run(&pool, url.dialect()).await?;
                (pool.clone(), pool)
            }
        };
        let inner = Inner {
            dialect: url.dialect(),
            write,
            read,
            audit_signer: OnceCell::new(),
            forwards: AtomicBool::new(false),
            commands: CommandQueue::default(),
            declared: KeptLists::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Signs the ends of audit chains with `signer` from now on; the first one given stays.
    pub fn sign_audit_with(&self, signer: AuditSigner) {
        let _ = self.inner.audit_signer.set(signer);
    }

    /// Frames stored from now on wait for an engine.
    pub fn forward_frames(&self) {
        self.inner.forwards.store(true, Ordering::Relaxed);
    }

    fn forwards_frames(&self) -> bool {
        self.inner.forwards.load(Ordering::Relaxed)
    }

    fn audit_signer(&self) -> Result<&AuditSigner> {
        self.inner.audit_signer.get().ok_or(StoreError::NoAuditKey)
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is none.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.read()).await?;
        Ok(())
    }

    /// Finishes what runs and closes every connection.
    pub async fn close(&self) {
        self.inner.read.close().await;
        self.inner.write.close().await;
    }

    /// Which database this is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    fn read(&self) -> &AnyPool {
        &self.inner.read
    }

    fn write(&self) -> &AnyPool {
        &self.inner.write
    }

    /// A transaction that may write. SQLite's takes the write lock at once, so that it can't fail to get it later.
    async fn begin(&self) -> Result<Tx> {
        Ok(match self.dialect() {
            Dialect::Sqlite => self.write().begin_with("BEGIN IMMEDIATE").await?,
            Dialect::Postgres => self.write().begin().await?,
        })
    }
}

/// Makes SQLite's file for its owner alone, if it isn't there; the files beside it get its mode.
fn make_private(url: &DatabaseUrl) -> Result<()> {
    if let Some(path) = url.path() {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| StoreError::Unavailable(source.into()))?;
    }
    Ok(())
}

const SQLITE_WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; \
                             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY";

fn sqlite_pool(connections: u32, pragmas: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // There is nobody at the other end who could have hung up, and asking takes as long as most questions do.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(pragmas).execute(connection).await?;
                Ok(())
            })
        })
        // SQLite ends a transaction by itself when its disk is full, and the driver goes on counting it as open. Such
        // a connection can begin no other: it is replaced.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}
