//! Hardening: how servers stand towards the profile and since when, and applying items of it.
//!
//! What stands is told by the hosts with their facts, so a change made by hand shows with the next look there. A run
//! applies items one after another, since a host takes no further change while one waits for its confirmation. It belongs
//! to nobody: it goes on when its listener leaves. When this process ends in the middle, the items that were not begun
//! are simply not applied, and a change that waits for its confirmation is taken back by its host.

mod record;
mod run;
mod wanted;

pub(crate) use self::wanted::is_guarded;
pub use self::{
    record::{Hardening, ItemRecord, Moved, moved},
    wanted::{Options, Unconfirmable, wanted},
};

use std::sync::Arc;

use muster_shared::{
    action::{ItemName, Mode},
    hardening::PROFILE,
    id::{OrgId, ServerId},
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    access::Act,
    error::{Error, ErrorKind},
    progress::{self, ProgressStream},
    proof::Proof,
    servers::Servers,
    sessions::Sessions,
    store::Store,
};

/// Runs at once; further ones are refused.
pub const MAX_RUNS: usize = 64;

type Result<T> = std::result::Result<T, Error>;

/// The hardening of every organisation's servers. Clones share the bound on runs.
#[derive(Debug, Clone)]
pub struct Hardenings {
    store: Store,
    servers: Servers,
    sessions: Sessions,
    proof: Proof,
    runs: Arc<Semaphore>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Wish {
    /// In the profile's order; none means the whole profile.
    pub items: Vec<ItemName>,
    pub mode: Mode,
    pub options: Options,
}

impl Hardenings {
    /// Works through the handles given.
    #[must_use]
    pub fn new(store: Store, servers: Servers, sessions: Sessions, proof: Proof) -> Self {
        Self { store, servers, sessions, proof, runs: Arc::new(Semaphore::new(MAX_RUNS)) }
    }

    /// How a server stands, as its host last told; no items where it never did.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId, server: ServerId) -> Result<Hardening> {
        self.servers.get(org, server).await?;
        Ok(Hardening { server, items: self.store.hardening(org, server).await? })
    }

    /// Starts a run and answers its events: `status`, one `item` an item, then `complete` or `error`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Invalid`] for an item outside the profile; [`ErrorKind::Precondition`] where
    /// the server's agent is not connected; [`ErrorKind::Exhausted`] when [`MAX_RUNS`] are under way.
    pub async fn start(&self, act: &Act, server: ServerId, wish: Wish) -> Result<ProgressStream> {
        self.servers.get(act.org_id, server).await?;
        let wish = Wish { items: in_order(&wish.items, wish.mode)?, ..wish };
        if !self.sessions.is_online(server) {
            let detail =
                "the server's agent is not connected, so nobody there could do it; start the server or its agent";
            return Err(Error::new(ErrorKind::Precondition, "agent_offline", detail));
        }
        let permit = Arc::clone(&self.runs).try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_RUNS} runs are under way: try again in a moment");
            Error::new(ErrorKind::Exhausted, "too_many_runs", detail)
        })?;
        let (progress, stream) = progress::channel();
        let (hardenings, act) = (self.clone(), act.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = hardenings.run(&act, server, &wish, &progress).await {
                if error.kind == ErrorKind::Internal {
                    tracing::error!(%server, error = crate::app::chain(&error), "hardening failed");
                }
                progress.send("error", json!({ "code": error.code, "detail": error.detail }));
            }
        });
        Ok(stream)
    }
}

/// The items in the profile's order, each once; all of them where none is named. An undo goes the other way: what an
/// earlier item brought, a later one may stand on.
fn in_order(items: &[ItemName], mode: Mode) -> Result<Vec<ItemName>> {
    if let Some(stranger) = items.iter().find(|item| !PROFILE.contains(item)) {
        let known: Vec<&str> = PROFILE.iter().map(|item| item.as_str()).collect();
        let detail = format!("{stranger} is no item of the profile; its items are {}", known.join(", "));
        return Err(Error::invalid("unknown_item", detail));
    }
    let mut wanted: Vec<ItemName> =
        PROFILE.into_iter().filter(|item| items.is_empty() || items.contains(item)).collect();
    if mode == Mode::Undo {
        wanted.reverse();
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lock_somebody_out_comes_last_whatever_the_caller_says() {
        assert_eq!(in_order(&[], Mode::Apply).expect("all"), PROFILE);
        let named = [ItemName::Sshd, ItemName::Fail2ban, ItemName::Sshd];
        assert_eq!(in_order(&named, Mode::Plan).expect("known"), [ItemName::Fail2ban, ItemName::Sshd]);
        assert_eq!(
            in_order(&named, Mode::Undo).expect("known"),
            [ItemName::Sshd, ItemName::Fail2ban],
            "the way it came"
        );
        assert_eq!(in_order(&[ItemName::InstallDocker], Mode::Plan).expect_err("none of ours").code, "unknown_item");
    }
}
