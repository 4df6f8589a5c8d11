//! Which addresses may be dialled: pure, and the same for every form an address can be written in.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

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
    OwnPort,
}

impl Refusal {
    /// The setting that would allow it, where one can.
    #[must_use]
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Self::Loopback => Some("allow_loopback_addresses"),
            Self::Private => Some("allow_private_addresses"),
            Self::LinkLocal | Self::Metadata | Self::NotAHost | Self::OwnPort => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "which is this machine itself",
            Self::Private => "which is in a private range",
            Self::LinkLocal => "which is link-local",
            Self::Metadata => "which is a cloud's metadata service",
            Self::NotAHost => "which is no single host's address",
            Self::OwnPort => "where the control plane itself listens",
        })
    }
}

/// Metadata services, and what answers like one, outside and inside the link-local ranges.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

impl AddressPolicy {
    /// Whether `ip` may be dialled.
    ///
    /// # Errors
    /// The [`Refusal`] that holds. Link-local and metadata addresses are refused under every policy.
    pub fn judge(&self, ip: IpAddr) -> Result<(), Refusal> {
        match ip {
            IpAddr::V4(ip) => self.judge_v4(ip),
            IpAddr::V6(ip) => match embedded(ip) {
                Embedded::None => self.judge_v6(ip),
                Embedded::One(inner) => self.judge_v4(inner),
                // Which of the two holds depends on the network's prefix: both must be allowed.
                Embedded::Either(inner) => inner.into_iter().try_for_each(|inner| self.judge_v4(inner)),
            },
        }
    }

    fn judge_v4(&self, ip: Ipv4Addr) -> Result<(), Refusal> {
        let [a, b, c, _] = ip.octets();
        if METADATA_V4.contains(&ip) {
            Err(Refusal::Metadata)
        } else if ip.is_link_local() {
            Err(Refusal::LinkLocal)
        } else if a == 0 || a >= 224 || (a, b, c) == (192, 0, 0) {
            Err(Refusal::NotAHost)
        } else if ip.is_loopback() {
            permit(self.allow_loopback, Refusal::Loopback)
        } else if ip.is_private() || (a == 100 && (64..128).contains(&b)) || (a == 198 && (18..20).contains(&b)) {
            permit(self.allow_private, Refusal::Private)
        } else {
            Ok(())
        }
    }

    fn judge_v6(&self, ip: Ipv6Addr) -> Result<(), Refusal> {
        let [first, second, third, fourth, ..] = ip.segments();
        if METADATA_V6.contains(&ip) {
            Err(Refusal::Metadata)
        } else if ip.is_unicast_link_local() {
            Err(Refusal::LinkLocal)
        } else if ip.is_unspecified() || ip.is_multicast() || [first, second, third, fourth] == [0x100, 0, 0, 0] {
            Err(Refusal::NotAHost)
        } else if ip.is_loopback() {
            permit(self.allow_loopback, Refusal::Loopback)
        } else if ip.is_unique_local() || first & 0xffc0 == 0xfec0 {
            permit(self.allow_private, Refusal::Private)
        } else {
            Ok(())
        }
    }
}

fn permit(allowed: bool, refusal: Refusal) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(refusal) }
}

/// The IPv4 addresses that packets to an IPv6 address may end up at.
enum Embedded {
    None,
    One(Ipv4Addr),
    Either([Ipv4Addr; 2]),
}

/// Mapped, compatible, translated, NAT64 (both prefixes), 6to4, Teredo and ISATAP forms.
fn embedded(ip: Ipv6Addr) -> Embedded {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let octets = ip.octets();
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Embedded::None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Embedded::One(v4(high, low)),
        // A /48 prefix keeps the ninth octet free; longer ones end with the address.
        [0x64, 0xff9b, 1, _, _, _, high, low] => {
            Embedded::Either([Ipv4Addr::new(octets[6], octets[7], octets[9], octets[10]), v4(high, low)])
        }
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            Embedded::Either([v4(server_high, server_low), v4(!high, !low)])
        }
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Embedded::One(v4(high, low)),
        _ => Embedded::None,
    }
}
