//! Which addresses may be dialled, and dialling them.
//!
//! A server's address comes from a caller, so it must not turn the control plane into a way to its own machine or to
//! a cloud's metadata service. A name is resolved once, every address it leads to is judged, and the judged address
//! itself is dialled: a second resolution cannot lead elsewhere.

use std::{
    fmt,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{SshError, error::Unreachable};

/// Time for a name to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for one address to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(8);
/// Addresses tried of those a name leads to; the rest are left out.
const MAX_ADDRESSES: usize = 4;

/// What the operator allows beside addresses of the public Internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPolicy {
    /// This machine itself: for trying things out.
    pub allow_loopback: bool,
    /// Private ranges (RFC 1918, carrier-grade NAT, unique local IPv6): fleets often live there.
    pub allow_private: bool,
}

impl Default for AddressPolicy {
    fn default() -> Self {
        Self { allow_loopback: false, allow_private: true }
    }
}

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Loopback,
    Private,
    LinkLocal,
    Metadata,
    NotAHost,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "which is this machine itself",
            Self::Private => "which is in a private range",
            Self::LinkLocal => "which is link-local",
            Self::Metadata => "which is a cloud's metadata service",
            Self::NotAHost => "which is no single host's address",
        })
    }
}

/// Metadata services outside the link-local ranges.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl AddressPolicy {
    /// Whether `ip` may be dialled.
    ///
    /// # Errors
    /// The [`Refusal`] that holds. Link-local and metadata addresses are refused under every policy.
    pub fn judge(&self, ip: IpAddr) -> Result<(), Refusal> {
        match ip {
            IpAddr::V4(ip) => self.judge_v4(ip),
            IpAddr::V6(ip) => match embedded_v4(ip) {
                Some(inner) => self.judge_v4(inner),
                None => self.judge_v6(ip),
            },
        }
    }

    fn judge_v4(&self, ip: Ipv4Addr) -> Result<(), Refusal> {
        let [a, b, ..] = ip.octets();
        if METADATA_V4.contains(&ip) || ip == Ipv4Addr::new(169, 254, 169, 254) {
            Err(Refusal::Metadata)
        } else if ip.is_link_local() {
            Err(Refusal::LinkLocal)
        } else if a == 0 || a >= 224 {
            Err(Refusal::NotAHost)
        } else if ip.is_loopback() {
            permit(self.allow_loopback, Refusal::Loopback)
        } else if ip.is_private() || (a == 100 && (64..128).contains(&b)) {
            permit(self.allow_private, Refusal::Private)
        } else {
            Ok(())
        }
    }

    fn judge_v6(&self, ip: Ipv6Addr) -> Result<(), Refusal> {
        if ip == METADATA_V6 {
            Err(Refusal::Metadata)
        } else if ip.is_unicast_link_local() {
            Err(Refusal::LinkLocal)
        } else if ip.is_unspecified() || ip.is_multicast() {
            Err(Refusal::NotAHost)
        } else if ip.is_loopback() {
            permit(self.allow_loopback, Refusal::Loopback)
        } else if ip.is_unique_local() {
            permit(self.allow_private, Refusal::Private)
        } else {
            Ok(())
        }
    }
}

fn permit(allowed: bool, refusal: Refusal) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(refusal) }
}

/// The IPv4 address that packets to `ip` end up at: mapped, compatible, NAT64 and 6to4 forms.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => last(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => last(high, low),
        [0x2002, high, low, ..] => last(high, low),
        _ => None,
    }
}

/// Resolves `address` once and connects to the first of its addresses that `policy` allows and that answers.
pub(super) async fn dial(address: &str, port: u16, policy: &AddressPolicy) -> Result<TcpStream, SshError> {
    let unreachable = |why| SshError::Unreachable { address: address.to_owned(), port, why };
    let candidates = resolve(address, port).await.map_err(unreachable)?;
    let mut refused = None;
    let mut failure = None;
    for candidate in candidates {
        if let Err(refusal) = policy.judge(candidate.ip()) {
            refused = Some((candidate.ip(), refusal));
            continue;
        }
        match timeout(DIAL_TIMEOUT, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = Some(why(error.kind())),
            Err(_) => failure = Some(Unreachable::Timeout),
        }
    }
    Err(match (failure, refused) {
        (None, Some((ip, refusal))) => SshError::AddressRefused { address: address.to_owned(), ip, refusal },
        (failure, _) => unreachable(failure.unwrap_or(Unreachable::Dns)),
    })
}

async fn resolve(address: &str, port: u16) -> Result<Vec<SocketAddr>, Unreachable> {
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match timeout(RESOLVE_TIMEOUT, lookup_host((address, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.take(MAX_ADDRESSES).collect()),
        Ok(Err(_)) | Err(_) => Err(Unreachable::Dns),
    }
}

fn why(kind: ErrorKind) -> Unreachable {
    match kind {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Unreachable::Refused,
        ErrorKind::TimedOut => Unreachable::Timeout,
        _ => Unreachable::NoRoute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::ConnectionOutcome;

    const OPEN: AddressPolicy = AddressPolicy { allow_loopback: true, allow_private: true };
    const SHUT: AddressPolicy = AddressPolicy { allow_loopback: false, allow_private: false };

    fn judged(policy: AddressPolicy, ip: &str) -> Result<(), Refusal> {
        policy.judge(ip.parse().expect("an address"))
    }

    #[test]
    fn public_addresses_are_dialled() {
        for ip in ["203.0.113.10", "2001:db8::1", "172.32.0.1", "100.128.0.1", "2002:cb00:710a::1"] {
            assert_eq!(judged(SHUT, ip), Ok(()), "{ip}");
        }
    }

    #[test]
    fn this_machine_and_private_ranges_are_the_operators_choice() {
        for ip in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
            assert_eq!(judged(SHUT, ip), Err(Refusal::Loopback), "{ip}");
            assert_eq!(judged(OPEN, ip), Ok(()), "{ip}");
        }
        for ip in ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1", "::10.0.0.1"] {
            assert_eq!(judged(SHUT, ip), Err(Refusal::Private), "{ip}");
            assert_eq!(judged(OPEN, ip), Ok(()), "{ip}");
        }
    }

    #[test]
    fn some_addresses_are_never_dialled() {
        for ip in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"] {
            assert_eq!(judged(OPEN, ip), Err(Refusal::Metadata), "{ip}");
        }
        for ip in ["169.254.1.1", "fe80::1"] {
            assert_eq!(judged(OPEN, ip), Err(Refusal::LinkLocal), "{ip}");
        }
        for ip in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "0.1.2.3"] {
            assert_eq!(judged(OPEN, ip), Err(Refusal::NotAHost), "{ip}");
        }
    }

    #[tokio::test]
    async fn other_spellings_of_this_machine_are_judged_by_where_they_lead() {
        for address in ["127.0.0.1", "0177.0.0.1", "2130706433", "0x7f.1", "localhost"] {
            let error = dial(address, 1, &AddressPolicy::default()).await.expect_err(address);
            let refused = matches!(error, SshError::AddressRefused { refusal: Refusal::Loopback, .. });
            let unknown = matches!(error, SshError::Unreachable { why: Unreachable::Dns, .. });
            assert!(refused || unknown, "{address}: {error}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let error = dial("127.0.0.1", port, &OPEN).await.expect_err("nobody listens");
        assert!(matches!(error, SshError::Unreachable { why: Unreachable::Refused, .. }), "{error}");
        assert_eq!(error.outcome(), ConnectionOutcome::Unreachable);
        assert!(error.remedy().contains(&port.to_string()));
    }
}
