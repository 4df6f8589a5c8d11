//! SSH key pairs: an organisation's own, made or brought along once and used by any number of its servers.

mod material;
mod pair;

pub(crate) use material::unreadable;
pub use material::{KeySource, MIN_RSA_BITS, Material, RSA_BITS};
pub use pair::{KeyPairPatch, KeyType, NewKeyPair, ROTATION_DUE_DAYS, SshKeyPair};

use std::sync::Arc;

use muster_shared::{
    id::{OrgId, SshKeyPairId},
    seal::{Place, SealError},
};
use secrecy::SecretString;
use tokio::{sync::Semaphore, task::spawn_blocking};
use zeroize::Zeroizing;

use crate::{
    access::Act,
    audit::{Action, Record},
    error::{Error, ErrorKind},
    keyring::Keyring,
    store::{Deletion, Store, StoreError},
};

/// Key pairs of one organisation.
pub const MAX_KEY_PAIRS: u32 = 1000;
/// Key pairs in a page.
pub const MAX_PAGE: u32 = 1000;
/// Keys made or read at once: each takes a core, RSA for seconds. Who comes then is told to come again.
const MAX_AT_ONCE: usize = 2;

type Result<T> = std::result::Result<T, Error>;

/// A key pair that was made and is kept nowhere yet.
pub(crate) struct Made {
    pub(crate) pair: SshKeyPair,
    /// The private part for the pair's row.
    pub(crate) sealed: Vec<u8>,
    pub(crate) private_key: Zeroizing<String>,
}

/// The key pairs of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct SshKeyPairs {
    store: Store,
    keyring: Keyring,
    at_work: Arc<Semaphore>,
}

