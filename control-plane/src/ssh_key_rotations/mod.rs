//! Rotations of key pairs: a new key takes the place of an old one on every server that is entered with it, in one call.
//!
//! Starting is one transaction: the new pair with the old one's name, the rotation, and a row for each server. From then on
//! a reconciler gives every row its turn, whichever control plane runs and however often one is killed: a turn is claimed by
//! a conditional update with a lease, every deed in it renews the lease first, and what a lost turn left is found and
//! finished by the next ([`decide`]). A deed takes at most [`DEED_LIMIT`], which is less than [`LEASE_US`], so that no deed of
//! a lost turn is under way while another turn begins.
//!
//! The old pair goes when nothing depends on it any more: no record of a server, deleted ones included, and no host that is
//! known to let it in still. Until then it stays, and the rotation can be taken up again.

mod decide;
mod reconcile;
mod rotation;
mod turn;
mod watch;

pub use decide::{Conclusion, Failure, MAX_CLAIMS, conclusion};
pub use rotation::{Rotation, RotationServer, RotationState, ServerState, Tally, Turn};

use std::{sync::Arc, time::Duration};

use muster_shared::id::{OrgId, SshKeyPairId, SshKeyRotationId};
use serde_json::json;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::{
    access::Act,
    agent_binary::AgentBinaries,
    audit::{Action, Record},
    clock::Clock,
    error::{Error, ErrorKind},
    running::Running,
    servers::{KeyPairName, Servers},
    ssh::{Connector, Entrance},
    ssh_keys::{self, KeySource, KeyType, MAX_KEY_PAIRS, NewKeyPair, SshKeyPair, SshKeyPairs},
    store::{RotationStart, Store, StoreError},
};

/// How long a turn is held without being renewed.
pub const LEASE_US: i64 = 90 * 1_000_000;
/// Time for one deed.
pub const DEED_LIMIT: Duration = Duration::from_secs(60);
/// Servers of all rotations that have their turn at once in this process; the rest wait.
pub const MAX_TURNS: usize = 16;
/// Servers of a rotation in a page.
pub const MAX_PAGE: u32 = 1000;
/// Most characters of a pair's name.
const MAX_NAME_CHARS: usize = 100;

type Result<T> = std::result::Result<T, Error>;

/// A rotation that was started or taken up.
pub struct Started {
    pub rotation: Rotation,
    pub new_pair: SshKeyPair,
    /// The new pair's private part, this once; `None` for a rotation that was taken up.
    pub private_key: Option<Zeroizing<String>>,
}

/// Replaces key pairs. Clones share what runs.
#[derive(Debug, Clone)]
pub struct SshKeyRotations {
    store: Store,
    servers: Servers,
    ssh_keys: SshKeyPairs,
    entrance: Entrance,
    connector: Connector,
    binaries: AgentBinaries,
    running: Running,
    clock: Clock,
    /// There are turns to be had.
    wake: Arc<Notify>,
    /// Something of a rotation is another than before.
    changed: Arc<Notify>,
}

impl SshKeyRotations {
    /// Works through the handles given.
    #[must_use]
    pub fn new(
        (store, clock): (Store, Clock),
        (servers, ssh_keys): (Servers, SshKeyPairs),
        (entrance, connector): (Entrance, Connector),
        binaries: AgentBinaries,
        running: Running,
    ) -> Self {
        let (wake, changed) = (Arc::default(), Arc::default());
        Self { store, servers, ssh_keys, entrance, connector, binaries, running, clock, wake, changed }
    }

