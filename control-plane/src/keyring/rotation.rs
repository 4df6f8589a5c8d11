//! Turning the master key: adding one, seeing how far sealing anew is, and retiring one that nothing needs.
//!
//! The ring belongs to the installation, not to an organisation: owners of the organisation that was made first may
//! turn it, and nobody else.

use muster_shared::id::OrgId;
use muster_shared::seal::sealed_prefix;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{Keyring, KeyringError, RingKey, file::MAX_KEYS};
use crate::{
    access::Act,
    audit::{Action, Record},
    error::{Error, ErrorKind},
    store::{SEALED_COLUMNS, Store},
};

/// How long a key stays after its successor was made: whoever sealed with it just before must have stored by then.
pub const RETIRE_AFTER_US: i64 = 5 * 60 * 1_000_000;

/// The key ring's keys and what needs them. Clones share it.
#[derive(Debug, Clone)]
pub struct Rotation {
    store: Store,
    keyring: Keyring,
}

/// Where the ring stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingStanding {
    /// Oldest first; the last one seals.
    pub keys: Vec<KeyStanding>,
}

/// Where a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStanding {
    pub key: RingKey,
    /// How many values it sealed that are still there.
    pub sealed_values: u64,
}

impl RingStanding {
    /// How many values older keys sealed.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let older = self.keys.split_last().map(|(_, older)| older).unwrap_or_default();
        older.iter().map(|key| key.sealed_values).sum()
    }
}

impl Rotation {
    /// The turning of `keyring`, whose values are in `store`.
    #[must_use]
    pub fn new(store: Store, keyring: Keyring) -> Self {
        Self { store, keyring }
    }

    /// The keys, and how many values need each.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for another organisation than the installation's.
    pub async fn standing(&self, org: OrgId) -> Result<RingStanding, Error> {
        self.require_installation(org).await?;
        let mut keys = Vec::new();
        for key in self.keyring.keys() {
            let sealed_values = self.needing(&key.id).await?;
            keys.push(KeyStanding { key, sealed_values });
        }
        Ok(RingStanding { keys })
    }

    /// Adds a key that seals from now on; the reconciler seals anew what older ones sealed.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`]; [`ErrorKind::Precondition`] when there are too many keys already.
    pub async fn rotate(&self, act: &Act) -> Result<RingStanding, Error> {
        let before = self.standing(act.org_id).await?;
        if before.keys.len() >= MAX_KEYS {
            return Err(full());
        }
        // The file can't be part of the transaction. An entry without its key misleads nobody; a key without its
        // entry would.
        let sealing = before.keys.last().map(|key| key.key.id.clone());
        let record =
            Record::new(act, Action::KeyringRotated, "keyring", "").before(json!({ "sealing_key_id": sealing }));
        self.store.record_audit(&record).await?;
        let (keyring, now_us) = (self.keyring.clone(), act.at_us);
        let added = spawn_blocking(move || keyring.add_key(now_us, &mut |_| Ok(()))).await;
        let id = added.map_err(Error::internal)?.map_err(|error| match error {
            KeyringError::Full => full(),
            error => Error::internal(error),
        })?;
        tracing::info!(key = id, "a new key seals secrets");
        self.standing(act.org_id).await
    }

    /// Removes the key `id`, which nothing needs any more.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] while it seals, is needed, or has only just been replaced;
    /// [`ErrorKind::PermissionDenied`].
    pub async fn retire(&self, act: &Act, id: &str) -> Result<RingStanding, Error> {
        self.require_installation(act.org_id).await?;
        let keys = self.keyring.keys();
        retirable(&keys, id, act.at_us)?;
        let needing = self.needing(id).await?;
        if needing > 0 {
            let detail = format!("{needing} values are still sealed with {id}: wait until none is");
            return Err(refused("key_needed", detail));
        }
        let record = Record::new(act, Action::KeyringKeyRetired, id, id);
        self.store.record_audit(&record).await?;
        let (keyring, id) = (self.keyring.clone(), id.to_owned());
        let removed = spawn_blocking(move || keyring.remove_key(&id, &mut |_| Ok(()))).await;
        removed.map_err(Error::internal)?.map_err(Error::internal)?;
        self.standing(act.org_id).await
    }

    async fn needing(&self, id: &str) -> Result<u64, Error> {
        let prefix = sealed_prefix(id);
        let mut count = 0;
        for column in SEALED_COLUMNS {
            count += self.store.count_sealed_with(column, &prefix).await?;
        }
        Ok(count)
    }

    async fn require_installation(&self, org: OrgId) -> Result<(), Error> {
        if self.store.first_organization().await? == Some(org) {
            return Ok(());
        }
        let detail = "the key ring belongs to the installation: ask an owner of the organization that was made first";
        Err(Error::new(ErrorKind::PermissionDenied, "not_the_installation", detail))
    }
}

/// Whether `id` may go as far as the ring itself tells.
fn retirable(keys: &[RingKey], id: &str, now_us: i64) -> Result<(), Error> {
    let at = keys.iter().position(|key| key.id == id).ok_or_else(|| Error::not_found("key"))?;
    let Some(successor) = keys.get(at + 1) else {
        return Err(refused("key_seals", format!("{id} is the key that seals: rotate the key ring first")));
    };
    if now_us.saturating_sub(successor.made_at_us) < RETIRE_AFTER_US {
        let detail =
            format!("{id} was replaced less than five minutes ago, and a change under way may need it: try later");
        return Err(refused("key_just_replaced", detail));
    }
    Ok(())
}

fn full() -> Error {
    refused("too_many_keys", format!("the key ring holds {MAX_KEYS} keys: retire those that nothing needs"))
}

fn refused(code: &'static str, detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Precondition, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_only_after_its_successor_has_been_there_for_a_while() {
        let key = |id: &str, made_at_us| RingKey { id: id.to_owned(), made_at_us };
        let keys = [key("k1", 0), key("k2", 1_000), key("k3", 2_000)];
        let code = |id, now_us| retirable(&keys, id, now_us).err().map(|error| error.code);
        assert_eq!(code("k1", 1_000 + RETIRE_AFTER_US - 1), Some("key_just_replaced"));
        assert_eq!(code("k1", 1_000 + RETIRE_AFTER_US), None);
        assert_eq!(code("k2", 1_999 + RETIRE_AFTER_US), Some("key_just_replaced"));
        assert_eq!(code("k3", i64::MAX), Some("key_seals"));
        assert_eq!(code("k9", i64::MAX), Some("not_found"));
    }
}
