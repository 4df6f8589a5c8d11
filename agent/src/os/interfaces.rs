//! Network interfaces of the running host.

use muster_shared::facts::{Interface, InterfaceAddress};
use sysinfo::Networks;

use super::text;

/// Most interfaces reported, and most addresses of each.
const MAX_INTERFACES: usize = 64;
const MAX_ADDRESSES: usize = 32;
/// Interfaces that container engines and virtual machines make; no cable leads to them.
const VIRTUAL: [&str; 8] = ["veth", "docker", "virbr", "vnet", "cni", "flannel", "cali", "podman"];

/// Every interface that faces a network, sorted by name.
#[must_use]
pub fn read() -> Vec<Interface> {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return Vec::new() };
    let mut interfaces: Vec<_> = networks
        .iter()
        .filter_map(|(name, data)| {
            let name = text::clean_bytes(name.as_encoded_bytes());
            let mac = data.mac_address().to_string();
            let networks = data.ip_networks().iter();
            let addresses =
                networks.map(|network| InterfaceAddress { ip: network.addr.to_string(), prefix: network.prefix });
            faces_a_network(&name, &mac).then(|| interface(name, mac, addresses.collect()))
        })
        .collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces.truncate(MAX_INTERFACES);
    interfaces
}

fn interface(name: String, mac: String, mut addresses: Vec<InterfaceAddress>) -> Interface {
    addresses.sort();
    addresses.truncate(MAX_ADDRESSES);
    Interface { name, mac, addresses }
}

/// Loopback and tunnels have no hardware address. Docker names its own bridges `br-` and twelve digits.
fn faces_a_network(name: &str, mac: &str) -> bool {
    let is_engine_bridge =
        name.strip_prefix("br-").is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    mac != "00:00:00:00:00:00" && !is_engine_bridge && !VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_that_face_a_network_are_told() {
        const MAC: &str = "52:54:00:12:34:56";
        for name in ["eth0", "enp3s0", "wlan0", "bond0", "br0", "br-lan", "eth0.100"] {
            assert!(faces_a_network(name, MAC), "{name}");
        }
        for name in ["veth1a2b3c4", "docker0", "br-0123456789ab", "virbr0", "cni0"] {
            assert!(!faces_a_network(name, MAC), "{name}");
        }
        assert!(!faces_a_network("lo", "00:00:00:00:00:00"));
    }

    #[test]
    fn this_machine_s_interfaces_have_hardware_addresses() {
        for interface in read() {
            assert!(interface.mac.parse::<muster_shared::power::MacAddress>().is_ok(), "{interface:?}");
        }
    }
}
