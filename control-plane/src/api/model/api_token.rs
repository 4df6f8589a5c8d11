//! API tokens as their users see them.

use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::{ArrayBuilder, RefOr, Schema, Type, schema::SchemaType},
};

use super::{request::field, time::Time};
use crate::{
    access::{Permission, Scope},
    api::openapi::one_of,
    api_tokens,
    error::Error,
};

/// What a token shall be.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "nightly report", "ttl_seconds": 2_592_000, "scopes": ["org.servers.list", "org.servers.view"]
}))]
pub struct ApiTokenCreate {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: String,
    /// At least 60. 90 days unless given, and at most what the control plane is set to.
    #[schema(minimum = 60, maximum = 7_776_000)]
    pub ttl_seconds: Option<u64>,
    /// The permissions it is good for, of those the caller has; all of the caller's unless given.
    #[schema(schema_with = scopes)]
    pub scopes: Option<Vec<String>>,
}

/// A token, once: its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiTokenCreated {
    pub id: String,
    /// Shown once; only its hash is kept.
    pub token: String,
    pub name: String,
    pub scopes: Option<Vec<String>>,
    pub expires_at: Option<Time>,
}

/// A token in a list. Its secret is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8059", "name": "nightly report", "scopes": ["org.servers.list"],
    "created_at": "2025-01-15T10:30:00Z", "expires_at": "2025-02-14T10:30:00Z", "last_used_at": null
}))]
pub struct ApiToken {
    pub id: String,
    pub name: String,
    /// The permissions it is good for; `null` for all its user has.
    pub scopes: Option<Vec<String>>,
    pub created_at: Option<Time>,
    pub expires_at: Option<Time>,
    /// To the minute.
    pub last_used_at: Option<Time>,
}

fn scopes() -> RefOr<Schema> {
    let words = one_of(Permission::ALL.iter().map(|permission| permission.as_str()));
    let types = SchemaType::from_iter([Type::Array, Type::Null]);
    ArrayBuilder::new().schema_type(types).items(words).max_items(Some(Permission::ALL.len())).into()
}

fn words(token: &api_tokens::ApiToken) -> Option<Vec<String>> {
    token.scopes.words().map(|words| words.into_iter().map(str::to_owned).collect())
}

impl ApiToken {
    /// `token` as it is shown.
    #[must_use]
    pub fn of(token: &api_tokens::ApiToken) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name.to_string(),
            scopes: words(token),
            created_at: Some(Time(token.created_at_us)),
            expires_at: token.expires_at_us.map(Time),
            last_used_at: token.last_used_at_us.map(Time),
        }
    }
}

impl ApiTokenCreated {
    /// `token` with its secret.
    #[must_use]
    pub fn of(token: &api_tokens::ApiToken, secret: &crate::access::Token) -> Self {
        Self {
            id: token.id.to_string(),
            token: secret.reveal().to_owned(),
            name: token.name.to_string(),
            scopes: words(token),
            expires_at: token.expires_at_us.map(Time),
        }
    }
}

impl ApiTokenCreate {
    /// The token, checked.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_new(self) -> Result<api_tokens::NewApiToken, Error> {
        let scope = |word: &String| field("scopes", word).map(|Scope(permission)| permission);
        let scopes = self.scopes.map(|words| {
            if words.len() > Permission::ALL.len() {
                return Err(Error::invalid("invalid_field", "scopes: more than there are permissions"));
            }
            words.iter().map(scope).collect::<Result<Vec<_>, _>>()
        });
        Ok(api_tokens::NewApiToken {
            name: field("name", &self.name)?,
            scopes: scopes.transpose()?,
            ttl_seconds: self.ttl_seconds,
        })
    }
}
