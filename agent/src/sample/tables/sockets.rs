//! What is taken of `/proc/net/sockstat` and `/proc/net/sockstat6`.

use crate::sample::protocols::{Field, level};

pub(in crate::sample) const SOCKSTAT: [Field; 11] = [
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

pub(in crate::sample) const SOCKSTAT6: [Field; 3] = [
    level("TCP6", "inuse", "host_tcp6_sockets", "TCP sockets in use, IPv6."),
    level("UDP6", "inuse", "host_udp6_sockets", "UDP sockets in use, IPv6."),
    level("RAW6", "inuse", "host_raw6_sockets", "Raw sockets in use, IPv6."),
];
