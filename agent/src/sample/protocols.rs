//! Files of `Protocol: …` lines: `/proc/net/sockstat{,6}`, where names and values alternate, and `/proc/net/{snmp,
//! netstat}`, where a line of names is followed by one of values.

use std::path::Path;

use super::{
    metric::Metric,
    reader::{KeptFile, Reader},
    registry::{Registry, Slot},
    scan::{lines, number, words},
};

/// One number that is sampled.
#[derive(Debug)]
pub(super) struct Field {
    protocol: &'static str,
    key: &'static str,
    pub(super) metric: Metric,
}

const fn count(protocol: &'static str, key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { protocol, key, metric: Metric::counter(name, 0, &[], help) }
}

const fn level(protocol: &'static str, key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { protocol, key, metric: Metric::gauge(name, 0, &[], help) }
}

pub(super) const SOCKSTAT: [Field; 11] = [
    level("sockets", "used", "host_sockets", "Sockets of all kinds."),
    level("TCP", "inuse", "host_tcp_sockets", "TCP sockets in use, IPv4."),
    level("TCP", "orphan", "host_tcp_orphan_sockets", "TCP sockets no process owns any more."),
    level("TCP", "tw", "host_tcp_time_wait_sockets", "TCP sockets waiting out their end."),
    level("TCP", "alloc", "host_tcp_allocated_sockets", "TCP sockets allocated, in any state."),
    level("TCP", "mem", "host_tcp_memory_pages", "Pages in TCP buffers."),
    level("UDP", "inuse", "host_udp_sockets", "UDP sockets in use, IPv4."),
    level("UDP", "mem", "host_udp_memory_pages", "Pages in UDP buffers."),
    level("RAW", "inuse", "host_raw_sockets", "Raw sockets in use, IPv4."),
    level("FRAG", "inuse", "host_ip_fragment_queues", "Datagrams being put together."),
    level("FRAG", "memory", "host_ip_fragment_memory_bytes", "Memory of datagrams being put together."),
];

pub(super) const SOCKSTAT6: [Field; 3] = [
    level("TCP6", "inuse", "host_tcp6_sockets", "TCP sockets in use, IPv6."),
    level("UDP6", "inuse", "host_udp6_sockets", "UDP sockets in use, IPv6."),
    level("RAW6", "inuse", "host_raw6_sockets", "Raw sockets in use, IPv6."),
];

pub(super) const SNMP: [Field; 33] = [
    count("Ip", "InReceives", "host_ip_received_total", "IPv4 datagrams received."),
    count("Ip", "InHdrErrors", "host_ip_header_errors_total", "IPv4 datagrams with a bad header."),
    count("Ip", "InAddrErrors", "host_ip_address_errors_total", "IPv4 datagrams for a wrong address."),
    count("Ip", "ForwDatagrams", "host_ip_forwarded_total", "IPv4 datagrams forwarded."),
    count("Ip", "InDiscards", "host_ip_receive_discards_total", "IPv4 datagrams dropped though they were sound."),
    count("Ip", "InDelivers", "host_ip_delivered_total", "IPv4 datagrams delivered to a protocol."),
    count("Ip", "OutRequests", "host_ip_sent_total", "IPv4 datagrams sent."),
    count("Ip", "OutDiscards", "host_ip_send_discards_total", "IPv4 datagrams not sent for want of memory."),
    count("Ip", "OutNoRoutes", "host_ip_no_route_total", "IPv4 datagrams without a route."),
    count("Ip", "ReasmTimeout", "host_ip_reassembly_timeouts_total", "Datagrams whose fragments came too late."),
    count("Ip", "ReasmFails", "host_ip_reassembly_failures_total", "Datagrams that could not be put together."),
    count("Icmp", "InMsgs", "host_icmp_received_total", "ICMP messages received."),
    count("Icmp", "InErrors", "host_icmp_receive_errors_total", "ICMP messages received with errors."),
    count("Icmp", "OutMsgs", "host_icmp_sent_total", "ICMP messages sent."),
    count("Icmp", "InDestUnreachs", "host_icmp_unreachable_received_total", "Unreachable messages received."),
    count("Icmp", "OutDestUnreachs", "host_icmp_unreachable_sent_total", "Unreachable messages sent."),
    count("Tcp", "ActiveOpens", "host_tcp_active_opens_total", "Connections opened from here."),
    count("Tcp", "PassiveOpens", "host_tcp_passive_opens_total", "Connections accepted."),
    count("Tcp", "AttemptFails", "host_tcp_failed_attempts_total", "Connections that failed to open."),
    count("Tcp", "EstabResets", "host_tcp_established_resets_total", "Open connections that were reset."),
    level("Tcp", "CurrEstab", "host_tcp_established", "Connections open."),
    count("Tcp", "InSegs", "host_tcp_segments_received_total", "Segments received."),
    count("Tcp", "OutSegs", "host_tcp_segments_sent_total", "Segments sent."),
    count("Tcp", "RetransSegs", "host_tcp_segments_retransmitted_total", "Segments sent again."),
    count("Tcp", "InErrs", "host_tcp_receive_errors_total", "Segments received with errors."),
    count("Tcp", "OutRsts", "host_tcp_resets_sent_total", "Resets sent."),
    count("Udp", "InDatagrams", "host_udp_received_total", "UDP datagrams received."),
    count("Udp", "NoPorts", "host_udp_no_port_total", "UDP datagrams nobody listened for."),
    count("Udp", "InErrors", "host_udp_receive_errors_total", "UDP datagrams that could not be delivered."),
    count("Udp", "OutDatagrams", "host_udp_sent_total", "UDP datagrams sent."),
    count(
        "Udp",
        "RcvbufErrors",
        "host_udp_receive_buffer_errors_total",
        "UDP datagrams lost to a full receive buffer.",
    ),
    count("Udp", "SndbufErrors", "host_udp_send_buffer_errors_total", "UDP datagrams lost to a full send buffer."),
    count("Udp", "InCsumErrors", "host_udp_checksum_errors_total", "UDP datagrams with a wrong checksum."),
];

