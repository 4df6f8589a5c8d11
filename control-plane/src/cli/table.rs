//! Drawing for people. Whatever a host said of itself loses its control characters first, so that no host can write
//! to an admin's terminal.

use comfy_table::{ContentArrangement, Table};

use crate::api::model::time::Time;

/// A table with a header and without lines.
#[must_use]
pub(super) fn draw(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    trim_lines(&table.to_string())
}

/// Names and values, one pair a line; empty values are left out.
#[must_use]
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = pairs.iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{name:width$}  {}\n", printable(value))).collect()
}

/// `-` for what is absent.
#[must_use]
pub(super) fn or_dash(value: Option<&str>) -> String {
    value.filter(|value| !value.is_empty()).unwrap_or("-").to_owned()
}

/// How long ago, in the largest whole unit.
#[must_use]
pub(super) fn ago(time: Option<Time>, now_us: i64) -> String {
    let Some(time) = time else { return "never".to_owned() };
    let seconds = now_us.saturating_sub(time.0) / 1_000_000;
    match seconds {
        ..=0 => "now".to_owned(),
        1..=119 => format!("{seconds}s ago"),
        120..=7_199 => format!("{}m ago", seconds / 60),
        7_200..=172_799 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// `text` without control characters and without the marks that reverse reading direction.
#[must_use]
pub(super) fn printable(text: &str) -> String {
    let hostile = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if hostile(character) { '\u{fffd}' } else { character }).collect()
}

/// Without the space that every line begins with, and without what follows the last word.
fn trim_lines(text: &str) -> String {
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_cannot_write_to_the_terminal() {
        assert_eq!(printable("web\u{1b}[2J\u{202e}1"), "web\u{fffd}[2J\u{fffd}1");
    }

    #[test]
    fn an_empty_first_cell_keeps_its_place() {
        let rows = vec![vec![String::new(), "lab".to_owned()], vec!["*".to_owned(), "fleet".to_owned()]];
        assert_eq!(draw(&["CURRENT", "NAME"], rows), "CURRENT  NAME\n         lab\n*        fleet\n");
    }

    #[test]
    fn ages_are_told_in_the_largest_whole_unit() {
        let now_us = 1_000_000_000_000;
        let before = |seconds: i64| ago(Some(Time(now_us - seconds * 1_000_000)), now_us);
        assert_eq!(before(0), "now");
        assert_eq!(before(-5), "now");
        assert_eq!(before(119), "119s ago");
        assert_eq!(before(120), "2m ago");
        assert_eq!(before(172_800), "2d ago");
        assert_eq!(ago(None, now_us), "never");
    }
}
