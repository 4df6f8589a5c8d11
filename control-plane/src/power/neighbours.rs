//! Who wakes a server: pure.

use std::collections::BTreeSet;

use muster_shared::{
    facts::Facts,
    id::{OrgId, ServerId},
    power::{InterfaceName, MacAddress, Subnet, WakeArgs},
};

/// Most networks kept of a server.
const MAX_PLACES: usize = 32;

/// Where a server stands: an interface and the IPv4 network behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub interface: InterfaceName,
    pub mac: MacAddress,
    pub subnet: Subnet,
}

/// A server that might send the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub server: ServerId,
    pub org: OrgId,
    pub name: String,
    /// Whether the host's own policy allows `power`.
    pub allows_power: bool,
    /// Whether provider and region are those of the server to wake: private networks of two sites may look alike.
    pub is_near: bool,
    pub place: Place,
}

/// The server that sends the packet, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waker {
    pub server: ServerId,
    pub name: String,
    pub args: WakeArgs,
}

/// What is missing for a server to be woken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error(
        "no hardware address with an IPv4 network is known of this server: its agent has to tell them once, so start \
         the server by hand this time"
    )]
    Address,
    #[error(
        "no other server of this organization with a connected agent stands in {0}: join one that does, or start the \
         server by hand"
    )]
    Peer(String),
    #[error(
        "{0} could wake this server, but its own policy does not allow power: its owner can allow it in policy.toml"
    )]
    Permission(String),
}

/// Where the host of these facts stands; what can't be understood of them is left out.
#[must_use]
pub fn places(facts: &Facts) -> Vec<Place> {
    let mut places = BTreeSet::new();
    for interface in &facts.interfaces {
        let (Ok(name), Ok(mac)) = (interface.name.parse::<InterfaceName>(), interface.mac.parse()) else { continue };
        for address in &interface.addresses {
            let subnet = address.ip.parse().ok().and_then(|ip| Subnet::of(ip, address.prefix));
            if let Some(subnet) = subnet {
                places.insert(Place { interface: name.clone(), mac, subnet });
            }
        }
    }
    places.into_iter().take(MAX_PLACES).collect()
}

/// Chooses who wakes `target` of `org`, which stands in `places`: never itself, never another organisation's server,
/// only one that shares a network with it. Near ones first, then by id, so that a second try takes the same way.
///
/// # Errors
/// [`Missing`].
pub fn choose(org: OrgId, target: ServerId, places: &[Place], neighbours: &[Neighbour]) -> Result<Waker, Missing> {
    if places.is_empty() {
        return Err(Missing::Address);
    }
    let mut able: Vec<(&Neighbour, &Place)> = neighbours
        .iter()
        .filter(|neighbour| neighbour.org == org && neighbour.server != target)
        .filter_map(|neighbour| {
            let shared = places.iter().find(|place| place.subnet == neighbour.place.subnet)?;
            // Two hosts with one hardware address are copies: the packet would name its own sender.
            (shared.mac != neighbour.place.mac).then_some((neighbour, shared))
        })
        .collect();
    able.sort_by_key(|(neighbour, _)| (!neighbour.allows_power, !neighbour.is_near, neighbour.server));
    match able.first() {
        Some((neighbour, place)) if neighbour.allows_power => Ok(Waker {
            server: neighbour.server,
            name: neighbour.name.clone(),
            args: WakeArgs { mac: place.mac, interface: neighbour.place.interface.clone(), target },
        }),
        Some((neighbour, _)) => Err(Missing::Permission(neighbour.name.clone())),
        None => Err(Missing::Peer(networks(places))),
    }
}

