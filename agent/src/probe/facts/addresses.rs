//! IP addresses of the host's interfaces.

use std::net::IpAddr;

use muster_shared::facts::Address;
use sysinfo::Networks;

use crate::{os::text, probe::host::Host};

/// Most addresses reported.
const MAX_ADDRESSES: usize = 256;

/// Every address but loopback and the host's ends of containers' pairs; sorted.
pub(super) fn read(host: &Host) -> Vec<Address> {
    let networks = if host.is_live() { Networks::new_with_refreshed_list().ok() } else { None };
    let mut addresses: Vec<_> = networks
        .iter()
        .flatten()
        .filter(|(interface, _)| !interface.as_encoded_bytes().starts_with(b"veth"))
        .flat_map(|(interface, data)| {
            let mac = data.mac_address().to_string();
            let addresses = data.ip_networks().iter().map(|network| network.addr).filter(is_outward);
            addresses.map(move |ip| Address {
                interface: text::clean_bytes(interface.as_encoded_bytes()),
                ip: ip.to_string(),
                mac: mac.clone(),
            })
        })
        .collect();
    addresses.sort_by(|a, b| (&a.interface, &a.ip).cmp(&(&b.interface, &b.ip)));
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn is_outward(ip: &IpAddr) -> bool {
    let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !ip.is_loopback() && !is_link_local
}
