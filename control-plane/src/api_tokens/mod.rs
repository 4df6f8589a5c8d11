//! Personal API tokens: each belongs to one user and one organisation, may do what its scopes and the user's role both
//! allow, and ends by itself.

use std::time::Duration;

use muster_shared::id::{ApiTokenId, OrgId};
use serde_json::json;

use crate::{
    access::{API_TOKEN_PREFIX, Act, Permission, Principal, Scopes, Token, TokenHash},
    audit::{Action, Record},
    error::{Error, ErrorKind},
    servers::{is_label_text, names},
    store::{Store, StoreError},
};

/// Tokens a user may have for one organisation.
pub const MAX_TOKENS: i64 = 100;
/// How long a token lives unless asked otherwise, and the longest it may unless the configuration says otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The shortest life of a token.
pub const MIN_TTL_SECONDS: u64 = 60;
/// How long a link to a server's page may be followed.
pub const LINK_TTL_SECONDS: u64 = 600;
/// Characters of a link's name; as many as a token's may have.
const MAX_LINK_NAME: usize = 100;
/// The longest life that a configuration may allow.
pub const MAX_TTL_SECONDS: u64 = 10 * 366 * 24 * 3_600;

names! {
    /// What its user calls a token.
    ApiTokenName = "a token's name",
        "1 to 100 printable characters that start with a letter or digit and don't end with a space", is_label_text;
}

/// A token as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    pub id: ApiTokenId,
    pub name: ApiTokenName,
    pub scopes: Scopes,
    pub created_at_us: i64,
    /// The one made at the first start does not end by itself.
    pub expires_at_us: Option<i64>,
    pub last_used_at_us: Option<i64>,
}

/// What a token shall be.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    pub name: ApiTokenName,
    /// `None`: whatever its user may do, as it is when the token is used.
    pub scopes: Option<Vec<Permission>>,
    pub ttl_seconds: Option<u64>,
}

/// The tokens of every user. Clones share the store.
#[derive(Debug, Clone)]
pub struct ApiTokens {
    store: Store,
    max_ttl: Duration,
}

impl ApiTokens {
    /// The tokens in `store`; new ones live for `max_ttl` at most.
    #[must_use]
    pub fn new(store: Store, max_ttl: Duration) -> Self {
        Self { store, max_ttl }
    }

    /// Makes a token for the caller and the organisation acted in. The secret is shown once; only its hash is kept.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for a scope the caller's role has not, or a caller with scopes of its own;
    /// [`ErrorKind::Invalid`] for a lifetime out of bounds; [`ErrorKind::Exhausted`] with [`MAX_TOKENS`] already.
    pub async fn create(&self, caller: &Principal, act: &Act, new: NewApiToken) -> Result<(ApiToken, Token), Error> {
        caller.require_whole()?;
        self.insert(caller, act, new).await
    }

    /// Makes a token whose secret somebody else made, and told the hash of.
    ///
    /// # Errors
    /// As [`Self::create`]; [`ErrorKind::Precondition`] where that secret was made a token before.
    pub async fn create_of_hash(
        &self,
        caller: &Principal,
        act: &Act,
        new: NewApiToken,
        hash: &TokenHash,
    ) -> Result<ApiToken, Error> {
        caller.require_whole()?;
        let token = self.described(caller, act, new)?;
        self.keep(caller, act, token, hash).await
    }

    /// Makes a token that reads one's servers and their figures for [`LINK_TTL_SECONDS`]: what a link to the page of the
    /// server called `server` carries. It can do less than whoever makes it, so that callers with scopes may.
    ///
    /// # Errors
    /// As [`Self::create`]: the caller must be allowed both.
    pub async fn create_link(&self, caller: &Principal, act: &Act, server: &str) -> Result<(ApiToken, Token), Error> {
        let name: String = format!("link to {server}").chars().take(MAX_LINK_NAME).collect();
        let new = NewApiToken {
            // A server's name follows the same rules.
            name: name.trim_end().parse().map_err(Error::internal)?,
            scopes: Some(vec![Permission::ServersView, Permission::MonitoringView]),
            ttl_seconds: Some(LINK_TTL_SECONDS.min(self.max_ttl.as_secs())),
        };
        self.insert(caller, act, new).await
    }

