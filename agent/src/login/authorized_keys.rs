//! Lines of `authorized_keys`: which key a line is about, and the file with a line more or less. Pure; what stands
//! there otherwise stays as it is, byte for byte.

use std::{fmt, str::FromStr};

/// Longest public key taken, in characters: an RSA key of 16,384 bits needs about 2,800.
pub(super) const MAX_KEY_CHARS: usize = 8192;
/// Longest comment taken, in characters.
const MAX_COMMENT_CHARS: usize = 300;
/// Kinds of keys that sshd lets in by a plain line.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A public key: kind, base64 and what it calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    kind: String,
    blob: String,
    comment: String,
}

/// A text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a public key is its kind, its base64 and at most a printable comment, on one line")]
pub(super) struct NotAKey;

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut parts = text.splitn(3, ' ');
        let (kind, blob) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let comment = parts.next().unwrap_or_default();
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let sound = KINDS.contains(&kind)
            && (16..=MAX_KEY_CHARS).contains(&blob.len())
            && blob.chars().all(is_base64)
            && comment.chars().count() <= MAX_COMMENT_CHARS
            && !comment.chars().any(char::is_control);
        let owned = || Self { kind: kind.to_owned(), blob: blob.to_owned(), comment: comment.trim().to_owned() };
        sound.then(owned).ok_or(NotAKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.blob)?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

/// A line that holds a key, and the options before it.
struct Entry<'a> {
    options: &'a [u8],
    kind: &'a [u8],
    blob: &'a [u8],
}

impl Entry<'_> {
    fn is_of(&self, key: &PublicKey) -> bool {
        self.kind == key.kind.as_bytes() && self.blob == key.blob.as_bytes()
    }
}

/// The file with `key` let in, at its end; `None` where a plain line lets it in already. With `like`, the options of
/// that key's first line are the new line's, so that what an owner restricted stays restricted.
#[must_use]
pub(super) fn with_key(file: &[u8], key: &PublicKey, like: Option<&PublicKey>) -> Option<Vec<u8>> {
    let entries = || file.split(|byte| *byte == b'\n').filter_map(entry);
    let options = like.and_then(|like| entries().find(|entry| entry.is_of(like))).map_or(&[][..], |it| it.options);
    if entries().any(|entry| entry.is_of(key) && entry.options == options) {
        return None;
    }
    let mut file = file.to_vec();
    if !file.is_empty() && !file.ends_with(b"\n") {
        file.push(b'\n');
    }
    if !options.is_empty() {
        file.extend_from_slice(options);
        file.push(b' ');
    }
    file.extend_from_slice(key.to_string().as_bytes());
    file.push(b'\n');
    Some(file)
}

/// The file without any line of `key`, whatever its options; `None` where there is none.
#[must_use]
pub(super) fn without_key(file: &[u8], key: &PublicKey) -> Option<Vec<u8>> {
    let kept: Vec<u8> = file
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !entry(line).is_some_and(|entry| entry.is_of(key)))
        .flatten()
        .copied()
        .collect();
    (kept.len() != file.len()).then_some(kept)
}

/// Reads a line as sshd does: a key, or options and then a key. Blanks within quotes belong to the options.
fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    if let Some((kind, blob)) = key_at(line) {
        return Some(Entry { options: b"", kind, blob });
    }
    let mut quoted = false;
    let mut escaped = false;
    let end = line.iter().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' if quoted => {
            escaped = true;
            false
        }
        b'"' => {
            quoted = !quoted;
            false
        }
        b' ' | b'\t' => !quoted,
        _ => false,
    })?;
    let (options, rest) = line.split_at(end);
    let (kind, blob) = key_at(rest.trim_ascii_start())?;
    Some(Entry { options, kind, blob })
}

fn key_at(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let (kind, blob) = (words.next()?, words.next()?);
    KINDS.iter().any(|known| known.as_bytes() == kind).then_some((kind, blob))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHfF/052wlH2ADHMrbax1lgw6Yb1Vqzs4k5fZBtqTzu old@host";
    const NEW: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIJzAaDgVgNJ6ynQHJdc4Zp9fIOpDeSXdf8Vg0Rr8Y1c new@host";

    fn key(text: &str) -> PublicKey {
        text.parse().expect("a key")
    }

    #[test]
    fn a_key_is_added_once_and_the_rest_stays() {
        let file = format!("# mine\r\n{OLD}\né no key");
        let added = with_key(file.as_bytes(), &key(NEW), None).expect("added");
        assert_eq!(String::from_utf8_lossy(&added), format!("{file}\n{NEW}\n"));
        assert_eq!(with_key(&added, &key(NEW), None), None);
        assert_eq!(with_key(&added, &key(&NEW.replace("new@host", "other")), None), None, "a comment makes no key");
        assert_eq!(with_key(b"", &key(NEW), None).expect("added"), format!("{NEW}\n").into_bytes());
    }

    #[test]
    fn every_line_of_a_key_goes_whatever_its_options() {
        let restricted = format!("from=\"10.0.0.0/8\",command=\"echo \\\" hi\" {OLD}\n");
        let commented = format!("#{OLD}\n");
        let file = format!("{NEW}\n{restricted}{commented}\t{OLD}");
        let left = without_key(file.as_bytes(), &key(OLD)).expect("removed");
        assert_eq!(String::from_utf8_lossy(&left), format!("{NEW}\n{commented}"));
        assert_eq!(without_key(&left, &key(OLD)), None);
    }

    #[test]
    fn options_are_taken_over_from_the_key_before() {
        let file = format!("no-pty,from=\"10.0.0.1, 10.0.0.2\" {OLD}\n");
        let added = with_key(file.as_bytes(), &key(NEW), Some(&key(OLD))).expect("added");
        assert_eq!(String::from_utf8_lossy(&added), format!("{file}no-pty,from=\"10.0.0.1, 10.0.0.2\" {NEW}\n"));
        assert_eq!(with_key(&added, &key(NEW), Some(&key(OLD))), None);
        assert!(with_key(&added, &key(NEW), None).is_some(), "a restricted line is no plain one");
    }

    #[test]
    fn hostile_texts_are_no_keys() {
        let blob = "AAAAC3NzaC1lZDI1NTE5AAAAIGHfF";
        for text in [
            String::new(),
            "ssh-ed25519".to_owned(),
            format!("ssh-ed25519 {blob}\nssh-ed25519 {blob}"),
            format!("ssh-ed25519 {blob} x\ny"),
            format!("ssh-ed25519 {blob} \u{0}"),
            format!("ssh-ed25519 $(touch x){blob}"),
            format!("ssh-dss {blob}"),
            format!("command=\"x\" ssh-ed25519 {blob}"),
            format!("-oProxyCommand=x {blob}"),
            format!("ssh-ed25519 {}", "A".repeat(MAX_KEY_CHARS + 1)),
            format!("ssh-ed25519 {blob} {}", "c".repeat(1 << 20)),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(NotAKey), "{}", text.chars().take(60).collect::<String>());
        }
    }

    proptest! {
        #[test]
        fn adding_and_removing_leaves_what_was_there(file in prop::collection::vec(any::<u8>(), 0..400)) {
            let key = key(NEW);
            if let Some(added) = with_key(&file, &key, None) {
                let mut expected = file.clone();
                if !file.is_empty() && !file.ends_with(b"\n") {
                    expected.push(b'\n');
                }
                prop_assert_eq!(without_key(&added, &key).expect("there"), expected);
            }
        }
    }
}
