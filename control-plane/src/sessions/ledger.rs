//! What agents change in the store by coming, staying and going: sessions opened, confirmed and closed, and the facts
//! that each connect brings. Many agents' entries share one transaction.
//!
//! Entries wait in a queue of [`QUEUE_ENTRIES`]; who finds it full waits. An entry is answered after its commit and
//! never before. While one batch is committed the next one gathers, so a lone agent waits for nobody and a thousand
//! that come back at once cost tens of transactions. If a commit fails because the database is away, every waiting
//! agent hears so and nothing of the batch is written; if the database refuses the batch, its entries are written one
//! by one, so that one bad row costs no other.
//!
//! Entries of one server are written in the order in which they came: of two sessions opened in one batch the later
//! one has the higher generation, and an older disk is found out within a batch as between two.

use std::{sync::Arc, time::Duration};

use muster_shared::id::{OrgId, ServerId};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    error::{Error, ErrorKind},
    servers::{FactsKept, FactsRow},
    store::{SessionClaim, SessionOutcome, Store, StoreError},
};

/// Entries waiting for the writer, of all agents together.
const QUEUE_ENTRIES: usize = 4096;
/// Entries of one transaction at most.
const MAX_BATCH: usize = 256;
/// How long a batch waits for company when the one before had some.
const BATCH_WINDOW: Duration = Duration::from_millis(5);

/// Something to be written.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A host wants a session.
    Open(SessionClaim),
    /// A host has `generation` on its disk; an older one than is known changes nothing.
    Confirm { org: OrgId, server: ServerId, generation: u64 },
    /// A host sent its facts; older ones than are known change nothing.
    Facts(Arc<FactsRow>),
    /// A session is over: what it had pushed and nobody answered is put back.
    Close(Closing),
}

impl Entry {
    /// Whose row it changes.
    #[must_use]
    pub fn server(&self) -> ServerId {
        match self {
            Self::Open(claim) => claim.server_id,
            Self::Confirm { server, .. } => *server,
            Self::Facts(facts) => facts.server,
            Self::Close(closing) => closing.server,
        }
    }
}

/// The end of a session.
#[derive(Debug, Clone)]
pub struct Closing {
    pub org: OrgId,
    pub server: ServerId,
    pub generation: u64,
    /// In whose name the session claimed commands.
    pub lease_owner: String,
    /// Whether no younger session took its place: then the server is offline.
    pub is_current: bool,
    pub last_seen_at_us: i64,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// Of [`Entry::Open`].
    Session(SessionOutcome),
    /// Of [`Entry::Facts`].
    Facts(FactsKept),
    /// Of any other: whether it changed anything.
    Changed(bool),
}

struct Waiting {
    entry: Entry,
    answer: oneshot::Sender<Result<Entered, Error>>,
}

/// The way in. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Waiting>,
}

impl Ledger {
    /// The way in, and the writer that must run for anything to happen.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> (Self, LedgerWriter) {
        let (queue, entries) = mpsc::channel(QUEUE_ENTRIES);
        (Self { queue }, LedgerWriter { entries, store, clock })
    }

    /// Opens a session for the host that proved `claim.serial`, or says why not.
    ///
    /// # Errors
    /// [`Error`] when the store fails: then no session was opened.
    pub async fn open(&self, claim: SessionClaim) -> Result<SessionOutcome, Error> {
        match self.enter(Entry::Open(claim)).await? {
            Entered::Session(outcome) => Ok(outcome),
            Entered::Facts(_) | Entered::Changed(_) => {
                Err(Error::internal("an open session was entered as something else"))
            }
        }
    }

    /// Records that the host has `generation` on its disk.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn confirm(&self, org: OrgId, server: ServerId, generation: u64) -> Result<(), Error> {
        self.enter(Entry::Confirm { org, server, generation }).await.map(drop)
    }

    /// Keeps a facts document unless a younger one is there.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn record_facts(&self, facts: Arc<FactsRow>) -> Result<FactsKept, Error> {
        match self.enter(Entry::Facts(facts)).await? {
            Entered::Facts(kept) => Ok(kept),
            Entered::Session(_) | Entered::Changed(_) => Err(Error::internal("facts were entered as something else")),
        }
    }

    /// Records the end of a session; answers whether its server is offline now.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn close(&self, closing: Closing) -> Result<bool, Error> {
        Ok(self.enter(Entry::Close(closing)).await? == Entered::Changed(true))
    }

    async fn enter(&self, entry: Entry) -> Result<Entered, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { entry, answer }).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "stopping", "the control plane is stopping: connect again")
}

