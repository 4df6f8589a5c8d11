//! Changes of commands share transactions: what is asked for while one is committed goes into the next.
//!
//! A change that finds nothing being written is written at once and alone, so a lone command waits for nobody, and
//! thousands at once cost tens of commits. It is answered after its commit and never before. Of a batch that the
//! database refuses each change is tried by itself, so that one that can't be made costs no other. At most
//! [`MAX_WAITING`] wait; who comes then waits to wait.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_shared::id::{CommandId, ServerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    Claim, RecordOutcome, Result, Store, StoreError,
    command_changes::{CommandChange, CommandChanged},
};
use crate::{
    audit::Record,
    commands::{Command, Reporter, Update},
};

/// Changes waiting for a transaction, of all commands together.
const MAX_WAITING: usize = 4096;
/// Changes of one transaction at most.
const MAX_BATCH: usize = 256;

#[derive(Debug)]
struct Waiting {
    change: CommandChange,
    answer: oneshot::Sender<Result<CommandChanged>>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Whether somebody will take what waits.
    is_writing: bool,
}

/// Changes of commands on their way into the database.
#[derive(Debug)]
pub(super) struct CommandQueue {
    state: Mutex<State>,
    room: Arc<Semaphore>,
}

impl Default for CommandQueue {
    fn default() -> Self {
        Self { state: Mutex::default(), room: Arc::new(Semaphore::new(MAX_WAITING)) }
    }
}

impl CommandQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a change in line; answers whether whoever did has to see to the writing.
    fn push(&self, waiting: Waiting) -> bool {
        let mut state = self.lock();
        state.waiting.push_back(waiting);
        !std::mem::replace(&mut state.is_writing, true)
    }

    /// The next batch; empty once nothing waits, and then nobody writes any more. Who left before it was its turn wants
    /// nothing written.
    fn take(&self) -> Vec<Waiting> {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.answer.is_closed());
        let count = state.waiting.len().min(MAX_BATCH);
        state.is_writing = count > 0;
        state.waiting.drain(..count).collect()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }
}

/// Whoever writes. If that ends in a panic, those in line hear of it, and the next to come writes again.
struct Writer(Store);

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.commands().lock() = State::default();
        }
    }
}

impl Writer {
    async fn run(self) {
        loop {
            let batch = self.0.commands().take();
            if batch.is_empty() {
                return;
            }
            let started = std::time::Instant::now();
            let (changes, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.change, waiting.answer)).unzip();
            let outcomes = self.0.change_each(&changes).await;
            metrics::counter!("muster_commands_changes_total").increment(changes.len() as u64);
            metrics::histogram!("muster_commands_commit_seconds").record(started.elapsed());
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Whoever left meanwhile finds the change where it looks next.
                let _ = answer.send(outcome);
            }
        }
    }
}

impl Store {
    fn commands(&self) -> &CommandQueue {
        &self.inner.commands
    }

    /// Keeps a new command; answers false when its server has `max_unfinished` already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_command(&self, command: &Command, max_unfinished: u32, record: &Record) -> Result<bool> {
        let (command, record) = (Box::new(command.clone()), Box::new(record.clone()));
        match self.change_command(CommandChange::Insert { command, max_unfinished, record }).await? {
            CommandChanged::Inserted(is_inserted) => Ok(is_inserted),
            other => Err(mistaken(&other)),
        }
    }

    /// Claims one command for `lease_owner` until `lease_until_us`, where nobody else has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_command(
        &self,
        server: ServerId,
        id: CommandId,
        lease_owner: &str,
        now_us: i64,
        lease_until_us: i64,
    ) -> Result<Claim> {
        let lease_owner = lease_owner.to_owned();
        match self.change_command(CommandChange::Claim { server, id, lease_owner, now_us, lease_until_us }).await? {
            CommandChanged::Claimed(claim) => Ok(claim),
            other => Err(mistaken(&other)),
        }
    }

    /// Stores a step that a server reported, once, and moves its command on. The end goes on record with its receipt.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_update(
        &self,
        from: &Reporter,
        id: CommandId,
        update: &Update,
        now_us: i64,
    ) -> Result<RecordOutcome> {
        let (from, update) = (Box::new(from.clone()), Box::new(update.clone()));
        match self.change_command(CommandChange::Step { from, id, update, now_us }).await? {
            CommandChanged::Recorded(outcome) => Ok(outcome),
            other => Err(mistaken(&other)),
        }
    }

    async fn change_command(&self, change: CommandChange) -> Result<CommandChanged> {
        let queue = self.commands();
        if queue.room.available_permits() == 0 {
            metrics::counter!("muster_commands_queue_full_total").increment(1);
        }
        let place = Arc::clone(&queue.room).acquire_owned().await.map_err(|_| abandoned())?;
        let (answer, answered) = oneshot::channel();
        if queue.push(Waiting { change, answer, _place: place }) {
            // By itself: a change that others share must not end with whoever asked for one of them.
            tokio::spawn(Writer(self.clone()).run());
        }
        answered.await.map_err(|_| abandoned())?
    }

    /// What became of each change, made together or, where that can't be, each by itself.
    async fn change_each(&self, changes: &[CommandChange]) -> Vec<Result<CommandChanged>> {
        let refusal = match self.change_commands(changes).await {
            Ok(changed) => return changed.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        if changes.len() == 1 {
            return vec![Err(refusal)];
        }
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            let outcome = match self.change_commands(std::slice::from_ref(change)).await {
                Ok(changed) => changed.into_iter().next().ok_or_else(abandoned),
                Err(error) => Err(error),
            };
            let is_away = matches!(outcome, Err(StoreError::Unavailable(_)));
            outcomes.push(outcome);
            if is_away {
                // The others would wait for the same, one after the other.
                break;
            }
        }
        outcomes.resize_with(changes.len(), || Err(abandoned()));
        outcomes
    }
}

fn abandoned() -> StoreError {
    sqlx::Error::WorkerCrashed.into()
}

fn mistaken(changed: &CommandChanged) -> StoreError {
    sqlx::Error::Protocol(format!("a change was answered as another: {changed:?}")).into()
}

#[cfg(test)]
mod tests;
