//! What must hold of a server's remembered facts wherever a filter matches, as patterns the database can look for: it then
//! reads and sends the few documents that may match instead of all. Every pattern is necessary and none is sufficient, so
//! whatever passes is still judged in full.

use super::{
    Kind,
    check::{Node, TextTest},
    kind::Value,
};

/// Most patterns of one filter; what follows is judged without.
const MAX_PATTERNS: usize = 8;

/// Patterns for `LIKE … ESCAPE '\'`; each of them fits the facts of every server that `root` lists.
pub(super) fn patterns(root: &Node) -> Vec<String> {
    // Only what a conjunction asks is asked of every match.
    let parts = match root {
        Node::All(parts) => parts.as_slice(),
        other => std::slice::from_ref(other),
    };
    parts.iter().filter_map(pattern).take(MAX_PATTERNS).collect()
}

fn pattern(part: &Node) -> Option<String> {
    let line = |node: &Node| match node {
        Node::Field(field) if field.kind == Kind::Text && field.fact.is_some() => Some(escaped(field.name)),
        _ => None,
    };
    let text = |node: &Node| match node {
        Node::Constant(Value::Text(text)) => Some(escaped(text)),
        _ => None,
    };
    match part {
        Node::Has(field) if field.fact.is_some() => Some(format!("%{}=%", escaped(field.name))),
        Node::Compare("==", parts) => {
            let [left, right] = parts.as_ref();
            let (name, value) = match (line(left), text(right)) {
                (Some(name), Some(value)) => (name, value),
                _ => (line(right)?, text(left)?),
            };
            Some(format!("%{name}={value}%"))
        }
        Node::TextTest(test, parts) => {
            let [on, what] = parts.as_ref();
            let (name, value) = (line(on)?, text(what)?);
            Some(match test {
                TextTest::StartsWith => format!("%{name}={value}%"),
                TextTest::EndsWith | TextTest::Contains => format!("%{name}=%{value}%"),
            })
        }
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::Filter;

    fn patterns(text: &str) -> Vec<String> {
        Filter::compile(text).expect("a filter").facts_like().to_vec()
    }

    #[test]
    fn what_every_match_must_have_is_looked_for() {
        assert_eq!(patterns("os.id == \"alpine\""), ["%os.id=alpine%"]);
        assert_eq!(patterns("\"alpine\" == os.id && status == \"running\""), ["%os.id=alpine%"]);
        assert_eq!(patterns("has(kernel) && disk.fs_type.contains(\"ext\")"), ["%kernel=%", "%disk.fs\\_type=%ext%"]);
        assert_eq!(patterns("cpu.model.startsWith(\"100%_\\\\\")"), ["%cpu.model=100\\%\\_\\\\%"]);
    }

    #[test]
    fn what_only_some_matches_have_is_not() {
        for text in [
            "os.id == \"alpine\" || status == \"running\"",
            "!(os.id == \"alpine\")",
            "os.id != \"alpine\"",
            "!has(kernel)",
            "kernel == version(\"6.1\")",
            "(reboot_pending ? os.id : region) == \"alpine\"",
            "os.id.lowerAscii() == \"alpine\"",
            "name == \"web-1\"",
        ] {
            assert_eq!(patterns(text), Vec::<String>::new(), "{text}");
        }
    }
}