/// The one task that writes entries.
#[derive(Debug)]
pub struct LedgerWriter {
    entries: mpsc::Receiver<Waiting>,
    store: Store,
    clock: Clock,
}

impl LedgerWriter {
    /// Writes until `stop`, then what is waiting already.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut is_busy = false;
        while let Some(count) = stop.run_until_cancelled(self.entries.recv_many(&mut batch, MAX_BATCH)).await {
            if count == 0 {
                return;
            }
            if is_busy {
                stop.run_until_cancelled(self.await_company(&mut batch)).await;
            }
            is_busy = batch.len() > 1;
            self.write(&mut batch).await;
        }
        self.entries.close();
        while self.entries.recv_many(&mut batch, MAX_BATCH).await > 0 {
            self.write(&mut batch).await;
        }
    }

    async fn await_company(&mut self, batch: &mut Vec<Waiting>) {
        let fill = async {
            while batch.len() < MAX_BATCH && self.entries.recv_many(batch, MAX_BATCH - batch.len()).await > 0 {}
        };
        // The window being over is the usual end.
        let _ = timeout(BATCH_WINDOW, fill).await;
    }

    async fn write(&self, batch: &mut Vec<Waiting>) {
        let started = std::time::Instant::now();
        // Who left before it was its turn gets no session.
        batch.retain(|waiting| !(matches!(waiting.entry, Entry::Open(_)) && waiting.answer.is_closed()));
        let (entries, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|waiting| (waiting.entry, waiting.answer)).unzip();
        let outcomes = self.enter(&entries).await;
        metrics::counter!("muster_ledger_entries_total").increment(entries.len() as u64);
        metrics::histogram!("muster_ledger_commit_seconds").record(started.elapsed());
        let mut abandoned = Vec::new();
        for ((entry, answer), outcome) in entries.iter().zip(answers).zip(outcomes) {
            if let Err(Ok(entered)) = answer.send(outcome) {
                abandoned.extend(abandon(entry, entered, self.clock.now_us()));
            }
        }
        if !abandoned.is_empty() {
            for outcome in self.enter(&abandoned).await {
                if let Err(error) = outcome {
                    tracing::warn!(error = %crate::app::chain(&error), "abandoned sessions not recorded as over");
                }
            }
        }
    }

    async fn enter(&self, entries: &[Entry]) -> Vec<Result<Entered, Error>> {
        match self.store.enter(entries, self.clock.now_us()).await {
            Ok(entered) => entered.into_iter().map(Ok).collect(),
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(entries = entries.len(), error = %crate::app::chain(&error), "agents not entered");
                entries.iter().map(|_| Err(unavailable())).collect()
            }
            Err(error) if entries.len() == 1 => vec![Err(error.into())],
            Err(_) => {
                let mut outcomes = Vec::with_capacity(entries.len());
                for entry in entries {
                    let alone = self.store.enter(std::slice::from_ref(entry), self.clock.now_us()).await;
                    outcomes.push(alone.map_err(Error::from).and_then(|entered| {
                        entered.into_iter().next().ok_or_else(|| Error::internal("an entry without an outcome"))
                    }));
                }
                outcomes
            }
        }
    }
}

/// The end of a session whose host went away while it was opened.
fn abandon(entry: &Entry, entered: Entered, now_us: i64) -> Option<Entry> {
    let (Entry::Open(claim), Entered::Session(SessionOutcome::Opened { org_id, generation })) = (entry, entered) else {
        return None;
    };
    Some(Entry::Close(Closing {
        org: org_id,
        server: claim.server_id,
        generation,
        lease_owner: String::new(),
        is_current: true,
        last_seen_at_us: now_us,
    }))
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "database_unavailable", "the database does not answer; try again in a moment")
}

#[cfg(test)]
mod tests;
