//! Deciding for one server. `None` is what is not known; it spreads as SQL's `NULL` does.

use std::{borrow::Cow, cmp::Ordering};

use super::{
    Candidate,
    check::{Node, TextTest},
    kind::Value,
};

/// Whether `node` holds for `candidate`; `None` where that is not known.
pub(super) fn truth(node: &Node, candidate: &Candidate<'_>, now_us: i64) -> Option<bool> {
    match value(node, candidate, now_us)? {
        Value::Truth(truth) => Some(truth),
        _ => None,
    }
}

fn value<'a>(node: &'a Node, candidate: &'a Candidate<'_>, now_us: i64) -> Option<Value<'a>> {
    let of = |node: &'a Node| value(node, candidate, now_us);
    let truth_of = |node: &Node| truth(node, candidate, now_us);
    Some(match node {
        Node::Constant(constant) => constant.clone(),
        Node::Now => Value::Time(now_us),
        Node::Field(field) => return (field.read)(candidate, now_us),
        Node::Has(field) => Value::Truth((field.read)(candidate, now_us).is_some()),
        Node::Not(inner) => Value::Truth(!truth_of(inner)?),
        Node::All(parts) => return decided(parts, false, truth_of),
        Node::Any(parts) => return decided(parts, true, truth_of),
        Node::Choice(parts) => {
            let [condition, yes, no] = parts.as_ref();
            return of(if truth_of(condition)? { yes } else { no });
        }
        Node::Compare(sign, parts) => {
            let [left, right] = parts.as_ref();
            Value::Truth(holds(sign, of(left)?.compare(&of(right)?)?))
        }
        Node::Among(parts) => {
            let [item, list] = parts.as_ref();
            return among(&of(item)?, list, &of);
        }
        Node::List(items) => Value::List(items.iter().map(of).collect::<Option<_>>()?),
        Node::Arithmetic(sign, parts) => {
            let [left, right] = parts.as_ref();
            return arithmetic(sign, &of(left)?, &of(right)?);
        }
        Node::Negative(inner) => match of(inner)? {
            Value::Number(number) => Value::Number(-number),
            _ => return None,
        },
        Node::TextTest(test, parts) => {
            let [on, what] = parts.as_ref();
            match (of(on)?, of(what)?) {
                (Value::Text(on), Value::Text(what)) => Value::Truth(match test {
                    TextTest::StartsWith => on.starts_with(what.as_ref()),
                    TextTest::EndsWith => on.ends_with(what.as_ref()),
                    TextTest::Contains => on.contains(what.as_ref()),
                }),
                _ => return None,
            }
        }
        Node::Lower(inner) => match of(inner)? {
            Value::Text(text) => Value::Text(Cow::Owned(text.to_ascii_lowercase())),
            _ => return None,
        },
        Node::Size(inner) => match of(inner)? {
            Value::Text(text) => Value::Number(text.chars().count() as f64),
            Value::List(items) => Value::Number(items.len() as f64),
            _ => return None,
        },
    })
}

