//! The one way to an address that somebody else named: a server's, a webhook's, an identity provider's.
//!
//! Such an address must not turn the control plane into a way to its own machine, its own ports or a cloud's metadata
//! service. A name is resolved once by the system's resolver, every address it leads to is judged by
//! [`AddressPolicy`], and the judged address itself is dialled: a second resolution can't lead elsewhere.

mod own;
mod policy;
mod resolve;
mod spelling;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpStream, time::timeout};

pub use self::{
    own::OwnPorts,
    policy::{AddressPolicy, Refusal},
    resolve::{Resolve, SystemResolver},
    tls::trusting,
};

/// Time for a name to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for one address to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(8);
/// Addresses tried of those a name leads to; the rest are left out.
const MAX_ADDRESSES: usize = 4;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("leads to {ip}, {refusal}")]
    Refused { ip: IpAddr, refusal: Refusal },
    #[error("is a number and no name: write IPv4 addresses as four decimal numbers")]
    Spelling,
    #[error("does not resolve")]
    Dns,
    #[error("refuses the connection")]
    Closed,
    #[error("does not answer in time")]
    Timeout,
    #[error("can't be routed to")]
    NoRoute,
}

/// Dials what its policy allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialler {
    policy: AddressPolicy,
    own_ports: OwnPorts,
    resolver: Arc<dyn Resolve>,
}

impl Default for Dialler {
    fn default() -> Self {
        AddressPolicy::default().into()
    }
}

impl From<AddressPolicy> for Dialler {
    /// A dialler for a program that listens nowhere.
    fn from(policy: AddressPolicy) -> Self {
        Self::new(policy, OwnPorts::default())
    }
}

impl Dialler {
    /// A dialler that asks the system's resolver.
    #[must_use]
    pub fn new(policy: AddressPolicy, own_ports: OwnPorts) -> Self {
        Self { policy, own_ports, resolver: Arc::new(SystemResolver) }
    }

    /// The same with another resolver.
    #[must_use]
    pub fn resolving_by(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// Connects to the first address of `host` that is allowed and answers.
    ///
    /// # Errors
    /// [`DialError`]: the last failure, or, where no address was allowed, the refusal.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let mut failure = DialError::Dns;
        for address in self.allowed(host, port).await? {
            failure = match timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => why(error.kind()),
                Err(_) => DialError::Timeout,
            };
        }
        Err(failure)
    }

    /// The addresses of `host` that may be dialled; to be dialled as they are, without asking again.
    ///
    /// # Errors
    /// [`DialError`] where there is none.
    pub async fn allowed(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let mut allowed = Vec::new();
        let mut refused = None;
        for ip in self.resolve(host).await? {
            match self.judge(ip, port) {
                Ok(()) => allowed.push(SocketAddr::new(ip, port)),
                Err(refusal) => refused = Some(DialError::Refused { ip, refusal }),
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(refused),
            _ => Ok(allowed),
        }
    }

    fn judge(&self, ip: IpAddr, port: u16) -> Result<(), Refusal> {
        self.policy.judge(ip)?;
        if self.own_ports.is_own(ip, port) { Err(Refusal::OwnPort) } else { Ok(()) }
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, DialError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![ip]);
        }
        if spelling::is_numeric(host) {
            return Err(DialError::Spelling);
        }
        match timeout(RESOLVE_TIMEOUT, self.resolver.resolve(host)).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses.into_iter().take(MAX_ADDRESSES).collect()),
            _ => Err(DialError::Dns),
        }
    }
}

fn why(kind: ErrorKind) -> DialError {
    match kind {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => DialError::Closed,
        ErrorKind::TimedOut => DialError::Timeout,
        _ => DialError::NoRoute,
    }
}
