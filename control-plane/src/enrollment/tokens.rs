//! Join tokens: 256 random bits that let one host become one server, for a while.

use muster_shared::{
    id::{JoinTokenId, OrgId, ServerId},
    policy::Family,
};

use serde_json::json;

use super::{Enrollment, Result};
use crate::{
    access::{Act, Token},
    audit::{Action, Record},
    error::Error,
    servers::ServerName,
    store::{self, JoinToken},
};

/// What every join token begins with.
pub const JOIN_TOKEN_PREFIX: &str = "mjt_";
/// How long a join token lives: at least, at most, and unless asked otherwise.
pub const MIN_TTL_SECONDS: u32 = 60;
pub const MAX_TTL_SECONDS: u32 = 7 * 86_400;
pub const DEFAULT_TTL_SECONDS: u32 = 600;

/// What a join token shall be.
#[derive(Debug, Clone, Default)]
pub struct NewJoinToken {
    pub ttl_seconds: Option<u32>,
    /// The new server's name; the host's own name otherwise.
    pub server_name: Option<ServerName>,
    /// What the host's policy will accept; empty means observe.
    pub allow: Vec<Family>,
    /// The server, made beforehand, that the host becomes.
    pub for_server: Option<ServerId>,
}

impl Enrollment {
    /// Makes a join token. The secret is shown once; only its hash is kept.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for a lifetime out of bounds;
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a server that isn't the organisation's.
    pub async fn create_token(&self, act: &Act, new: NewJoinToken) -> Result<(JoinToken, Token)> {
        let now_us = act.at_us;
        let by = act.user_id().ok_or_else(|| Error::internal("a join token is made by a user"))?;
        let ttl_seconds = new.ttl_seconds.unwrap_or(DEFAULT_TTL_SECONDS);
        if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&ttl_seconds) {
            let detail = format!("ttl_seconds is between {MIN_TTL_SECONDS} and {MAX_TTL_SECONDS}");
            return Err(Error::invalid("ttl_out_of_range", detail));
        }
        let mut allowed_families = if new.allow.is_empty() { vec![Family::Observe] } else { new.allow };
        allowed_families.sort_unstable();
        allowed_families.dedup();
        let secret = Token::generate(JOIN_TOKEN_PREFIX).map_err(Error::internal)?;
        let row = store::NewJoinToken {
            id: JoinTokenId::generate(),
            hash: secret.hash(),
            for_server: new.for_server,
            server_name: new.server_name,
            allowed_families,
            created_by: by,
            expires_at_us: now_us.saturating_add(i64::from(ttl_seconds) * 1_000_000),
        };
        let record = Record::new(act, Action::JoinTokenCreated, row.id, "").after(json!({
            "server_name": row.server_name.as_ref().map(ToString::to_string),
            "server_id": row.for_server.map(|id| id.to_string()),
            "allow": row.allowed_families.iter().map(|family| family.as_str()).collect::<Vec<_>>(),
            "ttl_seconds": ttl_seconds,
        }));
        if !self.store.insert_join_token(&row, &record).await? {
            return Err(Error::not_found("server"));
        }
        let token = JoinToken {
            id: row.id,
            for_server: row.for_server,
            server_name: row.server_name,
            allowed_families: row.allowed_families,
            created_by: by,
            created_at_us: now_us,
            expires_at_us: row.expires_at_us,
            used_at_us: None,
            used_by: None,
            revoked_at_us: None,
        };
        Ok((token, secret))
    }

    /// The organisation's join tokens, newest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list_tokens(&self, org: OrgId) -> Result<Vec<JoinToken>> {
        Ok(self.store.list_join_tokens(org).await?)
    }

    /// Revokes a join token; one that was used stays used.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
    pub async fn revoke_token(&self, act: &Act, id: JoinTokenId) -> Result<()> {
        let record = Record::new(act, Action::JoinTokenRevoked, id, "");
        if self.store.revoke_join_token(id, &record).await? { Ok(()) } else { Err(Error::not_found("join token")) }
    }
}
