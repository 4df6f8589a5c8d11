//! The control plane's own doors, which no caller may send it to.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The ports this control plane listens on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnPorts(Vec<u16>);

impl OwnPorts {
    /// The ports of `listening`.
    #[must_use]
    pub fn of(listening: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(listening.into_iter().map(|address| address.port()).collect())
    }

    /// Whether `port` at `ip` is one of them: the port is, and the address is this machine's.
    #[must_use]
    pub fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        self.0.contains(&port) && is_of_this_machine(ip)
    }
}

/// Only an address of this machine can be bound; nothing is sent to find out.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip.to_canonical(), 0)).is_ok()
}
