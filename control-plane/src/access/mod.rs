//! Who is asking, and what they may do.

mod act;
mod permission;
mod token;

pub use act::{Act, Actor, Credential, Origin};
pub use permission::{Permission, Role};
pub use token::{API_TOKEN_PREFIX, NoRandomness, Token, TokenHash};

use std::{fs, io, path::Path, sync::Arc};

use muster_shared::id::{ApiTokenId, OrgId, UserId};

use crate::{
    error::{Error, ErrorKind},
    keyring::write_private,
    store::{FirstOwner, Store, StoreError},
};

/// The file in the data directory that holds the owner's API token.
pub const OWNER_TOKEN_FILE: &str = "owner.token";

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The organisation this request is about.
    pub org_id: OrgId,
    pub user_id: UserId,
    pub user_name: Arc<str>,
    pub credential: Credential,
    /// What the user is in [`Self::org_id`].
    pub role: Role,
}

impl Principal {
    /// What this caller does at `at_us`, coming from `origin`.
    #[must_use]
    pub fn act(&self, origin: Origin, at_us: i64) -> Act {
        let actor = Actor::User { id: self.user_id, name: Arc::clone(&self.user_name), credential: self.credential };
        Act { org_id: self.org_id, actor, origin, at_us }
    }

    /// Goes on only where the role has `permission`.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], naming the permission.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        if self.role.allows(permission) {
            return Ok(());
        }
        let detail = format!("this needs the permission {}; ask an owner of the organization", permission.as_str());
        Err(Error::new(ErrorKind::PermissionDenied, "permission_denied", detail))
    }
}

/// Authentication. Clones share the store.
#[derive(Debug, Clone)]
pub struct Access {
    store: Store,
}

impl Access {
    /// Access by the tokens in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Whose token `bearer` is.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for an unknown, expired or revoked token, without saying which.
    pub async fn authenticate(&self, bearer: &str, now_us: i64) -> Result<Principal, Error> {
        let principal = match Token::parse(bearer, API_TOKEN_PREFIX) {
            Some(token) => self.store.principal(&token.hash(), now_us).await?,
            None => None,
        };
        principal.ok_or_else(|| {
            Error::new(
                ErrorKind::Unauthenticated,
                "unauthenticated",
                "a valid API token is needed: send it as `authorization: Bearer mst_…`",
            )
        })
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
            let access = Access::new(store);
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
            let access = Access::new(store);
            access.ensure_owner(folder.path(), 1).await.expect("made");
            access.authenticate(left.reveal(), 2).await.expect("the owner");
        })
        .await;
    }

    #[tokio::test]
    async fn strangers_are_refused() {
        on_each(|store| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let access = Access::new(store);
            access.ensure_owner(folder.path(), 1).await.expect("made");
            let stranger = Token::generate(API_TOKEN_PREFIX).expect("randomness");
            for text in ["", "mst_", stranger.reveal()] {
                let error = access.authenticate(text, 2).await.expect_err("refused");
                assert_eq!(error.kind, ErrorKind::Unauthenticated);
            }
        })
        .await;
    }

    #[test]
    fn members_may_look_and_not_touch() {
        let member = Principal {
            org_id: OrgId::generate(),
            user_id: UserId::generate(),
            user_name: "member".into(),
            credential: Credential::Token(ApiTokenId::generate()),
            role: Role::Member,
        };
        member.require(Permission::ServersView).expect("allowed");
        let error = member.require(Permission::ServersCreate).expect_err("refused");
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        assert!(error.detail.contains("org.servers.create"));
    }
}
