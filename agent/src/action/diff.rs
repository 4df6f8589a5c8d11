//! Differences between two texts, for people to read.

use muster_shared::action::report::MAX_DIFF_BYTES;

/// Lines shown around a change.
const CONTEXT: usize = 2;

/// The lines that go and come between two texts, with a little of what stays; empty where they are the same.
#[must_use]
pub fn lines(before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let room = old.len().min(new.len()) - same;
    let tail = old.iter().rev().zip(new.iter().rev()).take(room).take_while(|(old, new)| old == new).count();
    let mut out = String::new();
    let mut put = |sign: char, line: &str| {
        out.push(sign);
        out.push_str(line);
        out.push('\n');
    };
    for line in &old[same.saturating_sub(CONTEXT)..same] {
        put(' ', line);
    }
    for line in &old[same..old.len() - tail] {
        put('-', line);
    }
    for line in &new[same..new.len() - tail] {
        put('+', line);
    }
    for line in old[old.len() - tail..].iter().take(CONTEXT) {
        put(' ', line);
    }
    if out.len() > MAX_DIFF_BYTES {
        out.truncate(out.floor_char_boundary(MAX_DIFF_BYTES));
        out.push_str("\n… (cut)\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_and_its_surroundings_are_shown() {
        let before = "a\nb\nc\nd\ne\nf\n";
        assert_eq!(lines(before, before), "");
        assert_eq!(lines(before, "a\nb\nc\nX\ne\nf\n"), " b\n c\n-d\n+X\n e\n f\n");
        assert_eq!(lines("", "new\n"), "+new\n");
        assert_eq!(lines("gone\n", ""), "-gone\n");
        assert_eq!(lines("a\n", "a\na\n"), " a\n+a\n");
        assert!(lines("", &"x\n".repeat(MAX_DIFF_BYTES)).ends_with("… (cut)\n"));
    }
}
