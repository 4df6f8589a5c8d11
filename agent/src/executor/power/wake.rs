//! Sending Wake-on-LAN packets: to the broadcast addresses of one of this host's own interfaces and nowhere else, from
//! a socket that lives for as long as that takes.

use std::{collections::BTreeSet, io, net::Ipv4Addr, time::Duration};

use muster_shared::power::{MacAddress, Subnet, WAKE_PORT, WakeArgs};
use tokio::{net::UdpSocket, time::sleep};

use crate::os::interfaces;

/// A card that misses one hears another.
const COPIES: usize = 3;
const BETWEEN_COPIES: Duration = Duration::from_millis(100);

pub(super) async fn send(args: &WakeArgs) -> Result<Vec<String>, String> {
    let name = args.interface.as_str();
    let to = broadcasts(name);
    if to.is_empty() {
        return Err(format!("this host has no interface {name} with an IPv4 network"));
    }
    send_to(args.mac, name, &to).await.map_err(|error| format!("{name}: {error}"))?;
    Ok(to.iter().map(ToString::to_string).collect())
}

fn broadcasts(name: &str) -> BTreeSet<Ipv4Addr> {
    let addresses = interfaces::read().into_iter().filter(|found| found.name == name).flat_map(|found| found.addresses);
    let subnets = addresses.filter_map(|address| Subnet::of(address.ip.parse().ok()?, address.prefix));
    subnets.map(Subnet::broadcast).collect()
}

async fn send_to(mac: MacAddress, interface: &str, to: &BTreeSet<Ipv4Addr>) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let packet = mac.magic_packet();
    for copy in 0..COPIES {
        if copy > 0 {
            sleep(BETWEEN_COPIES).await;
        }
        for address in to {
            socket.send_to(&packet, (*address, WAKE_PORT)).await?;
        }
    }
    Ok(())
}