pub(super) const NETSTAT: [Field; 24] = [
    count("TcpExt", "SyncookiesSent", "host_tcp_syn_cookies_sent_total", "SYN cookies sent."),
    count("TcpExt", "SyncookiesRecv", "host_tcp_syn_cookies_received_total", "Valid SYN cookies received."),
    count("TcpExt", "SyncookiesFailed", "host_tcp_syn_cookies_failed_total", "Invalid SYN cookies received."),
    count("TcpExt", "TW", "host_tcp_time_waits_total", "Sockets that waited out their end."),
    count("TcpExt", "DelayedACKs", "host_tcp_delayed_acks_total", "Acknowledgements delayed."),
    count(
        "TcpExt",
        "ListenOverflows",
        "host_tcp_listen_overflows_total",
        "Connections refused for a full accept queue.",
    ),
    count("TcpExt", "ListenDrops", "host_tcp_listen_drops_total", "Connections dropped while listening."),
    count(
        "TcpExt",
        "TCPLostRetransmit",
        "host_tcp_lost_retransmits_total",
        "Segments lost again after being sent again.",
    ),
    count("TcpExt", "TCPFastRetrans", "host_tcp_fast_retransmits_total", "Segments sent again before a timeout."),
    count(
        "TcpExt",
        "TCPSlowStartRetrans",
        "host_tcp_slow_start_retransmits_total",
        "Segments sent again in slow start.",
    ),
    count("TcpExt", "TCPTimeouts", "host_tcp_timeouts_total", "Timeouts waiting for an acknowledgement."),
    count("TcpExt", "TCPRcvCollapsed", "host_tcp_receive_collapses_total", "Segments merged for want of buffer."),
    count("TcpExt", "TCPAbortOnData", "host_tcp_aborts_on_data_total", "Connections aborted with data unread."),
    count("TcpExt", "TCPAbortOnClose", "host_tcp_aborts_on_close_total", "Connections aborted at their close."),
    count("TcpExt", "TCPAbortOnMemory", "host_tcp_aborts_on_memory_total", "Connections aborted for want of memory."),
    count("TcpExt", "TCPAbortOnTimeout", "host_tcp_aborts_on_timeout_total", "Connections aborted after a timeout."),
    count("TcpExt", "TCPMemoryPressures", "host_tcp_memory_pressures_total", "Times TCP came under memory pressure."),
    count("TcpExt", "TCPBacklogDrop", "host_tcp_backlog_drops_total", "Segments dropped for a full backlog."),
    count(
        "TcpExt",
        "TCPReqQFullDrop",
        "host_tcp_request_queue_drops_total",
        "Connection requests dropped for a full queue.",
    ),
    count("TcpExt", "TCPOFOQueue", "host_tcp_out_of_order_total", "Segments received out of order."),
    count("TcpExt", "TCPSynRetrans", "host_tcp_syn_retransmits_total", "Connection requests sent again."),
    count("IpExt", "InMcastPkts", "host_ip_multicast_received_total", "Multicast datagrams received."),
    count("IpExt", "InOctets", "host_ip_received_bytes_total", "Bytes in IPv4 datagrams received."),
    count("IpExt", "OutOctets", "host_ip_sent_bytes_total", "Bytes in IPv4 datagrams sent."),
];

