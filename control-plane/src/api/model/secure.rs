//! Securing a server, as callers ask for it and are answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::secure::SecureOptions;

/// What securing a server is to do beside replacing the password by a key.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "disable_password_auth": false }))]
pub struct SecureRequest {
    /// Let nobody into the server by a password any more.
    pub disable_password_auth: bool,
    /// Keep the password on record for sudo alone, where sudo asks the user for it. Without this, such a server is
    /// refused, since root could not be reached any more.
    pub keep_sudo_password: bool,
}

impl From<SecureRequest> for SecureOptions {
    fn from(request: SecureRequest) -> Self {
        let SecureRequest { disable_password_auth, keep_sudo_password } = request;
        Self { disable_password_auth, keep_sudo_password }
    }
}

/// How a server is entered from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "message": "Server successfully secured with SSH key authentication",
    "vm_id": "01890a5d-ac96-774b-bcce-b302099a8057", "previous_auth_method": "password",
    "new_auth_method": "ssh_key", "key_verified": true, "password_cleared": true,
    "server_password_auth_disabled": false,
    "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n...\n-----END OPENSSH PRIVATE KEY-----\n",
    "public_key": "ssh-ed25519 AAAAC3Nz... muster-server@203.0.113.10", "key_type": "ed25519",
    "fingerprint": "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg", "warning": null
}))]
pub struct Secured {
    pub message: String,
    pub vm_id: String,
    pub previous_auth_method: String,
    pub new_auth_method: String,
    /// A fresh login with the key was seen to work before the record was switched.
    pub key_verified: bool,
    /// False only where it was asked to be kept for sudo.
    pub password_cleared: bool,
    pub server_password_auth_disabled: bool,
    /// Shown this once: keep it.
    pub private_key: String,
    /// As a line of `authorized_keys`.
    pub public_key: String,
    pub key_type: String,
    pub fingerprint: String,
    /// What could not be finished after the record was switched, in words.
    pub warning: Option<String>,
}
