//! Which numbers of the kernel's tables are sampled, under which names.

mod ipv4;
mod ipv6;
mod memory;
mod paging;
mod sockets;
mod softirqs;
mod tcp;

pub(super) use self::{
    ipv4::SNMP,
    ipv6::SNMP6,
    memory::MEMINFO,
    paging::VMSTAT,
    sockets::{SOCKSTAT, SOCKSTAT6},
    softirqs::SOFTIRQS,
    tcp::NETSTAT,
};