/// How names and values lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    /// `TCP: inuse 2 orphan 0`
    Alternating,
    /// `Tcp: InSegs OutSegs` and then `Tcp: 10 12`
    TwoLines,
}

/// A file of which the fields in a table are sampled.
#[derive(Debug)]
pub(super) struct ProtocolFile {
    file: KeptFile,
    layout: Layout,
    fields: &'static [Field],
    slots: Vec<Slot>,
}

impl ProtocolFile {
    pub(super) fn new(root: &Path, path: &str, layout: Layout, fields: &'static [Field]) -> Self {
        Self { file: KeptFile::new(root.join(path)), layout, fields, slots: vec![Slot::default(); fields.len()] }
    }

    pub(super) fn sample(&mut self, reader: &mut Reader, registry: &mut Registry) {
        let Some(text) = self.file.read(reader) else { return };
        let mut lines = lines(text);
        while let Some(line) = lines.next() {
            let Some((protocol, names)) = split_protocol(line) else { continue };
            match self.layout {
                Layout::Alternating => {
                    let values = names.clone().skip(1).step_by(2);
                    put(self.fields, &mut self.slots, protocol, names.step_by(2).zip(values), registry);
                }
                Layout::TwoLines => {
                    let Some((_, values)) = lines.next().and_then(split_protocol) else { return };
                    put(self.fields, &mut self.slots, protocol, names.zip(values), registry);
                }
            }
        }
    }
}

fn split_protocol(line: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]> + Clone)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], words(&line[colon + 1..])))
}

/// Tables name a protocol's fields together and mostly in the kernel's order, so the search begins where the last hit
/// was and seldom looks further than the next entry.
fn put<'t>(
    fields: &'static [Field],
    slots: &mut [Slot],
    protocol: &[u8],
    pairs: impl Iterator<Item = (&'t [u8], &'t [u8])>,
    registry: &mut Registry,
) {
    let Some(first) = fields.iter().position(|field| field.protocol.as_bytes() == protocol) else { return };
    let count = fields[first..].iter().take_while(|field| field.protocol.as_bytes() == protocol).count();
    let (fields, slots) = (&fields[first..first + count], &mut slots[first..first + count]);
    let mut expected = 0;
    for (key, value) in pairs {
        let rotated = (expected..count).chain(0..expected);
        let Some(at) = rotated.take(count).find(|at| fields[*at].key.as_bytes() == key) else { continue };
        expected = (at + 1) % count;
        if let Some(value) = number(value) {
            registry.put(&mut slots[at], &fields[at].metric, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sample::Tick;

    #[test]
    fn both_layouts_are_read_whatever_the_order() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc/net")).expect("directories");
        let sockstat = "sockets: used 82\nTCP: inuse 2 orphan 0 tw 1 alloc 3 mem 4\nODD: inuse 9\n";
        fs::write(root.path().join("proc/net/sockstat"), sockstat).expect("sockstat");
        let snmp = "Tcp: OutSegs New InSegs\nTcp: 12 99 10\nUdp: NoPorts\nUdp: -1\n";
        fs::write(root.path().join("proc/net/snmp"), snmp).expect("snmp");

        let (mut reader, mut registry) = (Reader::new(), Registry::new(100));
        let mut files = [
            ProtocolFile::new(root.path(), "proc/net/sockstat", Layout::Alternating, &SOCKSTAT),
            ProtocolFile::new(root.path(), "proc/net/snmp", Layout::TwoLines, &SNMP),
        ];
        for file in &mut files {
            file.sample(&mut reader, &mut registry);
        }
        let Tick { values, declared, .. } = registry.finish(0);
        let read: Vec<_> =
            declared.iter().zip(&values).map(|((_, series), (_, value))| (series.name.as_str(), *value)).collect();
        assert_eq!(read[..3], [("host_sockets", 82), ("host_tcp_sockets", 2), ("host_tcp_orphan_sockets", 0)]);
        assert_eq!(
            read[6..],
            [
                ("host_tcp_segments_sent_total", 12),
                ("host_tcp_segments_received_total", 10),
                ("host_udp_no_port_total", -1)
            ]
        );
    }
}
