//! Signing in through an OpenID provider, as browsers ask for it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::secret::WriteOnly;

/// Whether there is a provider to sign in through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "enabled": true, "login_path": "/api/v1/oidc/login" }))]
pub struct OidcStanding {
    pub enabled: bool,
    /// Where to send the browser, with `return_to` as the path to come back to.
    pub login_path: String,
}

/// Where to go afterwards.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OidcLogin {
    /// A path on this site; `/` unless given.
    #[param(max_length = 512, pattern = r"^/([!-.0-\[\]-~][!-\[\]-~]*)?$", example = "/servers")]
    pub return_to: Option<String>,
}

/// What the provider sends a browser back with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OidcCallback {
    /// What it gives out for who it is.
    pub code: Option<WriteOnly>,
    /// What it was sent with.
    pub state: Option<String>,
    /// The provider's issuer.
    pub iss: Option<String>,
    /// Why it did not let them in.
    pub error: Option<String>,
}

/// The second factor of somebody whom the provider let in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "totp_code": "123456" }))]
pub struct OidcSecondFactor {
    /// The second factor's code, or a recovery code.
    pub totp_code: WriteOnly,
}
