//! Entries of many agents in one transaction.

use super::{
    Result, Store, Tx,
    agents::{close_session, confirm_generation, open_session},
    commands::requeue_commands,
    observations::keep_facts,
};
use crate::sessions::{Closing, Entered, Entry};

impl Store {
    /// Writes `entries` in one transaction, and answers what became of each, in their order. Those of one server are
    /// written in the order given; servers take turns by id, so that two processes never wait for each other's rows.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError); then none of them is written.
    pub async fn enter(&self, entries: &[Entry], now_us: i64) -> Result<Vec<Entered>> {
        let mut order: Vec<_> = entries.iter().enumerate().collect();
        order.sort_by_key(|(_, entry)| entry.server());
        let mut tx = self.begin().await?;
        let mut entered = Vec::with_capacity(entries.len());
        for (at, entry) in order {
            entered.push((at, enter(&mut tx, entry, now_us).await?));
        }
        tx.commit().await?;
        entered.sort_unstable_by_key(|(at, _)| *at);
        Ok(entered.into_iter().map(|(_, entered)| entered).collect())
    }
}

async fn enter(tx: &mut Tx, entry: &Entry, now_us: i64) -> Result<Entered> {
    Ok(match entry {
        Entry::Open(claim) => Entered::Session(open_session(tx, claim, now_us).await?),
        Entry::Confirm { org, server, generation } => {
            Entered::Changed(confirm_generation(tx, *org, *server, *generation).await?)
        }
        Entry::Facts(facts) => Entered::Facts(keep_facts(tx, facts).await?),
        Entry::Close(closing) => Entered::Changed(close(tx, closing).await?),
    })
}

async fn close(tx: &mut Tx, closing: &Closing) -> Result<bool> {
    requeue_commands(tx, &closing.lease_owner).await?;
    Ok(closing.is_current && close_session(tx, closing).await?)
}