fn networks(places: &[Place]) -> String {
    let subnets: BTreeSet<String> = places.iter().map(|place| place.subnet.to_string()).collect();
    subnets.into_iter().collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use muster_shared::facts::{Interface, InterfaceAddress};
    use proptest::prelude::*;

    use super::*;

    fn place(mac: u8, subnet: u8) -> Place {
        Place {
            interface: format!("eth{subnet}").parse().expect("a name"),
            mac: format!("02:00:00:00:00:{mac:02x}").parse().expect("an address"),
            subnet: format!("10.{subnet}.0.0/16").parse().expect("a network"),
        }
    }

    fn neighbour(org: OrgId, server: ServerId, place: Place) -> Neighbour {
        Neighbour { server, org, name: "web-2".into(), allows_power: true, is_near: false, place }
    }

    #[test]
    fn what_is_missing_is_said() {
        let (org, target) = (OrgId::generate(), ServerId::generate());
        let (mine, other) = ([place(1, 1)], ServerId::generate());
        assert_eq!(choose(org, target, &[], &[]), Err(Missing::Address));
        assert_eq!(choose(org, target, &mine, &[]), Err(Missing::Peer("10.1.0.0/16".into())));
        let elsewhere = [neighbour(org, other, place(2, 2))];
        assert_eq!(choose(org, target, &mine, &elsewhere), Err(Missing::Peer("10.1.0.0/16".into())));
        let unwilling = [Neighbour { allows_power: false, ..neighbour(org, other, place(2, 1)) }];
        assert_eq!(choose(org, target, &mine, &unwilling), Err(Missing::Permission("web-2".into())));
    }

    #[test]
    fn a_near_one_that_may_is_preferred() {
        let (org, target) = (OrgId::generate(), ServerId::generate());
        let [far, near, unwilling] = [ServerId::generate(), ServerId::generate(), ServerId::generate()];
        let neighbours = [
            neighbour(org, far, place(2, 1)),
            Neighbour { is_near: true, ..neighbour(org, near, place(3, 1)) },
            Neighbour { allows_power: false, is_near: true, ..neighbour(org, unwilling, place(4, 1)) },
        ];
        let waker = choose(org, target, &[place(1, 1)], &neighbours).expect("a waker");
        assert_eq!((waker.server, waker.args.target), (near, target));
        assert_eq!((waker.args.mac, waker.args.interface.as_str()), (place(1, 1).mac, "eth1"));
    }

    #[test]
    fn only_ipv4_networks_with_a_hardware_address_are_places() {
        let address = |ip: &str, prefix| InterfaceAddress { ip: ip.into(), prefix };
        let interface = |name: &str, mac: &str, addresses| Interface { name: name.into(), mac: mac.into(), addresses };
        let facts = Facts {
            interfaces: vec![
                interface("eth0", "02:00:00:00:00:01", vec![address("10.1.2.3", 16), address("fd00::1", 64)]),
                interface("eth1", "nonsense", vec![address("10.2.2.3", 16)]),
                interface("e/1", "02:00:00:00:00:02", vec![address("10.3.2.3", 16)]),
                interface("ppp0", "02:00:00:00:00:03", vec![address("10.4.2.3", 32), address("x", 16)]),
            ],
            ..Facts::default()
        };
        let expected = Place { interface: "eth0".parse().expect("a name"), ..place(1, 1) };
        assert_eq!(places(&facts), [expected]);
    }

    proptest! {
        #[test]
        fn the_waker_is_another_server_of_the_same_organization_on_the_same_network(
            drawn in prop::collection::vec((0usize..2, 0usize..4, 0u8..4, 0u8..4, any::<bool>(), any::<bool>()), 0..12),
            stands in prop::collection::vec((0u8..4, 0u8..4), 0..3),
        ) {
            let orgs = [OrgId::generate(), OrgId::generate()];
            let servers: Vec<ServerId> = (0..4).map(|_| ServerId::generate()).collect();
            let neighbours: Vec<Neighbour> = drawn
                .into_iter()
                .map(|(org, server, mac, subnet, allows_power, is_near)| Neighbour {
                    allows_power, is_near, ..neighbour(orgs[org], servers[server], place(mac, subnet))
                })
                .collect();
            let places: Vec<Place> = stands.into_iter().map(|(mac, subnet)| place(mac, subnet)).collect();
            let fits = |neighbour: &Neighbour, place: &Place| {
                neighbour.org == orgs[0]
                    && neighbour.server != servers[0]
                    && neighbour.allows_power
                    && neighbour.place.subnet == place.subnet
                    && neighbour.place.mac != place.mac
            };
            match choose(orgs[0], servers[0], &places, &neighbours) {
                Ok(waker) => {
                    let is_right = neighbours.iter().any(|neighbour| {
                        let place = places.iter().find(|place| place.mac == waker.args.mac && fits(neighbour, place));
                        place.is_some()
                            && neighbour.server == waker.server
                            && neighbour.place.interface == waker.args.interface
                    });
                    prop_assert_eq!((is_right, waker.args.target), (true, servers[0]));
                }
                Err(Missing::Address) => prop_assert!(places.is_empty()),
                Err(_) => {
                    let could = neighbours.iter().any(|neighbour| {
                        let place = places.iter().find(|place| place.subnet == neighbour.place.subnet);
                        place.is_some_and(|place| fits(neighbour, place))
                    });
                    prop_assert!(!could);
                }
            }
        }
    }
}
