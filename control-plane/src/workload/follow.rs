//! Following work, whichever control plane carries it on: the rows are asked, at once when something changed here, and
//! now and then for what others changed.

use std::{collections::HashMap, time::Duration};

use muster_shared::id::ServerId;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    app::chain,
    error::Error,
    progress::{self, ProgressSender, ProgressStream},
};

/// How often the rows are asked without a hint.
const POLL: Duration = Duration::from_millis(500);
/// How far other control planes' clocks may be behind before their changes are told at the end only.
const SLACK_US: i64 = 30 * 1_000_000;
/// Servers asked for at once.
const PAGE: u32 = 1000;

/// Work that can be followed.
pub trait Followed: Clone + Send + Sync + 'static {
    /// The whole of it.
    type Whole: Send + Sync + 'static;
    /// One server of it.
    type Server: Send + Sync;
    /// What makes news of a server.
    type Standing: Clone + Eq + Send;
    /// What it is, in a log's words.
    const NAME: &'static str;

    /// Told when something is another than before.
    fn changed(&self) -> &Notify;
    /// `whole` as it is now.
    fn now(&self, whole: &Self::Whole) -> impl Future<Output = Result<Self::Whole, Error>> + Send;
    /// A page, `(skip, limit)`, of its servers that changed since `since_us`.
    fn servers_since(
        &self,
        whole: &Self::Whole,
        since_us: i64,
        page: (u32, u32),
    ) -> impl Future<Output = Result<Vec<Self::Server>, Error>> + Send;
    /// Whether it has ended.
    fn has_ended(whole: &Self::Whole) -> bool;
    /// Which server it is, and when it last changed.
    fn place(server: &Self::Server) -> (ServerId, i64);
    /// How the server stands; `None` for one whose turn is to come, which is no news.
    fn standing(server: &Self::Server) -> Option<Self::Standing>;
    /// What the event `server` says.
    fn shown(server: &Self::Server) -> Value;
    /// What the event `complete` says.
    fn complete(whole: &Self::Whole) -> Value;
}

/// The events of `whole`: `server` whenever one stands otherwise than before, and `complete` when it has ended. It goes on
/// when its listener leaves.
#[must_use]
pub fn follow<F: Followed>(followed: &F, whole: F::Whole) -> ProgressStream {
    let (sender, stream) = progress::channel();
    let followed = followed.clone();
    tokio::spawn(async move {
        if let Err(error) = tell(&followed, whole, &sender).await {
            tracing::warn!(work = F::NAME, error = %chain(&error), "work can't be followed");
            sender.send("error", json!({ "code": error.code, "detail": error.detail }));
        }
    });
    stream
}

/// What was told of each server.
struct Told<F: Followed> {
    of: HashMap<ServerId, Option<F::Standing>>,
    newest_us: i64,
}

async fn tell<F: Followed>(followed: &F, mut whole: F::Whole, sender: &ProgressSender) -> Result<(), Error> {
    let mut told = Told::<F> { of: HashMap::new(), newest_us: i64::MIN };
    loop {
        let changed = followed.changed().notified();
        // Read before the rows: where it has ended, so have they.
        whole = followed.now(&whole).await?;
        tell_servers(followed, &whole, &mut told, sender).await?;
        if F::has_ended(&whole) {
            sender.send("complete", F::complete(&whole));
            return Ok(());
        }
        if sender.is_closed() {
            return Ok(());
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn tell_servers<F: Followed>(
    followed: &F,
    whole: &F::Whole,
    told: &mut Told<F>,
    sender: &ProgressSender,
) -> Result<(), Error> {
    let since_us = if F::has_ended(whole) { i64::MIN } else { told.newest_us.saturating_sub(SLACK_US) };
    let mut skip = 0;
    loop {
        let servers = followed.servers_since(whole, since_us, (skip, PAGE)).await?;
        for server in &servers {
            let ((id, updated_at_us), standing) = (F::place(server), F::standing(server));
            told.newest_us = told.newest_us.max(updated_at_us);
            let is_news = standing.is_some();
            if told.of.insert(id, standing.clone()) != Some(standing) && is_news {
                sender.send("server", F::shown(server));
            }
        }
        skip += PAGE;
        if servers.len() < PAGE as usize {
            return Ok(());
        }
    }
}
