//! Asking the fleet: an expression over a server's fields and facts says which servers a list shows.
//!
//! The language is the part of the Common Expression Language (CEL) that needs no loops: comparisons, `&&`, `||`, `!`,
//! `in`, `? :`, arithmetic, `has()` and a few functions. An expression is compiled once a request, and everything
//! that can be wrong with it is wrong then: unknown names, types that don't go together, too long, too deep.
//! Evaluating it can't fail and costs at most one step a node.
//!
//! A fact that is not known is neither true nor false. Such an answer spreads through the expression as SQL's `NULL`
//! does, and a server for which the whole is unknown is not listed.

mod candidate;
mod check;
mod duration;
mod evaluate;
mod facts;
mod field;
#[cfg(test)]
mod guide;
mod kind;
mod parse;
mod token;
mod version;

use std::fmt;

pub use self::{
    candidate::{Candidate, Column},
    facts::{id as facts_id, lines as facts_lines},
    field::{FIELDS, Field},
    kind::Kind,
};
use crate::error::Error;
use check::Node;

/// Longest expression, in characters.
pub const MAX_CHARACTERS: usize = 2000;
/// How deep brackets, signs and choices may nest.
pub const MAX_NESTING: usize = 32;
/// Most names, values and operators of an expression: what evaluating it for one server costs at most.
pub const MAX_NODES: usize = 256;

/// A compiled expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Node,
    columns: Vec<Column>,
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFilter {
    /// Characters before the place.
    at: usize,
    what: String,
}

impl InvalidFilter {
    fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }

    /// The column of the place, counted from 1 in characters from the start of the expression.
    #[must_use]
    pub fn column(&self) -> usize {
        self.at + 1
    }
}

impl fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, column {}: {}", self.column(), self.what)
    }
}

impl std::error::Error for InvalidFilter {}

impl From<InvalidFilter> for Error {
    fn from(invalid: InvalidFilter) -> Self {
        Self::invalid("invalid_filter", invalid.to_string())
    }
}

impl Filter {
    /// Compiles `text`.
    ///
    /// # Errors
    /// [`InvalidFilter`] with the place of the first thing that is wrong.
    pub fn compile(text: &str) -> Result<Self, InvalidFilter> {
        let root = check::check(&parse::parse(text)?)?;
        let mut columns = Vec::new();
        root.visit_fields(&mut |field| columns.extend_from_slice(field.columns));
        columns.sort_unstable();
        columns.dedup();
        Ok(Self { root, columns })
    }

    /// What of a server has to be read to decide.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Where among [`Self::columns`] one stands.
    #[must_use]
    pub fn place(&self, column: Column) -> Option<usize> {
        self.columns.iter().position(|known| *known == column)
    }

