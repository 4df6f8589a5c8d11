//! The table: what it says, and whether the kernel still has it as it was written. Pure.
//!
//! Its first rule carries a digest of all others as a comment, and every rule stands on a line of its own, so that a table
//! of other rules, of more or of fewer is told apart from ours without relying on how a release of nft words them.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use muster_shared::action::item::FirewallArgs;
use ring::digest::{SHA256, digest};

pub(super) const NAME: &str = "muster_firewall";
/// After the usual filters, so that whatever they let in is judged once more.
const PRIORITY: &str = "filter + 10";
/// Networks that Docker makes by itself are named so and stand in this range.
const BRIDGES: &str = "iifname \"br-*\" ip saddr 172.16.0.0/12 accept";
const MARK: &str = "muster ";

/// The script that replaces the table whole, or makes it.
pub(super) fn text(ssh: &BTreeSet<u16>, args: &FirewallArgs) -> String {
    let (input, forward) = (input(ssh, args), forward(args));
    let mark = mark(&input, &forward);
    let mut text = format!(
        "#!/usr/sbin/nft -f\n# Written by Muster: only the ports that were asked for can be reached.\n\
         table inet {NAME}\ndelete table inet {NAME}\ntable inet {NAME} {{\n"
    );
    chain(&mut text, "input", "drop", &[vec![mark], input].concat());
    chain(&mut text, "forward", "accept", &forward);
    text.push_str("}\n");
    text
}

fn chain(text: &mut String, name: &str, policy: &str, rules: &[String]) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "\tchain {name} {{\n\t\ttype filter hook {name} priority {PRIORITY}; policy {policy};");
    for rule in rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text.push_str("\t}\n");
}

/// What is for this host. ICMP by number: names of protocols are not known on every system.
fn input(ssh: &BTreeSet<u16>, args: &FirewallArgs) -> Vec<String> {
    let mut rules: Vec<String> = [
        "iifname \"lo\" accept",
        "ct state established,related accept",
        "meta l4proto 1 accept",
        "meta l4proto 58 accept",
        "udp sport 67 udp dport 68 accept",
        "ip6 saddr fe80::/10 udp dport 546 accept",
        "iifname \"docker0\" accept",
        BRIDGES,
    ]
    .map(str::to_owned)
    .to_vec();
    for port in ssh {
        if args.ssh_from.is_empty() {
            rules.push(format!("tcp dport {port} accept"));
        }
        for network in &args.ssh_from {
            let family = if matches!(network.network(), IpAddr::V4(_)) { "ip" } else { "ip6" };
            rules.push(format!("{family} saddr {network} tcp dport {port} accept"));
        }
    }
    let open = args.open_ports.iter().map(|port| port.get()).filter(|port| !ssh.contains(port));
    rules.extend(open.collect::<BTreeSet<_>>().into_iter().map(|port| format!("tcp dport {port} accept")));
    rules
}

/// What is passed on. Only what was redirected to a container, or is sent straight to Docker's own network, is judged:
/// by the port that the other end had dialled.
fn forward(args: &FirewallArgs) -> Vec<String> {
    let mut rules: Vec<String> =
        ["ct state established,related accept", "iifname \"docker0\" accept", BRIDGES].map(str::to_owned).to_vec();
    let open: BTreeSet<u16> = args.open_ports.iter().map(|port| port.get()).collect();
    rules.extend(open.into_iter().map(|port| format!("meta l4proto 6 ct original proto-dst {port} accept")));
    rules.extend(["ct status dnat drop", "oifname \"docker0\" drop"].map(str::to_owned));
    rules
}

fn mark(input: &[String], forward: &[String]) -> String {
    let all = [input, forward].concat().join("\n");
    let sum = hex::encode(digest(&SHA256, all.as_bytes()));
    format!("counter comment \"{MARK}{}\"", &sum[..32])
}

/// Whether `loaded`, as the kernel lists it, is the table that `written` makes.
pub(super) fn is_as_written(loaded: &str, written: &str) -> bool {
    let (loaded, written) = (Shape::of(loaded), Shape::of(written));
    loaded == written && loaded.mark.is_some()
}

/// What can be compared whatever a release's wording.
#[derive(Debug, PartialEq, Eq)]
struct Shape<'a> {
    mark: Option<&'a str>,
    /// Name, policy and number of rules of each chain.
    chains: Vec<(&'a str, &'a str, usize)>,
    /// How many rules accept, and how many drop.
    verdicts: (usize, usize),
    /// Every port that some rule names, in order.
    ports: Vec<&'a str>,
}

