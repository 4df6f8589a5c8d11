//! What is dialled and what never is, in every form.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::*;

const OPEN: AddressPolicy = AddressPolicy { allow_loopback: true, allow_private: true };
const SHUT: AddressPolicy = AddressPolicy { allow_loopback: false, allow_private: false };

fn judged(policy: AddressPolicy, ip: &str) -> Result<(), Refusal> {
    policy.judge(ip.parse().expect("an address"))
}

#[test]
fn public_addresses_are_dialled() {
    for ip in ["203.0.113.10", "2001:db8::1", "172.32.0.1", "100.128.0.1", "2002:cb00:710a::1", "198.20.0.1"] {
        assert_eq!(judged(SHUT, ip), Ok(()), "{ip}");
    }
}

#[test]
fn this_machine_and_private_ranges_are_the_operators_choice() {
    for ip in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
        assert_eq!(judged(SHUT, ip), Err(Refusal::Loopback), "{ip}");
        assert_eq!(judged(OPEN, ip), Ok(()), "{ip}");
    }
    for ip in
        ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "fec0::1", "::ffff:10.0.0.1", "::10.0.0.1"]
    {
        assert_eq!(judged(SHUT, ip), Err(Refusal::Private), "{ip}");
        assert_eq!(judged(OPEN, ip), Ok(()), "{ip}");
    }
}

#[test]
fn some_addresses_are_never_dialled() {
    for ip in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    ] {
        assert_eq!(judged(OPEN, ip), Err(Refusal::Metadata), "{ip}");
    }
    for ip in ["169.254.1.1", "fe80::1"] {
        assert_eq!(judged(OPEN, ip), Err(Refusal::LinkLocal), "{ip}");
    }
    for ip in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "0.1.2.3", "::2", "100::1"] {
        assert_eq!(judged(OPEN, ip), Err(Refusal::NotAHost), "{ip}");
    }
}

/// Every way to write `inner` inside an IPv6 address.
fn forms(inner: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = inner.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let mut forms = vec![
        inner.to_ipv6_mapped(),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, high, u16::from(c), u16::from(d) << 8, 0, 0),
        Ipv6Addr::new(0x2002, high, low, 1, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, 0xcb00, 0x7101, 0, 0, !high, !low),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0, 0),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0x5efe, high, low),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0x200, 0x5efe, high, low),
    ];
    if u32::from(inner) > 1 {
        forms.push(Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low));
    }
    forms
}

fn dangerous() -> impl Strategy<Value = Ipv4Addr> {
    let any = any::<[u8; 4]>();
    prop_oneof![
        any.prop_map(|[_, b, c, d]| Ipv4Addr::new(127, b, c, d)),
        any.prop_map(|[_, b, c, d]| Ipv4Addr::new(10, b, c, d)),
        any.prop_map(|[_, _, c, d]| Ipv4Addr::new(192, 168, c, d)),
        any.prop_map(|[_, _, c, d]| Ipv4Addr::new(169, 254, c, d)),
        any.prop_map(|[a, b, c, d]| Ipv4Addr::new(224 | a, b, c, d)),
        any.prop_map(|[_, b, c, d]| Ipv4Addr::new(0, b, c, d)),
        Just(Ipv4Addr::new(100, 100, 100, 200)),
    ]
}

proptest! {
    #[test]
    fn no_form_of_a_refused_address_is_allowed(inner in dangerous()) {
        prop_assert!(SHUT.judge(inner.into()).is_err());
        for form in forms(inner) {
            prop_assert!(SHUT.judge(form.into()).is_err(), "{} as {}", inner, form);
            prop_assert!(OPEN.judge(inner.into()).is_ok() || OPEN.judge(form.into()).is_err(), "{} as {}", inner, form);
        }
    }

    #[test]
    fn no_spelling_of_a_number_is_a_name(parts in proptest::collection::vec(any::<u8>(), 1..5), bases in any::<[u8; 4]>()) {
        let parts = parts.iter().zip(bases).map(|(part, base)| match base % 3 {
            0 => format!("{part}"),
            1 => format!("0{part:o}"),
            _ => format!("0x{part:x}"),
        });
        let host = parts.collect::<Vec<_>>().join(".");
        prop_assert!(host.parse::<IpAddr>().is_ok() || spelling::is_numeric(&host), "{}", host);
    }

    #[test]
    fn names_of_domains_are_names(name in "[a-z0-9-]{1,10}\\.[a-z]{2,6}\\.?") {
        prop_assert!(!spelling::is_numeric(&name));
    }
}

#[tokio::test]
async fn other_spellings_of_this_machine_lead_nowhere() {
    let dialler = Dialler::default();
    for host in ["0177.0.0.1", "2130706433", "0x7f.1", "127.1", "0x7f000001", "127.0.0.1.", "0", "0x"] {
        assert_eq!(dialler.dial(host, 1).await.expect_err(host), DialError::Spelling, "{host}");
    }
    for host in ["127.0.0.1", "localhost", "::1"] {
        let error = dialler.dial(host, 1).await.expect_err(host);
        assert!(matches!(error, DialError::Refused { refusal: Refusal::Loopback, .. }), "{host}: {error}");
    }
}

/// Answers something else each time it is asked.
#[derive(Debug)]
struct Rebinding {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Rebinding {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers =
            answers.iter().map(|ips| ips.iter().map(|ip| ip.parse().expect("an address")).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

#[async_trait::async_trait]
impl Resolve for Rebinding {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.answers[asked.min(self.answers.len() - 1)].clone())
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_dialled_where_it_was_judged() {
    let first = tokio::net::TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let port = first.local_addr().expect("an address").port();
    let resolver = Rebinding::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let dialler = Dialler::from(OPEN).resolving_by(resolver.clone());
    let stream = dialler.dial("rebinding.example", port).await.expect("a connection");
    assert_eq!(stream.peer_addr().expect("an address").ip(), Ipv4Addr::new(127, 0, 0, 2));
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 1, "asked once, dialled as judged");
}

#[tokio::test]
async fn every_address_a_name_leads_to_is_judged() {
    let resolver = Rebinding::new(&[&["127.0.0.1", "203.0.113.7", "::ffff:169.254.169.254", "203.0.113.8"]]);
    let allowed = Dialler::default().resolving_by(resolver).allowed("mixed.example", 22).await.expect("two");
    assert_eq!(allowed, ["203.0.113.7:22", "203.0.113.8:22"].map(|address| address.parse().expect("an address")));
    let resolver = Rebinding::new(&[&["127.0.0.1"]]);
    let error = Dialler::default().resolving_by(resolver).dial("evil.example", 22).await.expect_err("refused");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn the_control_planes_own_ports_are_closed_to_itself() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let dialler = Dialler::new(OPEN, OwnPorts::of([address]));
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "127.9.9.9"] {
        let error = dialler.dial(host, address.port()).await.expect_err(host);
        assert!(matches!(error, DialError::Refused { refusal: Refusal::OwnPort, .. }), "{host}: {error}");
    }
    let elsewhere = OwnPorts::of([address]);
    assert!(!elsewhere.is_own("203.0.113.10".parse().expect("an address"), address.port()));
    assert!(!elsewhere.is_own(address.ip(), 1));
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    assert_eq!(Dialler::from(OPEN).dial("127.0.0.1", port).await.expect_err("nobody listens"), DialError::Closed);
}
