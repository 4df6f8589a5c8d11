//! When a credential was used last: noted at most once a minute each, beside the request and never in its way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Credential;
use crate::store::Store;

/// How exactly the last use is known.
pub const USED_EVERY_US: i64 = 60 * 1_000_000;
/// Credentials remembered as noted; beyond them all are forgotten, and noted again.
const MAX_REMEMBERED: usize = 10_000;

/// Notes the use of credentials. Clones share what they remember.
#[derive(Debug, Clone)]
pub(super) struct Used {
    store: Store,
    noted: Arc<Mutex<HashMap<Uuid, i64>>>,
    under_way: TaskTracker,
}

impl Used {
    pub(super) fn new(store: Store) -> Self {
        Self { store, noted: Arc::default(), under_way: TaskTracker::new() }
    }

    /// `credential` is used at `now_us`; the store knows of a use at `known_us`. A use that can't be stored is lost.
    pub(super) fn note(&self, credential: Credential, known_us: Option<i64>, now_us: i64) {
        let is_known = |at_us: i64| now_us.saturating_sub(at_us) < USED_EVERY_US;
        if known_us.is_some_and(is_known) {
            return;
        }
        let id = match credential {
            Credential::Token(id) => id.as_uuid(),
            Credential::Session(id) => id.as_uuid(),
        };
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(&id).copied().is_some_and(is_known) {
                return;
            }
            if noted.len() >= MAX_REMEMBERED {
                noted.clear();
            }
            noted.insert(id, now_us);
        }
        let store = self.store.clone();
        self.under_way.spawn(async move {
            let stored = match credential {
                Credential::Token(id) => store.touch_api_token(id, now_us).await,
                Credential::Session(id) => store.touch_user_session(id, now_us).await,
            };
            if let Err(error) = stored {
                tracing::debug!(error = %crate::app::chain(&error), "a credential's use was not stored");
            }
        });
    }

    /// Waits for what is being stored.
    pub(super) async fn settled(&self) {
        self.under_way.close();
        self.under_way.wait().await;
        self.under_way.reopen();
    }
}
