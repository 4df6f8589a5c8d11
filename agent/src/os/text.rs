//! Strings that come from outside: file contents, program output, names others chose.

/// Longest string taken over from outside, in bytes; the rest is cut at a character boundary.
pub const MAX_OUTSIDE_BYTES: usize = 1024;

/// `raw` without control and bidirectional-override characters, trimmed and cut to [`MAX_OUTSIDE_BYTES`]. A terminal
/// or a browser that shows the result can't be made to lie by it.
#[must_use]
pub fn clean(raw: &str) -> String {
    clean_to(raw, MAX_OUTSIDE_BYTES)
}

/// [`clean`], cut to `limit` bytes.
#[must_use]
pub fn clean_to(raw: &str, limit: usize) -> String {
    let mut cleaned = String::with_capacity(raw.len().min(limit));
    for character in raw.trim().chars().filter(|character| !misleads(*character)) {
        if cleaned.len() + character.len_utf8() > limit {
            break;
        }
        cleaned.push(character);
    }
    cleaned
}

/// [`clean`] for bytes that need not be UTF-8.
#[must_use]
pub fn clean_bytes(raw: &[u8]) -> String {
    clean(&String::from_utf8_lossy(raw))
}

fn misleads(character: char) -> bool {
    let bidirectional = matches!(character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let invisible = matches!(character, '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    character.is_control() || bidirectional || invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mislead_a_reader_is_removed() {
        assert_eq!(clean(" Debian\u{1b}[31m \u{202e}12\u{0} "), "Debian[31m 12");
        assert_eq!(clean("caf\u{e9}"), "caf\u{e9}");
    }

    #[test]
    fn long_strings_are_cut_between_characters() {
        let cleaned = clean(&"é".repeat(MAX_OUTSIDE_BYTES));
        assert_eq!(cleaned.len(), MAX_OUTSIDE_BYTES);
        assert_eq!(clean_to("aé", 2), "a");
    }
}
