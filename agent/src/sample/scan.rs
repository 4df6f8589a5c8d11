//! Taking numbers out of the kernel's text files, without allocation.

/// The lines of a file, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line, separated by blanks or tabs.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// A word as a whole number; digits up to the first other byte count. The kernel's largest unsigned values do not
/// fit and become `i64::MAX`.
pub(super) fn number(word: &[u8]) -> Option<i64> {
    let (negative, digits) = match word.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, word),
    };
    let mut value: i64 = 0;
    let mut any = false;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        any = true;
        value = value.saturating_mul(10).saturating_add(i64::from(digit));
    }
    any.then_some(if negative { -value } else { value })
}

/// A word like `0.25` as hundredths.
pub(super) fn hundredths(word: &[u8]) -> Option<i64> {
    let whole = number(word)?;
    let fraction = word.iter().position(|byte| *byte == b'.').map_or(&[][..], |point| &word[point + 1..]);
    let digit =
        |at: usize| fraction.get(at).filter(|byte| byte.is_ascii_digit()).map_or(0, |byte| i64::from(byte - b'0'));
    Some(whole.saturating_mul(100).saturating_add(digit(0) * 10 + digit(1)))
}

/// The value after `key=` in a line of such pairs.
pub(super) fn pair<'t>(line: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    words(line).find_map(|word| word.strip_prefix(key)?.strip_prefix(b"="))
}

/// The number on the line that starts with `key` and a separator.
pub(super) fn keyed(text: &[u8], key: &[u8]) -> Option<i64> {
    let line = lines(text)
        .find(|line| line.strip_prefix(key).is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\t' | b':'))))?;
    number(words(&line[key.len() + 1..]).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_all_their_forms() {
        assert_eq!(number(b"42"), Some(42));
        assert_eq!(number(b"-7kB"), Some(-7));
        assert_eq!(number(b"18446744073709551615"), Some(i64::MAX));
        assert_eq!((number(b""), number(b"max")), (None, None));
        assert_eq!((hundredths(b"1.5"), hundredths(b"12.345"), hundredths(b"3")), (Some(150), Some(1234), Some(300)));
    }

    #[test]
    fn keys_are_matched_whole() {
        let text = b"anon 1\nanon_thp 2\nHugetlb:  3 kB\n";
        assert_eq!((keyed(text, b"anon"), keyed(text, b"Hugetlb"), keyed(text, b"ano")), (Some(1), Some(3), None));
        assert_eq!(pair(b"some avg10=0.00 total=77", b"total"), Some(&b"77"[..]));
    }
}
