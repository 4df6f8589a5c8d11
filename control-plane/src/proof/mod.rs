//! Proof that a server can still be entered: what a change of sshd, sudo, the firewall or keys needs before it stays.
//!
//! A host takes such a change back by itself unless a confirmation arrives. It is given here and nowhere else: after a
//! *fresh* login from outside with the recorded credential and the recorded host key; where no login is recorded, after
//! an SSH handshake with the host; and it travels down the agent's stream, so that a stream which died with the change
//! can't carry it. Where the way in can't be proven nothing is sent, and the host reverts.
//!
//! - [`Proof::way_in`] proves the recorded way in; ask before a change, too, to refuse what could never be confirmed.
//! - [`Proof::login`] proves another login than the recorded one, such as a new key.
//! - [`Proof::carry_out`] does it all for one change: submits it, follows it, and proves and confirms where the host
//!   waits for that.

mod carry_out;

pub(crate) use carry_out::AWAITING;
pub use carry_out::{Confirmation, Made};

use std::time::Duration;

use muster_shared::id::{OrgId, ServerId};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    clock::Clock,
    commands::Commands,
    error::Error,
    servers::{AuthMethod, Server, Servers, SshTarget},
    sessions::Sessions,
    ssh::{Connector, Entrance, EntranceError, SshError},
};

/// How long the way in may take to be proven. A host waits 35 s for the confirmation, its own steps included.
pub const PROVE_WITHIN: Duration = Duration::from_secs(20);
/// How long to wait before another try: a server that reads its configuration anew may refuse for a moment.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Tries that reached the host and were refused at the login count against us there: fail2ban shuts out after three.
const MAX_LOGINS: u32 = 1;

/// What was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proven {
    /// The recorded login works.
    Login { username: String, method: AuthMethod },
    /// Nothing is recorded to log in with; the host's SSH server answers, with its recorded key where there is one.
    Handshake,
}

/// Why the way in is not proven.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    #[error("no address is known under which the server could be reached: record one")]
    NoAddress,
    #[error("{0}")]
    Host(#[from] SshError),
    #[error("the way in was not proven within {} s", PROVE_WITHIN.as_secs())]
    TooSlow,
    #[error(transparent)]
    Record(#[from] Error),
}

/// Proves ways in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proof {
    servers: Servers,
    commands: Commands,
    sessions: Sessions,
    entrance: Entrance,
    connector: Connector,
    clock: Clock,
}

impl Proof {
    /// Proves through the handles given.
    #[must_use]
    pub fn new(
        (servers, commands): (Servers, Commands),
        sessions: Sessions,
        (entrance, connector): (Entrance, Connector),
        clock: Clock,
    ) -> Self {
        Self { servers, commands, sessions, entrance, connector, clock }
    }

    /// Proves that the server can be entered as it is recorded, within [`PROVE_WITHIN`]. Every try is a new connection.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn way_in(&self, org: OrgId, id: ServerId) -> Result<Proven, NotProven> {
        let until = Instant::now() + PROVE_WITHIN;
        let Some(target) = self.servers.ssh_target_if_any(org, id).await? else {
            self.greet_until(org, id, until).await?;
            return Ok(Proven::Handshake);
        };
        self.login_until(org, id, &target, until).await?;
        Ok(Proven::Login { username: target.username.to_string(), method: target.auth.method() })
    }

    /// Proves that `target` lets us in, by a login of its own, within [`PROVE_WITHIN`].
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn login(&self, org: OrgId, id: ServerId, target: &SshTarget) -> Result<(), NotProven> {
        self.login_until(org, id, target, Instant::now() + PROVE_WITHIN).await
    }

    async fn login_until(&self, org: OrgId, id: ServerId, target: &SshTarget, until: Instant) -> Result<(), NotProven> {
        let mut refused = 0;
        loop {
            let error = match timeout_at(until, self.entrance.enter(org, id, target, |_| {})).await {
                Ok(Ok(session)) => {
                    session.close().await;
                    return Ok(());
                }
                Ok(Err(EntranceError::Record(error))) => return Err(error.into()),
                Ok(Err(EntranceError::Host(error))) => error,
                Err(_) => return Err(NotProven::TooSlow),
            };
            refused += u32::from(matches!(error, SshError::AuthFailed { .. }));
            if !may_pass(&error, refused) || Instant::now() + TRY_AGAIN >= until {
                return Err(error.into());
            }
            sleep(TRY_AGAIN).await;
        }
    }

    async fn greet_until(&self, org: OrgId, id: ServerId, until: Instant) -> Result<(), NotProven> {
        let server = self.servers.get(org, id).await?;
        let (host, port) = self.place(&server).await?.ok_or(NotProven::NoAddress)?;
        loop {
            let error = match timeout_at(until, self.connector.greet(&host, port, server.host_key.as_ref())).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => return Err(NotProven::TooSlow),
            };
            if !may_pass(&error, 0) || Instant::now() + TRY_AGAIN >= until {
                return Err(error.into());
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// Where SSH is to be reached: as recorded, else where the host's own facts say.
    async fn place(&self, server: &Server) -> Result<Option<(String, u16)>, Error> {
        let facts = self.servers.facts(server.org_id, server.id).await?.map(|(facts, _)| facts).unwrap_or_default();
        let told = facts.sshd.as_ref().and_then(|sshd| sshd.ports.first().copied());
        let port = server.ssh.as_ref().map(|ssh| ssh.port).or(told).unwrap_or(crate::servers::DEFAULT_SSH_PORT);
        let own = || {
            facts.interfaces.iter().flat_map(|interface| &interface.addresses).find(|address| is_dialled(&address.ip))
        };
        let host = server.addresses.host().or_else(|| own().map(|address| address.ip.clone()));
        Ok(host.map(|host| (host, port)))
    }
}

/// Whether trying again may help: the host could not be reached or broke off, as one does that starts its SSH server anew.
fn may_pass(error: &SshError, refused: u32) -> bool {
    match error {
        SshError::AuthFailed { .. } => refused < MAX_LOGINS,
        SshError::Unreachable { .. } | SshError::Timeout { .. } | SshError::Broken { .. } => true,
        _ => false,
    }
}

fn is_dialled(ip: &str) -> bool {
    ip.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::Unreachable;

    #[test]
    fn a_refused_login_is_not_tried_again_so_that_nobody_shuts_us_out() {
        let username = "root".parse().expect("a name");
        let refused = SshError::AuthFailed { username, method: "key", offered: Vec::new() };
        assert!(!may_pass(&refused, 1));
        let closed = SshError::Unreachable { address: "h".into(), port: 22, why: Unreachable::Refused };
        assert!(may_pass(&closed, 0) && may_pass(&SshError::Broken { during: "the handshake", source: None }, 0));
    }

    #[test]
    fn only_addresses_that_lead_somewhere_are_dialled() {
        assert!(is_dialled("172.18.0.2") && is_dialled("203.0.113.7"));
        for ip in ["127.0.0.1", "169.254.1.1", "0.0.0.0", "::1", "x"] {
            assert!(!is_dialled(ip), "{ip}");
        }
    }
}
