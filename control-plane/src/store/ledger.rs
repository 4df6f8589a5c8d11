//! Entries of many agents in one transaction.

use muster_shared::id::{OrgId, ServerId};
use serde_json::json;

use super::{
    Result, SessionOutcome, Store, Tx,
    agents::{close_session, confirm_generation, open_session},
    commands::requeue_commands,
    observations::{keep_facts, server_name},
};
use crate::{
    access::{Act, Actor, Origin},
    audit::{Action, Record},
    sessions::{Closing, Entered, Entry, generation::CloneSign},
};

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
        // Last, and in one order of organisations: a chain's end is what others wait for.
        let mut clones: Vec<_> = entered.iter().filter_map(|(at, entered)| clone_of(&entries[*at], entered)).collect();
        clones.sort_unstable_by_key(|(org, server, _)| (*org, *server));
        for (org, server, sign) in clones {
            let act = Act { org_id: org, actor: Actor::Host(Some(server)), origin: Origin::default(), at_us: now_us };
            let name = server_name(&mut tx, org, server).await?;
            let record = Record::new(&act, Action::AgentQuarantined, server, name);
            self.append_audit(&mut tx, &record.after(json!({ "sign": sign.as_str() }))).await?;
        }
        tx.commit().await?;
        entered.sort_unstable_by_key(|(at, _)| *at);
        Ok(entered.into_iter().map(|(_, entered)| entered).collect())
    }
}

fn clone_of(entry: &Entry, entered: &Entered) -> Option<(OrgId, ServerId, CloneSign)> {
    match entered {
        Entered::Session(SessionOutcome::Clone { org_id, sign }) => Some((*org_id, entry.server(), *sign)),
        _ => None,
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