impl<'a> Shape<'a> {
    fn of(text: &'a str) -> Self {
        let mut shape = Self { mark: None, chains: Vec::new(), verdicts: (0, 0), ports: Vec::new() };
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ") {
                shape.chains.push((name.trim_end_matches('{').trim(), "accept", 0));
            } else if let (Some((_, policy)), Some(chain)) = (line.split_once("policy "), shape.chains.last_mut()) {
                chain.1 = policy.trim_end_matches(';');
            } else if let Some(chain) = shape.chains.last_mut().filter(|_| !matches!(line, "" | "}")) {
                chain.2 += 1;
                shape.verdicts.0 += usize::from(line.ends_with("accept"));
                shape.verdicts.1 += usize::from(line.ends_with("drop"));
                let marked =
                    line.split_once(&format!("comment \"{MARK}")[..]).and_then(|(_, rest)| rest.split_once('"'));
                shape.mark = shape.mark.or(marked.map(|(mark, _)| mark));
                let mut words = line.split_whitespace();
                while let Some(word) = words.next() {
                    shape.ports.extend(words.clone().next().filter(|_| matches!(word, "dport" | "proto-dst")));
                }
            }
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::action::Port;

    use super::*;

    fn args(ssh_from: &[&str]) -> FirewallArgs {
        FirewallArgs {
            open_ports: vec![Port::HTTP, Port::HTTPS],
            ssh_from: ssh_from.iter().map(|network| network.parse().expect("a network")).collect(),
        }
    }

    fn wanted() -> String {
        text(&BTreeSet::from([22, 2222]), &args(&[]))
    }

    #[test]
    fn every_port_of_ssh_is_open_and_what_was_not_asked_for_is_not() {
        let text = wanted();
        assert!(text.contains("hook input priority filter + 10; policy drop;"), "{text}");
        for port in [22, 2222, 80, 443] {
            assert_eq!(text.matches(&format!("\t\ttcp dport {port} accept\n")).count(), 1, "{text}");
        }
        assert!(text.contains("table inet muster_firewall\ndelete table inet muster_firewall\n"), "it replaces itself");
    }

    #[test]
    fn ssh_can_be_kept_to_networks_and_to_nothing_less() {
        let text = text(&BTreeSet::from([22]), &args(&["203.0.113.0/24", "2001:db8::/32"]));
        assert!(text.contains("\t\tip saddr 203.0.113.0/24 tcp dport 22 accept\n"), "{text}");
        assert!(text.contains("\t\tip6 saddr 2001:db8::/32 tcp dport 22 accept\n"), "{text}");
        assert!(!text.contains("\t\ttcp dport 22 accept"), "{text}");
        let both = FirewallArgs { open_ports: vec![Port::SSH], ..args(&["203.0.113.0/24"]) };
        assert!(
            !super::text(&BTreeSet::from([22]), &both).contains("\t\ttcp dport 22 accept"),
            "not opened by the back door"
        );
    }

    #[test]
    fn published_ports_are_judged_by_what_was_dialled() {
        let text = wanted();
        let forward = text.split_once("chain forward").expect("a chain").1;
        let (open, closed) = forward.split_once("ct status dnat drop").expect("the rest is dropped");
        assert!(open.contains("ct original proto-dst 80 accept") && open.contains("ct original proto-dst 443 accept"));
        assert!(!open.contains("proto-dst 22") && closed.contains("oifname \"docker0\" drop"), "{forward}");
    }

    /// As nft 1.0.6 lists it.
    fn listed(text: &str) -> String {
        let body = text.split_once("delete table inet muster_firewall\n").expect("a script").1;
        let worded = [
            ("counter comment", "counter packets 12 bytes 3456 comment"),
            ("meta l4proto 1 ", "meta l4proto icmp "),
            ("meta l4proto 58 ", "meta l4proto ipv6-icmp "),
            ("meta l4proto 6 ", "meta l4proto tcp "),
        ];
        worded.iter().fold(body.to_owned(), |body, (ours, theirs)| body.replace(ours, theirs))
    }

    #[test]
    fn the_kernels_table_is_known_again_and_a_change_by_hand_shows() {
        let (wanted, listed) = (wanted(), listed(&wanted()));
        assert!(is_as_written(&listed, &wanted));
        let changes = [
            listed.replace("\t\tct status dnat drop\n", ""),
            listed.replace("policy drop;", "policy accept;"),
            listed.replace("\t\ttcp dport 22 accept\n", "\t\ttcp dport 22 accept\n\t\ttcp dport 8069 accept\n"),
            listed.replace("tcp dport 443 accept", "tcp dport 8443 accept"),
            listed.replace("ct status dnat drop", "ct status dnat accept"),
            text(&BTreeSet::from([22, 2222]), &args(&["203.0.113.0/24"])),
            String::new(),
        ];
        for changed in changes {
            assert!(!is_as_written(&changed, &wanted), "{changed}");
        }
    }
}