/// The first part that is `decisive` decides; otherwise one that is not known leaves the whole unknown.
fn decided<'a>(parts: &[Node], decisive: bool, truth: impl Fn(&Node) -> Option<bool>) -> Option<Value<'a>> {
    let mut all_known = true;
    for part in parts {
        match truth(part) {
            Some(truth) if truth == decisive => return Some(Value::Truth(decisive)),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(Value::Truth(!decisive))
}

fn among<'a>(item: &Value<'_>, list: &'a Node, of: &impl Fn(&'a Node) -> Option<Value<'a>>) -> Option<Value<'a>> {
    let equals = |other: &Value<'_>| item.compare(other) == Some(Ordering::Equal);
    let mut all_known = true;
    match list {
        Node::List(items) => {
            for other in items {
                match of(other) {
                    Some(other) if equals(&other) => return Some(Value::Truth(true)),
                    Some(_) => {}
                    None => all_known = false,
                }
            }
        }
        list => match of(list)? {
            Value::List(items) => return Some(Value::Truth(items.iter().any(equals))),
            _ => return None,
        },
    }
    all_known.then_some(Value::Truth(false))
}

fn holds(sign: &str, order: Ordering) -> bool {
    match sign {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// What can't be computed, such as a division by zero, is not known.
fn arithmetic<'a>(sign: &str, left: &Value<'_>, right: &Value<'_>) -> Option<Value<'a>> {
    let signed = |a: i64, b: i64| if sign == "+" { a.checked_add(b) } else { a.checked_sub(b) };
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            let number = match sign {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" => a / b,
                _ => a % b,
            };
            number.is_finite().then_some(Value::Number(number))
        }
        (Value::Time(a), Value::Time(b)) => signed(*a, *b).map(Value::Duration),
        (Value::Time(a), Value::Duration(b)) | (Value::Duration(b), Value::Time(a)) => signed(*a, *b).map(Value::Time),
        (Value::Duration(a), Value::Duration(b)) => signed(*a, *b).map(Value::Duration),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Filter};
    use super::*;

    const NOW_US: i64 = 2_000_000_000_000_000;
    const FACTS: &str = "os.id=debian\nreboot_pending=true\nports.tcp=22,80\ndocker.live_restore=false";

    fn listed(text: &str) -> bool {
        let filter = Filter::compile(text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"));
        let cell = |column: &Column| match column {
            Column::Name => "web-1",
            Column::Region => "Frankfurt",
            Column::Status => "running",
            Column::DockerVersion => "23.0.6",
            Column::OsVersion => "12.4",
            Column::DataDiskBytes => "160000000000",
            Column::DataDiskAvailableBytes => "15500000000",
            Column::AgentStatus => "online",
            Column::LastSeenAt => "1999999999000000",
            Column::AllowedFamilies => "observe,fix",
            Column::Facts => FACTS,
            _ => "",
        };
        filter.matches(&Candidate::new(filter.columns(), filter.columns().iter().map(cell).collect()), NOW_US)
    }

    #[test]
    fn what_holds_is_listed() {
        for text in [
            "docker.version < version(\"24.0\") && disk.free_gb < 20.0",
            "health_status != \"unknown\" && name.startsWith(\"web-\")",
            "os.id == \"debian\"",
            "agent.status == 'online'",
            "region in [\"Berlin\", \"Frankfurt\"]",
            "has(docker.version)",
            "!has(fqdn)",
            "80 in ports.tcp && !(443 in ports.tcp)",
            "\"fix\" in allowed_families && size(allowed_families) == 2",
            "last_seen > now - duration(\"5s\")",
            "now - last_seen < duration(\"1m\")",
            "last_seen < timestamp(\"2033-05-18T03:33:20Z\")",
            "disk.used_percent > 90 && disk.used_percent <= 100 * 1",
            "reboot_pending && !docker.live_restore",
            "region.lowerAscii().contains(\"furt\") && name.endsWith(\"1\")",
            "(status == \"stopped\" ? 1 : 2) == 2",
            "os.version >= version(\"12\") && os.version < version(\"13\")",
            "-disk.free_gb < -15 && 7 % 4 == 3 && 0x10 == 16",
            "true || fqdn == \"x\"",
            "os.version in [version(\"12.4.0\")]",
        ] {
            assert!(listed(text), "{text}");
        }
    }

    #[test]
    fn what_does_not_hold_is_not() {
        for text in [
            "docker.version >= version(\"24\")",
            "name == \"web-2\"",
            "region in [\"Berlin\"]",
            "has(kernel)",
            "22 in ports.udp",
            "status == \"running\" && false",
        ] {
            assert!(!listed(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_never_matches_and_never_fails() {
        for text in [
            "kernel == version(\"6.1\")",
            "kernel != version(\"6.1\")",
            "!(kernel == version(\"6.1\"))",
            "kernel == kernel",
            "fqdn in [\"a\", \"b\"]",
            "!(fqdn in [\"a\", \"b\"])",
            "!(\"Rome\" in [region, fqdn])",
            "security_updates < 5",
            "security_updates + 1 > 0",
            "disk.free_gb / 0 > 1",
            "!(disk.free_gb % 0 == 1)",
            "status == \"running\" && fqdn == \"x\"",
            "status == \"stopped\" || fqdn == \"x\"",
            "(fqdn == \"x\" ? 1 : 1) == 1",
            "clock.synchronized",
            "!clock.synchronized",
            "fqdn.startsWith(\"\")",
        ] {
            assert!(!listed(text), "{text}");
        }
        assert!(listed("\"Frankfurt\" in [fqdn, region]"), "what is known decides where it can");
    }
}
