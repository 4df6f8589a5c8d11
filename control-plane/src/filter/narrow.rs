//! What the remembered facts of every match must contain, as texts the database can look for: it then reads and sends the few
//! documents that may match instead of all. Every such text is necessary and none is sufficient, so whatever passes is still
//! judged in full.

use super::{
    Kind,
    check::{Node, TextTest},
    kind::Value,
};

/// Most texts of one filter; what follows is judged without.
const MAX_NEEDLES: usize = 8;

/// Texts that stand in the facts of every server that `root` lists.
pub(super) fn needles(root: &Node) -> Vec<String> {
    // Only what a conjunction asks is asked of every match.
    let parts = match root {
        Node::All(parts) => parts.as_slice(),
        other => std::slice::from_ref(other),
    };
    parts.iter().filter_map(needle).take(MAX_NEEDLES).collect()
}

/// The beginning of a fact's line, where what is asked says how it begins. That it is there at all is too common to narrow
/// anything.
fn needle(part: &Node) -> Option<String> {
    let (left, right) = match part {
        Node::Compare("==", parts) | Node::TextTest(TextTest::StartsWith, parts) => (&parts[0], &parts[1]),
        _ => return None,
    };
    match (left, right) {
        (Node::Field(field), Node::Constant(Value::Text(text)))
        | (Node::Constant(Value::Text(text)), Node::Field(field))
            if field.kind == Kind::Text && field.fact.is_some() && !text.is_empty() =>
        {
            // A text may itself begin with the field's value: `"debian".startsWith(os.id)`.
            let is_asked_of_field = matches!(left, Node::Field(_)) || matches!(part, Node::Compare(..));
            is_asked_of_field.then(|| format!("{}={text}", field.name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;

    fn needles(text: &str) -> Vec<String> {
        Filter::compile(text).expect("a filter").facts_with().to_vec()
    }

    #[test]
    fn what_every_match_must_have_is_looked_for() {
        assert_eq!(needles("os.id == \"alpine\""), ["os.id=alpine"]);
        assert_eq!(needles("\"alpine\" == os.id && status == \"running\""), ["os.id=alpine"]);
        assert_eq!(
            needles("cpu.model.startsWith(\"100%_\") && disk.fs_type == \"ext4\""),
            ["cpu.model=100%_", "disk.fs_type=ext4"]
        );
    }

    #[test]
    fn what_only_some_matches_have_is_not() {
        for text in [
            "os.id == \"alpine\" || status == \"running\"",
            "!(os.id == \"alpine\")",
            "os.id != \"alpine\"",
            "has(kernel)",
            "os.id.contains(\"alp\")",
            "\"debian\".startsWith(os.id)",
            "kernel == version(\"6.1\")",
            "(reboot_pending ? os.id : region) == \"alpine\"",
            "os.id.lowerAscii() == \"alpine\"",
            "name == \"web-1\"",
        ] {
            assert_eq!(needles(text), Vec::<String>::new(), "{text}");
        }
    }
}
