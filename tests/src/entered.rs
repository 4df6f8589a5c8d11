//! Lab servers that have joined and are entered over SSH as well.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use muster::{
    dial::AddressPolicy,
    servers::{SshAuth, SshTarget, SudoMode},
    ssh::{Connector, SshError},
};
use russh::keys::decode_secret_key;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{control_plane::ControlPlane, lab::LabServer};

/// A key of the tests, as OpenSSH writes it.
pub const KEY: &str = include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh.pem");

/// Joins with a policy that allows these families, and has `login` on record: a user, and a password or key. Returns the
/// server's id.
///
/// # Errors
/// When a step fails, with what it said.
pub async fn join_with_login(
    control_plane: &ControlPlane,
    server: &LabServer,
    families: &[&str],
    mut login: Value,
) -> Result<String> {
    let joined = control_plane.join_allowing(server, families).await?;
    let id = joined["id"].as_str().context("an id")?.to_owned();
    login["ipv4_address"] = json!(server.address().to_string());
    let patched = control_plane.rest().call(Method::PATCH, &format!("/api/v1/vms/{id}"), Some(&login)).await?;
    ensure!(patched.status.is_success(), "{}", patched.text);
    Ok(id)
}

/// [`join_with_login`] as root, who is let in with [`KEY`].
///
/// # Errors
/// As there.
pub async fn join_entered(control_plane: &ControlPlane, server: &LabServer, families: &[&str]) -> Result<String> {
    server.authorize_key("root", &decode_secret_key(KEY, None)?.public_key().to_openssh()?).await?;
    let login = json!({ "ssh_username": "root", "ssh_private_key": KEY });
    join_with_login(control_plane, server, families, login).await
}

/// A fresh login from outside, as root.
///
/// # Errors
/// When the server can't be reached, or does not let it in.
pub async fn enter(server: &LabServer, auth: SshAuth) -> Result<()> {
    ensure!(lets_in(server, "root", auth).await?, "{} lets nobody in with that", server.name());
    Ok(())
}

/// Whether a fresh login from outside works.
///
/// # Errors
/// When it fails for another reason than the credentials.
pub async fn lets_in(server: &LabServer, user: &str, auth: SshAuth) -> Result<bool> {
    let target = SshTarget {
        host: server.address().to_string(),
        port: 22,
        username: user.parse()?,
        auth,
        sudo_mode: SudoMode::None,
        host_key: None,
    };
    match Connector::new(AddressPolicy::default()).log_in(&target).await {
        Ok(session) => {
            session.close().await;
            Ok(true)
        }
        Err(SshError::AuthFailed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A login with [`KEY`].
#[must_use]
pub fn by_key() -> SshAuth {
    by_private_key(KEY)
}

/// A login with a private key that has no passphrase.
#[must_use]
pub fn by_private_key(private_key: &str) -> SshAuth {
    SshAuth::Key { private_key: SecretString::from(private_key), passphrase: None, sudo_password: None }
}
