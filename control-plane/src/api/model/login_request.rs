//! Requests to be signed in as callers see them.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{request::field, time::Time};
use crate::{access::TokenHash, api_tokens::ApiTokenName, error::Error, login_requests::LoginRequest};

/// What a terminal asks for.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "muster on laptop", "token_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
}))]
pub struct LoginRequestCreate {
    /// What the token will be called: 1 to 100 printable characters.
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: String,
    /// SHA-256, in hexadecimal digits, of the token that the terminal made: `mst_` and 64 hexadecimal digits.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub token_sha256: String,
}

/// A request as its asker carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "request": "AQxkaXNwbGF5ZWQ", "code": "7k2m-x9dq", "expires_at": "2025-01-15T10:40:00Z"
}))]
pub struct LoginRequestCreated {
    /// To open at `/#/login/{request}` of the control plane's address. It is no secret.
    pub request: String,
    /// What the one who approves compares.
    pub code: String,
    pub expires_at: Time,
}

/// What somebody is asked to approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoginRequest, example = json!({
    "name": "muster on laptop", "code": "7k2m-x9dq", "begun_at": "2025-01-15T10:30:00Z",
    "expires_at": "2025-01-15T10:40:00Z"
}))]
pub struct LoginRequestShown {
    /// What the asker calls itself.
    pub name: String,
    /// What the terminal shows as well.
    pub code: String,
    pub begun_at: Time,
    pub expires_at: Time,
}

/// How it is approved.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "ttl_seconds": 2_592_000 }))]
pub struct LoginRequestApproval {
    /// At least 60. 90 days unless given, and at most what the control plane is set to.
    #[schema(minimum = 60, maximum = 7_776_000)]
    pub ttl_seconds: Option<u64>,
}

impl LoginRequestCreate {
    /// The name and the hash, checked.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_parts(self) -> Result<(ApiTokenName, TokenHash), Error> {
        let no_hash = || Error::invalid("invalid_field", "token_sha256: 64 hexadecimal digits");
        let bytes = hex::decode(&self.token_sha256).map_err(|_| no_hash())?;
        let hash = bytes.try_into().map_err(|_| no_hash())?;
        Ok((field("name", &self.name)?, TokenHash::of_bytes(hash)))
    }
}

impl LoginRequestCreated {
    /// `request`, carried as `carried`.
    #[must_use]
    pub fn of(request: &LoginRequest, carried: String) -> Self {
        Self { request: carried, code: request.code(), expires_at: Time(request.expires_at_us()) }
    }
}

impl LoginRequestShown {
    /// `request` as it is shown.
    #[must_use]
    pub fn of(request: &LoginRequest) -> Self {
        Self {
            name: request.name.to_string(),
            code: request.code(),
            begun_at: Time(request.begun_at_us),
            expires_at: Time(request.expires_at_us()),
        }
    }
}

impl From<wire::BeginLoginRequest> for LoginRequestCreate {
    fn from(request: wire::BeginLoginRequest) -> Self {
        Self { name: request.name, token_sha256: request.token_sha256 }
    }
}

impl From<LoginRequestCreated> for wire::BeginLoginResponse {
    fn from(created: LoginRequestCreated) -> Self {
        Self { request: created.request, code: created.code, expires_at: Some(created.expires_at.into()) }
    }
}

impl From<LoginRequestShown> for wire::LoginRequest {
    fn from(shown: LoginRequestShown) -> Self {
        Self {
            name: shown.name,
            code: shown.code,
            begun_at: Some(shown.begun_at.into()),
            expires_at: Some(shown.expires_at.into()),
        }
    }
}
