//! How the control plane logs in to a server: own secrets or a key pair, opened, and replaced in two steps so that a
//! caller can try the new login between them.

use muster_shared::id::{OrgId, ServerId, SshKeyPairId};
use secrecy::SecretString;

use super::{
    AuthMethod, Connection, Result, Server, ServerRow, Servers, SshAuth, SshLogin, SshTarget, no_ssh_credentials,
    secrets,
};
use crate::{
    access::Act,
    audit::{Action, Record},
    error::{Error, ErrorKind},
    events::EventKind,
    ssh_key_rotations::Turn,
    ssh_keys,
    store::Switched,
};

/// A login that is to replace a server's, and the server as it was then.
#[derive(Debug)]
pub struct LoginChange {
    row: ServerRow,
    login: SshLogin,
    /// The server, to be entered with the new login.
    pub target: SshTarget,
}

impl LoginChange {
    /// The key pair that the server is recorded with.
    #[must_use]
    pub fn key_pair_before(&self) -> Option<SshKeyPairId> {
        self.row.auth.key_pair
    }
}

impl Servers {
    /// Reads what replacing the login of `id` by `login` starts from. Nothing is changed yet. What sudo asks for stays
    /// known where a key replaces a key.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for the server or key pair; [`ErrorKind::Precondition`] where the server has no SSH
    /// address and user.
    pub async fn begin_login_change(&self, org: OrgId, id: ServerId, mut login: SshLogin) -> Result<LoginChange> {
        let row = self.store.server_row(org, id).await?.ok_or_else(|| Error::not_found("server"))?;
        let (Some(host), Some(ssh)) = (row.addresses.host(), row.ssh.clone()) else { return Err(no_ssh_credentials()) };
        if let Some(sudo_password @ None) = login.sudo_password_mut()
            && ssh.auth_method == AuthMethod::SshKey
        {
            let known = self.opened(org, &row).await?;
            *sudo_password = known.as_ref().and_then(SshAuth::sudo_password).cloned();
        }
        let target = SshTarget {
            host,
            port: ssh.port,
            username: ssh.username,
            auth: self.auth_of(org, &login).await?,
            sudo_mode: ssh.sudo_mode,
            host_key: row.host_key.clone(),
        };
        Ok(LoginChange { row, login, target })
    }

    /// Replaces the login, unless anything else of the server changed since `change` began. The one before is cleared.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where somebody else changed the server meanwhile.
    pub async fn finish_login_change(&self, act: &Act, change: LoginChange) -> Result<Server> {
        let action = match change.login.method() {
            AuthMethod::Password => Action::ServerSshPasswordUpdated,
            AuthMethod::SshKey => Action::ServerSshKeyUpdated,
        };
        self.finish_login_change_as(act, change, action).await
    }

    /// The same, on record as `action`.
    ///
    /// # Errors
    /// As [`Self::finish_login_change`].
    pub async fn finish_login_change_as(&self, act: &Act, change: LoginChange, action: Action) -> Result<Server> {
        let LoginChange { mut row, login, .. } = change;
        let (org, id, before) = (act.org_id, row.id, row.clone());
        row.auth = secrets::seal(&self.keyring, org, id, &login).map_err(Error::internal)?;
        let method = login.method();
        if let Some(ssh) = &mut row.ssh {
            ssh.auth_method = method;
        }
        let record = Record::new(act, action, id, &row.name).change(&before.shown(), &row.shown_beside(&before));
        if !self.store.update_server(&row, &record).await? {
            let detail = "the server was changed by others meanwhile, and nothing was replaced: try again";
            return Err(Error::new(ErrorKind::Conflict, "changed_meanwhile", detail));
        }
        self.events.publish(org, id, EventKind::ServerChanged);
        self.get(org, id).await
    }

    /// The host that an unsaved `connection` leads to; `None` where the chosen address is not there.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a key pair that the organisation does not have.
    pub async fn target_of(&self, org: OrgId, connection: &Connection) -> Result<Option<SshTarget>> {
        Ok(connection.target(self.auth_of(org, &connection.auth).await?))
    }

    /// The secrets of a row, opened; `None` where it has none.
    pub(super) async fn opened(&self, org: OrgId, row: &ServerRow) -> Result<Option<SshAuth>> {
        let pair_key = match row.auth.key_pair {
            Some(pair) => Some(self.pair_key(org, pair).await?),
            None => None,
        };
        secrets::open(&self.keyring, org, row.id, &row.auth, pair_key).map_err(Error::internal)
    }

    /// The key pair of `login` must be there. One that is being rotated is no longer given to servers; that this may come
    /// a moment late is made up for when the rotation ends.
    pub(crate) async fn require_key_pair(&self, org: OrgId, login: Option<&SshLogin>) -> Result<()> {
        let Some(pair) = login.and_then(SshLogin::key_pair) else { return Ok(()) };
        self.store.ssh_key_pair(org, pair).await?.ok_or_else(ssh_keys::not_found)?;
        if self.store.is_key_pair_rotating(org, pair).await? {
            let detail = "this key pair is being replaced by a new one: use that";
            return Err(Error::new(ErrorKind::Precondition, "key_pair_rotating", detail));
        }
        Ok(())
    }

    /// Makes a key pair's key the login, while the turn that asks for it is held.
    ///
    /// # Errors
    /// [`Error`] when the store fails: then it is not known whether it was done.
    pub async fn switch_to_new_key(&self, act: &Act, turn: &Turn, change: LoginChange) -> Result<Switched> {
        let LoginChange { mut row, login, .. } = change;
        let (org, id, before) = (act.org_id, row.id, row.clone());
        row.auth = secrets::seal(&self.keyring, org, id, &login).map_err(Error::internal)?;
        let record = Record::new(act, Action::ServerKeyRotated, id, &row.name)
            .change(&before.shown(), &row.shown_beside(&before));
        let switched = self.store.switch_to_new_key(turn, &row, &record).await?;
        if switched == Switched::Done {
            self.events.publish(org, id, EventKind::ServerChanged);
        }
        Ok(switched)
    }

    async fn auth_of(&self, org: OrgId, login: &SshLogin) -> Result<SshAuth> {
        match login {
            SshLogin::Own(auth) => Ok(auth.clone()),
            SshLogin::KeyPair { id, sudo_password } => Ok(SshAuth::Key {
                private_key: self.pair_key(org, *id).await?,
                passphrase: None,
                sudo_password: sudo_password.clone(),
            }),
        }
    }

    async fn pair_key(&self, org: OrgId, pair: SshKeyPairId) -> Result<SecretString> {
        let sealed = self.store.ssh_private_key(org, pair).await?.ok_or_else(ssh_keys::not_found)?;
        ssh_keys::open_private_key(&self.keyring, org, pair, &sealed).map_err(Error::internal)
    }
}
