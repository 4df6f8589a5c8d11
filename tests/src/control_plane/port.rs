//! Ports for programs that must keep theirs over a restart.

use std::net::{Ipv4Addr, TcpListener};

use ring::rand::{SecureRandom as _, SystemRandom};

/// Below the range the system picks outgoing ports from, so that none is taken while a program is down.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port nothing listens on now.
///
/// # Panics
/// When every port is taken.
#[must_use]
pub fn free_port() -> u16 {
    let mut random = [0; 2];
    SystemRandom::new().fill(&mut random).expect("randomness");
    let width = RANGE.end - RANGE.start;
    let first = u16::from_le_bytes(random) % width;
    (0..width)
        .map(|step| RANGE.start + (first + step) % width)
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("a free port")
}
