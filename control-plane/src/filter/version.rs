//! Versions: runs of digits compare as numbers, the rest as Debian compares it.
//!
//! `1.9 < 1.10`, `24.0 == 24`, `24.0.7~rc1 < 24.0.7`, and `27.0.0-rc.1 < 27.0.0`, because a hyphen before `alpha`,
//! `beta`, `dev`, `pre` or `rc` says what a tilde says.

use std::cmp::Ordering;

/// Words of versions that come before the version they stand at.
const EARLIER: [&str; 5] = ["alpha", "beta", "dev", "pre", "rc"];

/// Whether `text` can be a version: it begins with a digit, or with a letter `v` and a digit.
pub(super) fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~:_".contains(c))
}

/// How one version stands to another.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, a) = parts(a);
    let (epoch_b, b) = parts(b);
    epoch_a.cmp(&epoch_b).then_with(|| numbers(a.0, b.0)).then_with(|| rest(a.1, b.1))
}

/// The epoch, and the version cut where its dotted numbers end.
fn parts(version: &str) -> (u64, (&str, &str)) {
    let version = version.strip_prefix('v').unwrap_or(version);
    let (epoch, version) = match version.split_once(':') {
        Some((epoch, version)) => (epoch.parse().unwrap_or(0), version),
        None => (0, version),
    };
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    (epoch, version.split_at(end))
}

/// Dotted numbers; what is missing at the end is zero.
fn numbers(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => match digits(a.unwrap_or_default(), b.unwrap_or_default()) {
                Ordering::Equal => {}
                decided => return decided,
            },
        }
    }
}

/// Numbers of any length, without their leading zeros.
fn digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn rest(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() || !b.is_empty() {
        let (words_a, digits_a, rest_a) = piece(a);
        let (words_b, digits_b, rest_b) = piece(b);
        let order = words(words_a, words_b).then_with(|| digits(digits_a, digits_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// What is no digit, the digits after it, and what follows.
fn piece(text: &str) -> (&str, &str, &str) {
    let (words, rest) = text.split_at(text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len()));
    let (digits, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    (words, digits, rest)
}

/// A tilde comes before the end, the end before letters, letters before everything else.
fn words(a: &str, b: &str) -> Ordering {
    let rank = |text: &str, at: usize| match text[at..].chars().next() {
        Some('~') => -1,
        Some('-') if EARLIER.iter().any(|word| text[at + 1..].starts_with(word)) => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => letter as i32,
        Some(other) => other as i32 + 256,
    };
    let (mut at_a, mut at_b) = (0, 0);
    while at_a < a.len() || at_b < b.len() {
        let order = rank(a, at_a).cmp(&rank(b, at_b));
        if order != Ordering::Equal {
            return order;
        }
        let width = |text: &str, at: usize| text[at..].chars().next().map_or(0, char::len_utf8);
        (at_a, at_b) = (at_a + width(a, at_a), at_b + width(b, at_b));
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_stand_in_their_order() {
        let ascending = [
            "0.9",
            "1.0~rc1",
            "1.0",
            "1.9",
            "1.10",
            "2",
            "19.03.9",
            "20.10.5",
            "20.10.5+dfsg1",
            "24.0.0-rc.1",
            "24.0.0-rc.2",
            "24.0",
            "24.0.7~beta1",
            "24.0.7",
            "24.0.7-1",
            "24.0.10",
            "27.0.0-dev",
            "27.0.0",
            "1:1.0",
        ];
        for (index, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), index.cmp(&other), "{a} and {b}");
            }
        }
    }

    #[test]
    fn zeros_at_the_end_and_a_v_before_say_nothing() {
        for (a, b) in [("24", "24.0.0"), ("v1.2", "1.2"), ("1.02", "1.2"), ("0:1", "1"), ("20.10.0+x", "20.10+x")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} and {b}");
        }
    }

    #[test]
    fn a_version_begins_with_a_number() {
        assert!(["24.0", "v1.2", "1:2.3-4~bpo+1"].iter().all(|text| is_version(text)));
        assert!(["", "v", "latest", "1 2", "1;2", "é1"].iter().all(|text| !is_version(text)));
    }

    proptest! {
        #[test]
        fn the_order_is_one(a in "[0-9a-z.~+:é-]{0,8}", b in "[0-9a-z.~+:é-]{0,8}", c in "[0-9a-z.~+:é-]{0,8}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }
    }
}
