//! Replacing how the control plane logs in. The new login is tried before it is kept, so that a mistyped password or a
//! key that was never deployed can't lock the control plane out: a test that fails changes nothing.

use muster_shared::id::ServerId;
use tokio::task::spawn_blocking;

use super::{ConnectionTest, TestResult};
use crate::{
    access::Act,
    error::{Error, ErrorKind},
    servers::{ConnectionOutcome, Server, SshAuth, SshLogin},
    ssh::read_private_key,
    ssh_keys,
};

impl ConnectionTest {
    /// Replaces the login of the server `id` by `login`, which is tried first where `test` says so. The login before is
    /// forgotten.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for the server or key pair; [`ErrorKind::Invalid`] for a key that can't be read;
    /// [`ErrorKind::Precondition`] with the test's outcome as its code where it failed; [`ErrorKind::Conflict`] where
    /// somebody else changed the server meanwhile.
    pub async fn replace_login(&self, act: &Act, id: ServerId, login: SshLogin, test: bool) -> Result<Server, Error> {
        let org = act.org_id;
        require_readable(&login).await?;
        self.servers.require_key_pair(org, Some(&login)).await?;
        let change = self.servers.begin_login_change(org, id, login).await?;
        let tried = match test {
            true => Some(self.try_out(&change.target).await),
            false => None,
        };
        if let Some((result, _)) = &tried
            && result.outcome != ConnectionOutcome::Success
        {
            return Err(failed(result));
        }
        let server = self.servers.finish_login_change(&act.at(self.clock.now_us()), change).await?;
        let Some((result, Some(seen))) = tried else { return Ok(server) };
        let now_us = self.clock.now_us();
        if let Some(host_key) = &result.host_key {
            self.servers.record_host_key(&act.at(now_us), id, host_key).await?;
        }
        self.servers.record_connection(org, id, result.outcome, &result.message, now_us).await?;
        self.record(org, id, &seen, &result).await?;
        self.servers.get(org, id).await
    }
}

fn failed(result: &TestResult) -> Error {
    let remedy = result.remedy.as_deref().unwrap_or_default();
    let detail = format!("nothing was changed, since the new login does not work: {}. {remedy}", result.message);
    Error::new(ErrorKind::Precondition, result.outcome.as_str(), detail.trim_end())
}

async fn require_readable(login: &SshLogin) -> Result<(), Error> {
    let SshLogin::Own(SshAuth::Key { private_key, passphrase, .. }) = login.clone() else { return Ok(()) };
    let read = spawn_blocking(move || read_private_key(&private_key, passphrase.as_ref()).map(drop)).await;
    read.map_err(Error::internal)?.map_err(|problem| ssh_keys::unreadable(&problem))
}
