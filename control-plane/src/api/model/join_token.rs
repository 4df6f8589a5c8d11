//! Join tokens as callers see them.

use muster_shared::{policy::Family, wire};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{filled, time::Time};
use crate::{error::Error, store};

/// What a join token shall be.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "ttl_seconds": 600, "server_name": "production-server-1", "allow": ["observe", "fix"] }))]
pub struct JoinTokenCreate {
    /// 60 to 604,800; 600 unless given.
    #[schema(minimum = 60, maximum = 604_800)]
    pub ttl_seconds: Option<u32>,
    /// The name the server gets; its hostname otherwise.
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub server_name: Option<String>,
    /// What the host's policy will accept; `observe` unless given.
    #[serde(default)]
    pub allow: Vec<Family>,
    /// The id or name of a server created beforehand that the host becomes.
    pub server: Option<String>,
}

/// A join token, once: its secret and the lines to paste.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JoinTokenCreated {
    pub id: String,
    /// Shown once; only its hash is kept.
    pub token: String,
    /// The line to paste into a root shell of a host that has curl.
    pub command: String,
    /// The same for a host that has wget.
    pub command_wget: String,
    pub expires_at: Option<Time>,
    /// SHA-256 of the CA certificate the host will believe.
    pub ca_sha256: String,
    /// SHA-256 of the script the line fetches and checks.
    pub install_sha256: String,
}

/// A join token in a list. Its secret is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8061", "status": "pending", "server_name": "production-server-1",
    "server_id": null, "created_at": "2025-01-15T10:30:00Z", "expires_at": "2025-01-15T10:40:00Z", "used_at": null
}))]
pub struct JoinToken {
    pub id: String,
    /// `pending`, `used`, `expired` or `revoked`.
    pub status: String,
    pub server_name: Option<String>,
    pub server_id: Option<String>,
    pub created_at: Option<Time>,
    pub expires_at: Option<Time>,
    pub used_at: Option<Time>,
}

impl JoinToken {
    /// `token` as it stands at `now_us`.
    #[must_use]
    pub fn of(token: &store::JoinToken, now_us: i64) -> Self {
        Self {
            id: token.id.to_string(),
            status: token.status(now_us).as_str().to_owned(),
            server_name: token.server_name.as_ref().map(ToString::to_string),
            server_id: token.used_by.or(token.for_server).map(|id| id.to_string()),
            created_at: Some(Time(token.created_at_us)),
            expires_at: Some(Time(token.expires_at_us)),
            used_at: token.used_at_us.map(Time),
        }
    }
}

impl TryFrom<wire::CreateJoinTokenRequest> for JoinTokenCreate {
    type Error = Error;

    fn try_from(request: wire::CreateJoinTokenRequest) -> Result<Self, Error> {
        let family = |word: &String| word.parse::<Family>();
        let allow = request.allow.iter().map(family).collect::<Result<_, _>>();
        Ok(Self {
            ttl_seconds: Some(request.ttl_seconds).filter(|seconds| *seconds > 0),
            server_name: filled(request.server_name),
            allow: allow.map_err(|error| Error::invalid("invalid_field", format!("allow: {error}")))?,
            server: filled(request.server),
        })
    }
}

impl From<JoinTokenCreated> for wire::CreateJoinTokenResponse {
    fn from(token: JoinTokenCreated) -> Self {
        Self {
            id: token.id,
            token: token.token,
            command: token.command,
            command_wget: token.command_wget,
            expires_at: token.expires_at.map(Into::into),
            ca_sha256: token.ca_sha256,
            install_sha256: token.install_sha256,
        }
    }
}

impl From<wire::CreateJoinTokenResponse> for JoinTokenCreated {
    fn from(token: wire::CreateJoinTokenResponse) -> Self {
        Self {
            id: token.id,
            token: token.token,
            command: token.command,
            command_wget: token.command_wget,
            expires_at: token.expires_at.map(Into::into),
            ca_sha256: token.ca_sha256,
            install_sha256: token.install_sha256,
        }
    }
}

impl From<JoinToken> for wire::JoinToken {
    fn from(token: JoinToken) -> Self {
        Self {
            id: token.id,
            status: token.status,
            server_name: token.server_name.unwrap_or_default(),
            server_id: token.server_id.unwrap_or_default(),
            created_at: token.created_at.map(Into::into),
            expires_at: token.expires_at.map(Into::into),
            used_at: token.used_at.map(Into::into),
        }
    }
}

impl From<wire::JoinToken> for JoinToken {
    fn from(token: wire::JoinToken) -> Self {
        Self {
            id: token.id,
            status: token.status,
            server_name: filled(token.server_name),
            server_id: filled(token.server_id),
            created_at: token.created_at.map(Into::into),
            expires_at: token.expires_at.map(Into::into),
            used_at: token.used_at.map(Into::into),
        }
    }
}
