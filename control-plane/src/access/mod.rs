//! Who is asking, and what they may do.

mod act;
mod permission;
mod principal;
mod scopes;
mod token;
mod used;

pub use act::{Act, Actor, Credential, Origin};
pub use permission::{Permission, Role};
pub use principal::{Membership, Principal, Proof};
pub use scopes::{Scope, Scopes, UnknownScope};
pub use token::{API_TOKEN_PREFIX, NoRandomness, SESSION_PREFIX, Token, TokenHash};

use std::{fs, io, path::Path, time::Duration};

pub use used::USED_EVERY_US;
use used::Used;

use muster_shared::id::{ApiTokenId, OrgId, UserId};

use crate::{
    error::{Error, ErrorKind},
    keyring::write_private,
    store::{FirstOwner, Store, StoreError},
};

/// The file in the data directory that holds the owner's API token.
pub const OWNER_TOKEN_FILE: &str = "owner.token";

/// How long a browser's session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLife {
    /// Unused for this long, it is over.
    pub idle: Duration,
    /// It is over after this long in any case.
    pub whole: Duration,
}

/// NIST SP 800-63B-4 asks at its second assurance level for a new sign-in after 24 hours, or after one without use.
impl Default for SessionLife {
    fn default() -> Self {
        Self { idle: Duration::from_secs(3_600), whole: Duration::from_secs(24 * 3_600) }
    }
}

/// Authentication: by API tokens and by browsers' sessions. What a user may do is read anew each time, so that a changed
/// role counts at once. Clones share the store.
#[derive(Debug, Clone)]
pub struct Access {
    store: Store,
    session_life: SessionLife,
    used: Used,
}

impl Access {
    /// Access by the tokens and sessions in `store`.
    #[must_use]
    pub fn new(store: Store, session_life: SessionLife) -> Self {
        Self { used: Used::new(store.clone()), store, session_life }
    }

    /// Whose token `bearer` is, acting in the organisation the token is for.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for an unknown, expired or revoked token, without saying which.
    pub async fn authenticate(&self, bearer: &str, now_us: i64) -> Result<Principal, Error> {
        let found = match Token::parse(bearer, API_TOKEN_PREFIX) {
            Some(token) => self.store.token_proof(&token.hash(), now_us).await?,
            None => None,
        };
        let detail = "a valid API token is needed: send it as `authorization: Bearer mst_…`";
        self.proven(found, now_us, detail)
    }

    /// Whose session `secret` is, acting in the organisation the user chose, else in their first.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for an unknown, idle, expired or ended session, without saying which.
    pub async fn by_session(&self, secret: &Token, now_us: i64) -> Result<Principal, Error> {
        let idle_us = i64::try_from(self.session_life.idle.as_micros()).unwrap_or(i64::MAX);
        let found = self.store.session_proof(&secret.hash(), now_us, now_us.saturating_sub(idle_us)).await?;
        self.proven(found, now_us, "the session is over: sign in again")
    }

    fn proven(&self, found: Option<(Proof, Option<i64>)>, now_us: i64, otherwise: &str) -> Result<Principal, Error> {
        let nobody = || Error::new(ErrorKind::Unauthenticated, "unauthenticated", otherwise);
        let (proof, used_at_us) = found.ok_or_else(nobody)?;
        let principal = proof.acting().ok_or_else(nobody)?;
        self.used.note(principal.credential, used_at_us, now_us);
        Ok(principal)
    }

    /// How long sessions last.
    #[must_use]
    pub fn session_life(&self) -> SessionLife {
        self.session_life
    }

    /// Waits until what is known of the last use of credentials is stored.
    pub async fn settled(&self) {
        self.used.settled().await;
    }

    /// At the first start, makes the organisation and its owner, and writes the owner's API token to
    /// `data_dir/owner.token` (mode 0600). Later starts change nothing, even where the file was removed.
    ///
    /// # Errors
    /// [`Error`]: the store failed or the file can't be written.
    pub async fn ensure_owner(&self, data_dir: &Path, now_us: i64) -> Result<(), Error> {
        if self.store.has_organization().await? {
            return Ok(());
        }
        let path = data_dir.join(OWNER_TOKEN_FILE);
        // The file comes first: a crash between the two leaves a token that the next start puts to use.
        let fresh = Token::generate(API_TOKEN_PREFIX).map_err(Error::internal)?;
        write_private(&path, format!("{}\n", fresh.reveal()).as_bytes()).map_err(|source| unwritable(&path, source))?;
        let text = fs::read_to_string(&path).map_err(|source| unwritable(&path, source))?;
        let token = Token::parse(&text, API_TOKEN_PREFIX)
            .ok_or_else(|| Error::invalid("owner_token", format!("{path:?} holds no API token: remove it")))?;
        let owner = FirstOwner {
            org_id: OrgId::generate(),
            org_name: "Default",
            user_id: UserId::generate(),
            user_name: "owner",
            token_id: ApiTokenId::generate(),
            token_hash: token.hash(),
        };
        match self.store.create_first_owner(&owner, now_us).await {
            Ok(()) => Ok(()),
            Err(StoreError::Conflict(_)) => {
                // Another replica was first, and its token is the one that works.
                fs::remove_file(&path).map_err(|source| unwritable(&path, source))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::new(ErrorKind::Internal, "owner_token", format!("{path:?} can't be written")).because(source)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::test_database::on_each;

    #[tokio::test]
    async fn the_owner_is_made_once_and_gets_in() {
        on_each(|store| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(OWNER_TOKEN_FILE);
            let access = Access::new(store, SessionLife::default());
            access.ensure_owner(folder.path(), 1).await.expect("made");
            assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
            let token = fs::read_to_string(&path).expect("token");
            let owner = access.authenticate(token.trim(), 2).await.expect("the owner");
            assert_eq!(owner.role, Role::Owner);
            owner.require(Permission::ServersDelete).expect("allowed");
            fs::remove_file(&path).expect("removed");
            access.ensure_owner(folder.path(), 3).await.expect("nothing to do");
            assert!(!path.exists());
        })
        .await;
    }

    #[tokio::test]
    async fn a_token_left_by_a_crash_is_put_to_use() {
        on_each(|store| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let left = Token::generate(API_TOKEN_PREFIX).expect("randomness");
            fs::write(folder.path().join(OWNER_TOKEN_FILE), left.reveal()).expect("written");
            let access = Access::new(store, SessionLife::default());
            access.ensure_owner(folder.path(), 1).await.expect("made");
            access.authenticate(left.reveal(), 2).await.expect("the owner");
        })
        .await;
    }

    #[tokio::test]
    async fn strangers_are_refused() {
        on_each(|store| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let access = Access::new(store, SessionLife::default());
            access.ensure_owner(folder.path(), 1).await.expect("made");
            let stranger = Token::generate(API_TOKEN_PREFIX).expect("randomness");
            for text in ["", "mst_", stranger.reveal()] {
                let error = access.authenticate(text, 2).await.expect_err("refused");
                assert_eq!(error.kind, ErrorKind::Unauthenticated);
            }
        })
        .await;
    }
}