impl SshKeyPairs {
    /// The key pairs in `store`, whose private parts `keyring` opens.
    #[must_use]
    pub fn new(store: Store, keyring: Keyring) -> Self {
        Self { store, keyring, at_work: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }

    /// Makes or takes in a key pair. The private part is answered once, and only where it was made here.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key that can't be read or is too weak; [`ErrorKind::Conflict`] when the name is
    /// taken; [`ErrorKind::Exhausted`] while others are being made, or when there are [`MAX_KEY_PAIRS`].
    pub async fn create(&self, act: &Act, new: NewKeyPair) -> Result<(SshKeyPair, Option<Zeroizing<String>>)> {
        let made_here = matches!(new.source, KeySource::Generate(_));
        let Made { pair, sealed, private_key } = self.make(act, new).await?;
        let record = Record::new(act, Action::SshKeyPairCreated, pair.id, &pair.name).after(pair.shown());
        match self.store.insert_ssh_key_pair(&pair, &sealed, MAX_KEY_PAIRS, &record).await {
            Ok(true) => Ok((pair, made_here.then_some(private_key))),
            Ok(false) => Err(too_many()),
            Err(error @ StoreError::Conflict(_)) => Err(name_taken(&pair).because(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes or takes in a key pair and keeps nothing of it: that is the caller's.
    ///
    /// # Errors
    /// As [`Self::create`], but for what the store says.
    pub(crate) async fn make(&self, act: &Act, new: NewKeyPair) -> Result<Made> {
        let NewKeyPair { name, description, source } = new;
        let material = self.material(source, name.to_string()).await?;
        let id = SshKeyPairId::generate();
        let (org, row) = (act.org_id.to_string(), id.to_string());
        let sealed = self.keyring.seal(&place(&org, &row), material.private_key.as_bytes()).map_err(Error::internal)?;
        let pair = SshKeyPair {
            id,
            name,
            description,
            key_type: material.key_type,
            public_key: material.public_key,
            fingerprint: material.fingerprint,
            used_by: 0,
            has_rotation: false,
            created_at_us: act.at_us,
            updated_at_us: act.at_us,
        };
        Ok(Made { pair, sealed, private_key: material.private_key })
    }

    /// The key pair `id`, without its private part.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId, id: SshKeyPairId) -> Result<SshKeyPair> {
        self.store.ssh_key_pair(org, id).await?.ok_or_else(not_found)
    }

    /// The key pairs of a page, oldest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, org: OrgId, skip: u32, limit: u32) -> Result<Vec<SshKeyPair>> {
        Ok(self.store.list_ssh_key_pairs(org, skip, limit.clamp(1, MAX_PAGE)).await?)
    }

    /// Changes name and description; the key stays.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when the name is taken, or somebody else was faster.
    pub async fn update(&self, act: &Act, id: SshKeyPairId, patch: KeyPairPatch) -> Result<SshKeyPair> {
        let before = self.get(act.org_id, id).await?;
        let after = SshKeyPair {
            name: patch.name.unwrap_or_else(|| before.name.clone()),
            description: patch.description.unwrap_or_else(|| before.description.clone()),
            ..before.clone()
        };
        let record =
            Record::new(act, Action::SshKeyPairUpdated, id, &before.name).change(&before.shown(), &after.shown());
        match self.store.update_ssh_key_pair(&before, &after, &record).await {
            Ok(true) => self.get(act.org_id, id).await,
            Ok(false) => Err(Error::new(
                ErrorKind::Conflict,
                "changed_meanwhile",
                "the key pair was changed meanwhile; try again",
            )),
            Err(error @ StoreError::Conflict(_)) => Err(name_taken(&after).because(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a key pair that no server is entered with.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] while servers use it, or a rotation needs it.
    pub async fn delete(&self, act: &Act, id: SshKeyPairId) -> Result<()> {
        let pair = self.get(act.org_id, id).await?;
        let record = Record::new(act, Action::SshKeyPairDeleted, id, &pair.name).before(pair.shown());
        match self.store.delete_ssh_key_pair(id, &record).await? {
            Deletion::Deleted => Ok(()),
            Deletion::Missing => Err(not_found()),
            Deletion::InUse => {
                let detail = "servers are entered with this key pair: give them another login first";
                Err(Error::new(ErrorKind::Precondition, "key_pair_in_use", detail))
            }
            Deletion::Rotating => {
                let detail = "a rotation from or to this key pair is under way, or left servers behind that still let \
                              the old key in: wait for it, or rotate the old pair again";
                Err(Error::new(ErrorKind::Precondition, "key_pair_rotating", detail))
            }
        }
    }

    /// Makes an Ed25519 key that calls itself `comment`, and keeps nothing of it.
    ///
    /// # Errors
    /// [`ErrorKind::Exhausted`] while others are being made.
    pub async fn generate(&self, comment: String) -> Result<Material> {
        self.material(KeySource::Generate(KeyType::Ed25519), comment).await
    }

    async fn material(&self, source: KeySource, comment: String) -> Result<Material> {
        let Ok(permit) = Arc::clone(&self.at_work).try_acquire_owned() else {
            let detail = "other keys are being made at this moment: try again in a few seconds";
            return Err(Error::new(ErrorKind::Exhausted, "keys_being_made", detail));
        };
        let work = spawn_blocking(move || {
            // The permit stays until the work is over, whether or not the caller waits for it.
            let _permit = permit;
            material::of(source, &comment)
        });
        work.await.map_err(Error::internal)?
    }
}

/// Opens the private part of the key pair `id`.
///
/// # Errors
/// [`SealError`]: damaged, from a lost key, or from another place.
pub fn open_private_key(
    keyring: &Keyring,
    org: OrgId,
    id: SshKeyPairId,
    sealed: &[u8],
) -> std::result::Result<SecretString, SealError> {
    let (org, row) = (org.to_string(), id.to_string());
    let opened = keyring.open(&place(&org, &row), sealed)?;
    let text = std::str::from_utf8(&opened).map_err(|_| SealError::Malformed)?;
    Ok(SecretString::from(text))
}

/// There is no such key pair, as far as the caller may know.
#[must_use]
pub fn not_found() -> Error {
    Error::not_found("SSH key pair")
}

fn place<'a>(organization: &'a str, row: &'a str) -> Place<'a> {
    Place { organization, table: "ssh_key_pairs", row, column: "private_key_sealed" }
}

pub(crate) fn too_many() -> Error {
    let detail = format!("an organization has at most {MAX_KEY_PAIRS} key pairs: delete those not in use");
    Error::new(ErrorKind::Exhausted, "too_many_key_pairs", detail)
}

pub(crate) fn name_taken(pair: &SshKeyPair) -> Error {
    Error::new(ErrorKind::Conflict, "name_taken", format!("there is a key pair named {} already", pair.name))
}