    /// Starts to replace the pair `id` by a new one, of the kind given or of its own; where a rotation of it left servers
    /// behind, takes that up.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] while it is being rotated; [`ErrorKind::Precondition`] while it
    /// takes another one's place; [`ErrorKind::Exhausted`] as for [`SshKeyPairs::create`].
    pub async fn start(&self, act: &Act, id: SshKeyPairId, key_type: Option<KeyType>) -> Result<Started> {
        let old = self.ssh_keys.get(act.org_id, id).await?;
        let known = self.store.key_rotation(act.org_id, id).await?.filter(|rotation| rotation.old_pair == id);
        let (outcome, private_key) = match known {
            Some(rotation) if rotation.state == RotationState::Running => (RotationStart::Exists, None),
            Some(rotation) => {
                let record = Record::new(act, Action::SshKeyPairRotationResumed, id, &old.name)
                    .after(json!({ "rotation_id": rotation.id, "new_key_pair_id": rotation.new_pair }));
                (self.store.resume_key_rotation(&rotation, &record).await?, None)
            }
            None => self.begin(act, &old, key_type).await?,
        };
        match outcome {
            RotationStart::Begun(_) => {
                self.wake.notify_one();
                let rotation = self.get(act.org_id, id).await?;
                let new_pair = self.ssh_keys.get(act.org_id, rotation.new_pair).await?;
                Ok(Started { rotation, new_pair, private_key })
            }
            RotationStart::Missing => Err(ssh_keys::not_found()),
            RotationStart::Exists => {
                let detail = "this key pair is being rotated already: follow its rotation, and rotate it again should that \
                              leave servers behind";
                Err(Error::new(ErrorKind::Conflict, "rotation_running", detail))
            }
            RotationStart::Busy => {
                let detail = "another rotation from or to this key pair is under way: wait for its end";
                Err(Error::new(ErrorKind::Precondition, "key_pair_rotating", detail))
            }
            RotationStart::TooMany => Err(ssh_keys::too_many()),
        }
    }

    async fn begin(
        &self,
        act: &Act,
        old: &SshKeyPair,
        key_type: Option<KeyType>,
    ) -> Result<(RotationStart, Option<Zeroizing<String>>)> {
        let kind = match key_type.unwrap_or(old.key_type) {
            KeyType::Ecdsa => KeyType::Ed25519,
            kind => kind,
        };
        let new = NewKeyPair {
            name: old.name.clone(),
            description: old.description.clone(),
            source: KeySource::Generate(kind),
        };
        let made = self.ssh_keys.make(act, new).await?;
        let old_name = name_of_old(old)?;
        let id = SshKeyRotationId::generate();
        let record = Record::new(act, Action::SshKeyPairRotationStarted, old.id, &old.name).change(
            &json!({ "name": old.name.as_str(), "fingerprint": old.fingerprint }),
            &json!({
                "name": old_name.as_str(), "fingerprint": made.pair.fingerprint, "rotation_id": id,
                "new_key_pair_id": made.pair.id,
            }),
        );
        let started = self
            .store
            .start_key_rotation(id, (old.id, &old_name), (&made.pair, &made.sealed), MAX_KEY_PAIRS, &record)
            .await;
        match started {
            Ok(outcome) => Ok((outcome, Some(made.private_key))),
            Err(error @ StoreError::Conflict(_)) => Err(ssh_keys::name_taken(&made.pair).because(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// The rotation that replaces the pair `pair`, or brought it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId, pair: SshKeyPairId) -> Result<Rotation> {
        let rotation = self.store.key_rotation(org, pair).await?;
        rotation.ok_or_else(|| Error::not_found("rotation of an SSH key pair"))
    }

    /// A page of a rotation's servers, in the order of their ids.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn servers(&self, rotation: &Rotation, skip: u32, limit: u32) -> Result<Vec<RotationServer>> {
        let page = (skip, limit.clamp(1, MAX_PAGE));
        Ok(self.store.key_rotation_servers(rotation.org_id, rotation.id, i64::MIN, page).await?)
    }
}

/// What an old pair is called while its successor has its name.
fn name_of_old(old: &SshKeyPair) -> Result<KeyPairName> {
    let id = old.id.to_string();
    let suffix = format!(" (old {})", id.rsplit('-').next().unwrap_or(&id));
    let kept: String = old.name.as_str().chars().take(MAX_NAME_CHARS - suffix.len()).collect();
    format!("{}{suffix}", kept.trim_end()).parse().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_has_room_for_what_the_old_pair_is_called() {
        let named = |name: &str| SshKeyPair {
            id: "01890a5d-ac96-774b-bcce-b302099a8062".parse().expect("an id"),
            name: name.parse().expect("a name"),
            description: crate::servers::Description::default(),
            key_type: KeyType::Ed25519,
            public_key: String::new(),
            fingerprint: String::new(),
            used_by: 0,
            has_rotation: false,
            created_at_us: 0,
            updated_at_us: 0,
        };
        assert_eq!(name_of_old(&named("web")).expect("a name").as_str(), "web (old b302099a8062)");
        let long = format!("{} {}", "é".repeat(80), "x".repeat(19));
        let name = name_of_old(&named(&long)).expect("a name");
        assert_eq!(name.as_str(), format!("{} (old b302099a8062)", "é".repeat(80)));
        assert!(Duration::from_micros(LEASE_US.unsigned_abs()) > DEED_LIMIT);
    }
}
