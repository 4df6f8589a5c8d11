//! Reboot, stop and waking: what is said of them on the wire and in the API. Pure.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::ServerId;

/// UDP port that Wake-on-LAN packets are sent to: `discard`, which nobody answers.
pub const WAKE_PORT: u16 = 9;
/// The word of a stop's success while the host is still there.
pub const POWERING_OFF: &str = "powering_off";
/// Longest name the kernel gives an interface, in bytes (`IFNAMSIZ` without its NUL).
const MAX_INTERFACE_BYTES: usize = 15;

/// What a reboot brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct RebootReport {
    /// The boot in which the reboot started: the kernel's boot id, a colon, and when the first process started, in
    /// clock ticks since the kernel did.
    pub old_boot_id: String,
    /// The boot that followed; never the same as the old one.
    pub new_boot_id: String,
    /// When the new boot began, by the host's clock: RFC 3339, UTC.
    pub boot_time: String,
    /// From the start of the command until the agent was back, by the host's clock.
    pub downtime_seconds: f64,
}

impl RebootReport {
    /// A report of times in microseconds, `began_at_us` since the Unix epoch.
    #[must_use]
    pub fn new(old_boot_id: &str, new_boot_id: &str, began_at_us: i64, down_for_us: i64) -> Self {
        let seconds = began_at_us.div_euclid(1_000_000);
        let nanos = i32::try_from(began_at_us.rem_euclid(1_000_000) * 1000).unwrap_or_default();
        Self {
            old_boot_id: old_boot_id.to_owned(),
            new_boot_id: new_boot_id.to_owned(),
            boot_time: prost_types::Timestamp { seconds, nanos }.to_string(),
            downtime_seconds: down_for_us.max(0) as f64 / 1e6,
        }
    }
}

/// Whom to wake, and through which of the waking host's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct WakeArgs {
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub mac: MacAddress,
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub interface: InterfaceName,
    /// The server that is to wake.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub target: ServerId,
}

/// A waking order that can't be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWake {
    #[error("a hardware address is six bytes in hex, between colons, and names one station")]
    Mac,
    #[error("an interface's name is 1 to 15 printable ASCII characters without a slash")]
    Interface,
}

/// The hardware address of one station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Its bytes.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// What a sleeping network card waits for: six bytes of ones, then its address sixteen times.
    #[must_use]
    pub fn magic_packet(self) -> [u8; 102] {
        let mut packet = [0xff; 102];
        for copy in packet[6..].chunks_exact_mut(6) {
            copy.copy_from_slice(&self.0);
        }
        packet
    }
}

impl FromStr for MacAddress {
    type Err = InvalidWake;

    fn from_str(text: &str) -> Result<Self, InvalidWake> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(InvalidWake::Mac)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| InvalidWake::Mac)?;
        }
        // The lowest bit marks groups of stations; no address at all is that of a device without a wire.
        let is_station = octets[0] & 1 == 0 && octets != [0; 6];
        if parts.next().is_none() && is_station { Ok(Self(octets)) } else { Err(InvalidWake::Mac) }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidWake;

    fn try_from(text: String) -> Result<Self, InvalidWake> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

/// The name of a network interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidWake;

    fn from_str(text: &str) -> Result<Self, InvalidWake> {
        let is_name = (1..=MAX_INTERFACE_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if is_name { Ok(Self(text.to_owned())) } else { Err(InvalidWake::Interface) }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InvalidWake;

    fn try_from(text: String) -> Result<Self, InvalidWake> {
        text.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

/// An IPv4 network that broadcasts reach all of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The network in which an interface with this address and prefix stands; `None` for a lone address and for a
    /// link of two, which have no broadcast address.
    #[must_use]
    pub fn of(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let can_broadcast = (1..=30).contains(&prefix) && !address.is_loopback() && !address.is_unspecified();
        can_broadcast.then(|| Self { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }

    /// The address that reaches every station of the network.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// A text that is no [`Subnet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is an IPv4 address, a slash and a prefix of 1 to 30")]
pub struct InvalidSubnet;

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let (network, prefix) = text.split_once('/').ok_or(InvalidSubnet)?;
        let network = network.parse().map_err(|_| InvalidSubnet)?;
        Self::of(network, prefix.parse().map_err(|_| InvalidSubnet)?).ok_or(InvalidSubnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stations_have_addresses() {
        let mac: MacAddress = "02:42:AC:12:00:03".parse().expect("an address");
        assert_eq!(mac.to_string(), "02:42:ac:12:00:03");
        let wrong =
            ["", "02:42:ac:12:00", "02:42:ac:12:00:03:04", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "2:42:ac:12:0:3"];
        for text in wrong {
            assert_eq!(text.parse::<MacAddress>(), Err(InvalidWake::Mac), "{text}");
        }
    }

    #[test]
    fn a_magic_packet_repeats_the_address() {
        let mac: MacAddress = "02:42:ac:12:00:03".parse().expect("an address");
        let packet = mac.magic_packet();
        assert_eq!(&packet[..6], [0xff; 6]);
        assert!(packet[6..].chunks(6).all(|copy| copy == mac.octets()) && packet.len() == 102);
    }

    #[test]
    fn interface_names_are_the_kernels() {
        assert_eq!("enp0s31f6".parse::<InterfaceName>().expect("a name").as_str(), "enp0s31f6");
        for text in ["", "a/b", "eth 0", "sixteen-letters!", "eth0\0", "ü"] {
            assert_eq!(text.parse::<InterfaceName>(), Err(InvalidWake::Interface), "{text}");
        }
    }

    #[test]
    fn networks_know_their_broadcast_address() {
        let subnet = Subnet::of(Ipv4Addr::new(172, 18, 3, 7), 16).expect("a network");
        assert_eq!(
            (subnet.to_string(), subnet.broadcast()),
            ("172.18.0.0/16".into(), Ipv4Addr::new(172, 18, 255, 255))
        );
        assert_eq!("172.18.0.0/16".parse(), Ok(subnet));
        for prefix in [0, 31, 32, 33, 255] {
            assert_eq!(Subnet::of(Ipv4Addr::new(10, 0, 0, 1), prefix), None, "{prefix}");
        }
        for text in ["10.0.0.0", "10.0.0.0/x", "::/64", "127.0.0.1/8"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
