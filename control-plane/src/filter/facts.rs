//! The part of the facts that filters ask for, as one line `name=text` each: small, written when facts are stored,
//! and open to more names later. No text has a line break or another control character in it.

use muster_shared::facts::Facts;
use ring::digest::{SHA256, digest};

use super::field::FIELDS;

/// Longest text of one fact, in characters; the rest is cut off.
const MAX_TEXT_CHARACTERS: usize = 200;
/// Of the digest of the lines, so much that nobody finds two texts with the same.
const ID_BYTES: usize = 16;

/// The lines of `facts`.
#[must_use]
pub fn lines(facts: &Facts) -> String {
    let known = FIELDS.iter().filter_map(|field| Some((field, field.fact?(facts)?)));
    let lines = known.filter_map(|(field, text)| {
        // A list that were cut would tell lies of what it lost; lists have their own limit.
        let longest = if field.kind.element().is_some() { usize::MAX } else { MAX_TEXT_CHARACTERS };
        let text: String = text.chars().filter(|c| !c.is_control()).take(longest).collect();
        (!text.is_empty()).then(|| format!("{}={text}", field.name))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What names these lines: equal lines have the same id, and no other lines have it.
#[must_use]
pub fn id(lines: &str) -> String {
    hex::encode(&digest(&SHA256, lines.as_bytes()).as_ref()[..ID_BYTES])
}

#[cfg(test)]
mod tests {
    use muster_shared::facts::ListeningPort;

    use super::*;

    fn line(facts: &Facts, name: &str) -> Option<String> {
        let lines = lines(facts);
        lines.split('\n').find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
    }

    #[test]
    fn a_hostile_fact_becomes_no_other_fact() {
        let mut facts = Facts::default();
        facts.os.id = "debian\nkernel=1\u{1f}\u{1e}".into();
        assert_eq!(line(&facts, "os.id").as_deref(), Some("debiankernel=1"));
        assert_eq!(line(&facts, "kernel"), None);
        assert!(!lines(&facts).contains(['\u{1e}', '\u{1f}']));
        facts.kernel = "x".repeat(10_000);
        assert_eq!(line(&facts, "kernel").map(|text| text.len()), Some(MAX_TEXT_CHARACTERS));
    }

    #[test]
    fn ports_stand_once_each_or_are_not_known() {
        let mut facts = Facts::default();
        let port = |port| ListeningPort { protocol: "tcp".into(), port, ..ListeningPort::default() };
        facts.listening = [443, 22, 443].map(port).into();
        assert_eq!(line(&facts, "ports.tcp").as_deref(), Some("22,443"));
        facts.listening = (10_000..20_000).map(port).collect();
        assert_eq!(line(&facts, "ports.tcp"), None, "a part of them would answer wrongly");
    }
}
