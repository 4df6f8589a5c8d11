//! What is taken of `/proc/softirqs`: how often the kernel went on with an interrupt's work, all cores together.

use crate::sample::keyed::{Field, count};

/// In the order of their keys' bytes.
pub(in crate::sample) const SOFTIRQS: [Field; 10] = [
    count("BLOCK", "host_softirqs_block_total", "Interrupt work for disks."),
    count("HI", "host_softirqs_high_priority_total", "Interrupt work of high priority."),
    count("HRTIMER", "host_softirqs_high_resolution_timer_total", "Interrupt work for precise timers."),
    count("IRQ_POLL", "host_softirqs_poll_total", "Interrupt work of polling."),
    count("NET_RX", "host_softirqs_network_receive_total", "Interrupt work for packets received."),
    count("NET_TX", "host_softirqs_network_transmit_total", "Interrupt work for packets sent."),
    count("RCU", "host_softirqs_rcu_total", "Interrupt work to free memory nobody reads any more."),
    count("SCHED", "host_softirqs_scheduler_total", "Interrupt work to spread tasks over cores."),
    count("TASKLET", "host_softirqs_tasklet_total", "Interrupt work drivers put off."),
    count("TIMER", "host_softirqs_timer_total", "Interrupt work for timers."),
];