    async fn insert(&self, caller: &Principal, act: &Act, new: NewApiToken) -> Result<(ApiToken, Token), Error> {
        let token = self.described(caller, act, new)?;
        let secret = Token::generate(API_TOKEN_PREFIX).map_err(Error::internal)?;
        Ok((self.keep(caller, act, token, &secret.hash()).await?, secret))
    }

    fn described(&self, caller: &Principal, act: &Act, new: NewApiToken) -> Result<ApiToken, Error> {
        let scopes = match new.scopes {
            None => Scopes::All,
            Some(scopes) => {
                for scope in &scopes {
                    caller.require(*scope)?;
                }
                Scopes::only(scopes)
            }
        };
        Ok(ApiToken {
            id: ApiTokenId::generate(),
            name: new.name,
            scopes,
            created_at_us: act.at_us,
            expires_at_us: Some(self.expiry(caller, act.at_us, new.ttl_seconds)?),
            last_used_at_us: None,
        })
    }

    async fn keep(&self, caller: &Principal, act: &Act, token: ApiToken, hash: &TokenHash) -> Result<ApiToken, Error> {
        let record = Record::new(act, Action::ApiTokenCreated, token.id, &token.name).after(json!({
            "name": token.name.as_str(),
            "scopes": token.scopes.words(),
            "expires_at_us": token.expires_at_us,
        }));
        match self.store.insert_api_token(caller.user_id, &token, hash, &record).await {
            Ok(true) => Ok(token),
            Ok(false) => {
                let detail = format!("a user has at most {MAX_TOKENS} tokens for an organization: revoke one first");
                Err(Error::new(ErrorKind::Exhausted, "too_many_tokens", detail))
            }
            Err(StoreError::Conflict(_)) => {
                let detail = "this was approved before; what it made is among your tokens, unless it was revoked";
                Err(Error::new(ErrorKind::Precondition, "already_approved", detail))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// When a new token ends. One made with another token does not outlive it.
    fn expiry(&self, caller: &Principal, now_us: i64, ttl_seconds: Option<u64>) -> Result<i64, Error> {
        let max_seconds = self.max_ttl.as_secs();
        let ttl_seconds = ttl_seconds.unwrap_or(DEFAULT_TTL.as_secs().min(max_seconds));
        if !(MIN_TTL_SECONDS..=max_seconds).contains(&ttl_seconds) {
            let detail = format!("ttl_seconds is between {MIN_TTL_SECONDS} and {max_seconds}");
            return Err(Error::invalid("ttl_out_of_range", detail));
        }
        let asked_us = now_us.saturating_add(i64::try_from(ttl_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000));
        Ok(match caller.credential {
            crate::access::Credential::Token(_) => caller.expires_at_us.map_or(asked_us, |end| end.min(asked_us)),
            crate::access::Credential::Session(_) => asked_us,
        })
    }

    /// The caller's tokens for the organisation, newest first, without their secrets.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, caller: &Principal) -> Result<Vec<ApiToken>, Error> {
        let org: OrgId = caller.org_id;
        Ok(self.store.list_api_tokens(org, caller.user_id).await?)
    }

    /// Revokes one of the caller's tokens.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn revoke(&self, caller: &Principal, act: &Act, id: ApiTokenId) -> Result<(), Error> {
        let record = Record::new(act, Action::ApiTokenRevoked, id, "");
        if self.store.revoke_api_token(caller.user_id, id, record).await? {
            Ok(())
        } else {
            Err(Error::not_found("API token"))
        }
    }
}