    /// Whether `candidate` is to be listed at `now_us`. What is unknown does not match.
    #[must_use]
    pub fn matches(&self, candidate: &Candidate<'_>, now_us: i64) -> bool {
        evaluate::truth(&self.root, candidate, now_us) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (usize, String) {
        let invalid = Filter::compile(text).expect_err(text);
        (invalid.column(), invalid.what)
    }

    #[test]
    fn an_unknown_name_is_pointed_at_and_its_neighbour_named() {
        let (column, what) = refused("status == \"running\" && dokcer.version < version(\"24.0\")");
        assert_eq!(column, 24);
        assert!(what.contains("`dokcer.version`") && what.contains("did you mean `docker.version`?"), "{what}");
        let (column, what) = refused("nmae.startsWith(\"web-\")");
        assert!(column == 1 && what.contains("`name`"), "{what}");
        let (column, what) = refused("docker == \"x\"");
        assert!(column == 1 && what.contains("docker.version"), "{what}");
        let (column, what) = refused("has(disk.fre_gb)");
        assert!(column == 5 && what.contains("`disk.free_gb`"), "{what}");
        let (column, what) = refused("\"é\" == regoin");
        assert!(column == 8 && what.contains("`region`"), "columns count characters: {what}");
    }

    #[test]
    fn types_that_do_not_go_together_are_pointed_at() {
        for (text, column, word) in [
            ("docker.version < 24", 18, "version(\"…\")"),
            ("docker.version < \"24.0\"", 18, "version(\"…\")"),
            ("disk.free_gb < \"20\"", 16, "number"),
            ("name", 1, "text"),
            ("name && true", 1, "text"),
            ("!region", 2, "text"),
            ("region in \"a\"", 11, "list"),
            ("region in [\"a\", 5]", 17, "text"),
            ("name.startsWith(5)", 17, "text"),
            ("name.startsWith()", 6, "one"),
            ("disk.free_gb.startsWith(\"2\")", 14, "text"),
            ("cpu_cores + name > 2", 13, "number"),
            ("true ? 1 : \"a\"", 12, "number"),
            ("reboot_pending < true", 16, "order"),
            ("version(name) == docker.version", 9, "quoted"),
            ("version(\"not one\") == docker.version", 9, "version"),
            ("timestamp(\"yesterday\") < last_seen", 11, "RFC 3339"),
            ("duration(\"soon\") < now - last_seen", 10, "24h"),
            ("region == null", 11, "has"),
        ] {
            let (at, what) = refused(text);
            assert!(at == column && what.contains(word), "{text}: column {at}: {what}");
        }
    }

    #[test]
    fn what_is_not_offered_says_what_is() {
        for (text, column, word) in [
            ("name.matches(\"(a+)+$\")", 6, "startsWith"),
            ("ports.tcp.exists(p, p == 80)", 11, "in"),
            ("nmae.foo()", 6, "foo"),
            ("size(name, name) > 1", 1, "one"),
            ("lower(name) == \"a\"", 1, "function"),
            ("{\"a\": 1}", 1, "maps"),
            ("ports.tcp[0] == 80", 10, "index"),
        ] {
            let (at, what) = refused(text);
            assert!(at == column && what.contains(word), "{text}: column {at}: {what}");
        }
    }

    #[test]
    fn broken_expressions_say_where_they_break() {
        for (text, column) in [
            ("", 1),
            ("   ", 4),
            ("status ==", 10),
            ("status = \"running\"", 8),
            ("status == \"running", 11),
            ("(status == \"running\"", 21),
            ("status == \"running\")", 20),
            ("status == \"a\\q\"", 13),
            ("a ? b", 6),
            ("name.", 6),
            ("5 < 9999999999999999999", 5),
            ("§", 1),
            ("name & status", 6),
        ] {
            assert_eq!(refused(text).0, column, "{text}: {}", refused(text).1);
        }
    }

    #[test]
    fn bounds_hold() {
        assert!(refused(&"a".repeat(MAX_CHARACTERS + 1)).1.contains("2000"));
        for unit in ["(", "!", "-", "[", "has(", "true ? ", "name.size(", "{"] {
            let text = unit.repeat(MAX_CHARACTERS / unit.len());
            assert!(Filter::compile(&text).is_err(), "{unit}");
        }
        let many = vec!["true"; MAX_NODES].join("&&");
        assert!(refused(&many).1.contains("256"), "{}", refused(&many).1);
        let deep = format!("{}true{}", "(".repeat(MAX_NESTING - 1), ")".repeat(MAX_NESTING - 1));
        assert!(Filter::compile(&deep).is_ok());
        assert!(refused(&format!("({deep})")).1.contains("deep"));
    }

    #[test]
    fn only_what_is_asked_for_is_read() {
        let filter = Filter::compile("name.startsWith(\"web-\") && (status == \"running\" || status == \"error\")");
        assert_eq!(filter.expect("valid").columns(), [Column::Name, Column::Status]);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_compiler(text in "\\PC{0,80}") {
            let _ = Filter::compile(&text);
        }

        #[test]
        fn no_row_of_words_breaks_it_either(words in proptest::collection::vec(
            proptest::sample::select(vec!["name", "docker.version", "(", ")", "&&", "||", "!", "in", "[", "]", ",", "==",
                "<", "\"a\"", "5", "-", "+", "?", ":", ".", "has(", "version(", "true", "now", "duration(\"1h\")"]), 0..40)) {
            if let Ok(filter) = Filter::compile(&words.join(" ")) {
                let cells = vec![""; filter.columns().len()];
                let _ = filter.matches(&Candidate::new(filter.columns(), cells), 0);
            }
        }
    }
}
