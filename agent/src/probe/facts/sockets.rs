//! Listening ports and who owns them, from `/proc/net/{tcp,udp}{,6}`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muster_shared::facts::ListeningPort;

use super::Processes;
use crate::{
    os::text,
    probe::{ProbeOptions, host::Host, program},
};

/// Most ports reported; a host with more has a runaway program, and the lowest ports count.
const MAX_PORTS: usize = 1024;
/// Socket states: a TCP socket that listens, a UDP socket without a peer.
const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

const TABLES: [(&str, &str, &str); 4] = [
    ("/proc/net/tcp", "tcp", TCP_LISTEN),
    ("/proc/net/tcp6", "tcp", TCP_LISTEN),
    ("/proc/net/udp", "udp", UDP_UNCONNECTED),
    ("/proc/net/udp6", "udp", UDP_UNCONNECTED),
];

/// Sorted by protocol, address and port; each pair of address and port once.
pub(in crate::probe) fn listening(host: &Host, processes: &Processes) -> Vec<ListeningPort> {
    let mut ports: Vec<ListeningPort> = Vec::new();
    for (table, protocol, state) in TABLES {
        let table = host.read(table).unwrap_or_default();
        for (address, port, socket) in table.lines().filter_map(|line| parse(line, state)) {
            let owner = processes.owner(socket);
            ports.push(ListeningPort {
                protocol: protocol.to_owned(),
                address: address.to_string(),
                port,
                pid: owner.as_ref().map(|owner| owner.pid),
                process: owner.as_ref().map(|owner| owner.name.clone()),
                unit: owner.and_then(|owner| owner.unit),
            });
        }
    }
    ports.sort_by(|a, b| (a.port, &a.protocol, &a.address, a.pid).cmp(&(b.port, &b.protocol, &b.address, b.pid)));
    ports.dedup_by(|a, b| (a.port, &a.protocol, &a.address) == (b.port, &b.protocol, &b.address));
    ports.truncate(MAX_PORTS);
    ports.sort();
    ports
}

/// Under socket activation init holds the socket, and only it knows for which unit. Asks it where that is so.
pub(super) async fn name_activated(listening: &mut [ListeningPort], options: &ProbeOptions) {
    if !listening.iter().any(is_inits) {
        return;
    }
    let arguments = ["list-sockets", "--no-legend", "--no-pager", "--plain", "--full"];
    if let Ok(list) = program::run_well("systemctl", &arguments, options.program_timeout).await {
        name_units(listening, &list.stdout);
    }
}

fn is_inits(listening: &ListeningPort) -> bool {
    listening.pid == Some(1)
}

/// `0.0.0.0:22 ssh.socket ssh.service`
fn name_units(listening: &mut [ListeningPort], list: &str) {
    for line in list.lines() {
        let mut fields = line.split_whitespace();
        let (Some(address), Some(unit)) = (fields.next(), fields.find(|field| field.ends_with(".socket"))) else {
            continue;
        };
        let Some(port) = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()) else { continue };
        for listening in listening.iter_mut().filter(|listening| is_inits(listening) && listening.port == port) {
            listening.unit = Some(text::clean(unit));
        }
    }
}

/// `sl local_address rem_address st … inode`, where addresses are hexadecimal.
fn parse(line: &str, wanted_state: &str) -> Option<(IpAddr, u16, u64)> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    if state != wanted_state {
        return None;
    }
    let socket = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    Some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?, socket))
}

/// Addresses are written as 32-bit words in the host's byte order.
fn parse_address(hexadecimal: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hexadecimal.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hexadecimal.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernels_tables() {
        let line =
            "   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   106        0 21344 1 0 100";
        assert_eq!(parse(line, TCP_LISTEN), Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 3306, 21344)));
        assert_eq!(parse(line, UDP_UNCONNECTED), None);
        let line = "   1: 00000000000000000000000001000000:0050 0:0 0A 0:0 00:0 0 0 0 77 1";
        assert_eq!(parse(line, TCP_LISTEN), Some((IpAddr::V6(Ipv6Addr::LOCALHOST), 80, 77)));
        assert_eq!(parse("  sl  local_address rem_address   st", TCP_LISTEN), None);
    }

    #[test]
    fn sockets_that_init_holds_are_named_by_their_unit() {
        let port = |pid, port| ListeningPort { pid: Some(pid), port, ..ListeningPort::default() };
        let mut listening = [port(1, 22), port(77, 80), port(1, 81)];
        let list = "/run/dbus/system_bus_socket dbus.socket dbus.service\n0.0.0.0:22 ssh.socket ssh.service\n[::]:80 web.socket web.service\n";
        name_units(&mut listening, list);
        let units = listening.map(|listening| listening.unit);
        assert_eq!(units, [Some("ssh.socket".to_owned()), None, None]);
    }
}
