//! The part of a server that people change, with its secrets still sealed.

use muster_shared::id::ServerId;

use super::{
    Addresses, ConnectionPatch, Fingerprint, Label, NewServer, Resources, SealedAuth, ServerName, ServerPatch,
    SshAccount, SudoMode, connection::DEFAULT_SSH_PORT,
};
use crate::error::Error;

/// What people say of a server.
#[derive(Debug, Clone)]
pub struct ServerRow {
    pub id: ServerId,
    pub name: ServerName,
    pub provider: Label,
    pub region: Label,
    pub addresses: Addresses,
    pub ssh: Option<SshAccount>,
    pub auth: SealedAuth,
    pub host_key: Option<Fingerprint>,
    pub declared: Resources,
    pub max_projects: Option<u32>,
    /// Counts changes: a change is refused where another came between reading and writing.
    pub revision: i64,
}

impl ServerRow {
    /// The row of a server about to be made.
    pub(super) fn of_new(id: ServerId, server: &NewServer, auth: SealedAuth) -> Self {
        let connection = &server.connection;
        Self {
            id,
            name: server.name.clone(),
            provider: server.provider.clone(),
            region: server.region.clone(),
            addresses: connection.addresses.clone(),
            ssh: Some(SshAccount {
                port: connection.port,
                username: connection.username.clone(),
                auth_method: connection.auth.method(),
                sudo_mode: connection.sudo_mode,
            }),
            auth,
            host_key: connection.host_key.clone(),
            declared: server.declared,
            max_projects: server.max_projects,
            revision: 0,
        }
    }

    /// Takes over what `patch` names, apart from the connection.
    pub(super) fn apply(&mut self, patch: &ServerPatch) {
        take(&mut self.name, patch.name.as_ref());
        take(&mut self.provider, patch.provider.as_ref());
        take(&mut self.region, patch.region.as_ref());
        let declared = patch.declared;
        self.declared = Resources {
            cpu_cores: declared.cpu_cores.or(self.declared.cpu_cores),
            memory_gb: declared.memory_gb.or(self.declared.memory_gb),
            disk_gb: declared.disk_gb.or(self.declared.disk_gb),
        };
        self.max_projects = patch.max_projects.or(self.max_projects);
    }

    /// Takes over what `patch` names of the connection. New secrets are the caller's to seal.
    pub(super) fn apply_connection(&mut self, patch: &ConnectionPatch) -> Result<(), Error> {
        take(&mut self.addresses.ipv4, patch.ipv4.as_ref());
        take(&mut self.addresses.ipv6, patch.ipv6.as_ref());
        take(&mut self.addresses.fqdn, patch.fqdn.as_ref());
        take(&mut self.addresses.hostname, patch.hostname.as_ref());
        take(&mut self.addresses.choice, patch.choice.as_ref());
        take(&mut self.host_key, patch.host_key.as_ref());
        let auth_method = patch.auth.as_ref().map(super::SshLogin::method);
        match &mut self.ssh {
            Some(ssh) => {
                take(&mut ssh.port, patch.port.as_ref());
                take(&mut ssh.username, patch.username.as_ref());
                take(&mut ssh.sudo_mode, patch.sudo_mode.as_ref());
                take(&mut ssh.auth_method, auth_method.as_ref());
            }
            None => self.ssh = first_account(patch, auth_method)?,
        }
        Ok(())
    }
}

/// A host that joined by itself gets SSH credentials: user and proof come together.
fn first_account(patch: &ConnectionPatch, auth_method: Option<super::AuthMethod>) -> Result<Option<SshAccount>, Error> {
    match (&patch.username, auth_method) {
        (Some(username), Some(auth_method)) => Ok(Some(SshAccount {
            port: patch.port.unwrap_or(DEFAULT_SSH_PORT),
            username: username.clone(),
            auth_method,
            sudo_mode: patch.sudo_mode.unwrap_or(SudoMode::Auto),
        })),
        (None, None) => Ok(None),
        _ => Err(Error::invalid(
            "ssh_credentials_incomplete",
            "the server has no SSH credentials yet: give ssh_username together with a password or key",
        )),
    }
}

fn take<T: Clone>(field: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        field.clone_from(new);
    }
}
