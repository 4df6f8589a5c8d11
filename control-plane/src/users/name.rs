//! What users are called and where mail reaches them.

use std::{fmt, str::FromStr};

use crate::servers::{InvalidName, names};

/// Longest e-mail address (RFC 5321, 4.5.3.1).
pub const MAX_EMAIL_BYTES: usize = 254;
/// Longest user name.
pub const MAX_USER_NAME_BYTES: usize = 64;

names! {
    /// A user's name, unique on the control plane: what they sign in with.
    UserName = "a user name",
        "1 to 64 lower-case letters, digits and . _ @ + - that start with a letter or digit", is_user_name;
}

/// An e-mail address in lower case, unique on the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl FromStr for Email {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = InvalidName { what: "an e-mail address", rule: "name@host in ASCII, at most 254 characters" };
        let text = text.to_ascii_lowercase();
        let Some((local, host)) = text.rsplit_once('@') else { return Err(invalid) };
        let is_local = (1..=64).contains(&local.len())
            && local.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte));
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if is_local && text.len() <= MAX_EMAIL_BYTES && host.split('.').all(is_label) {
            Ok(Self(text))
        } else {
            Err(invalid)
        }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_user_name(text: &str) -> bool {
    (1..=MAX_USER_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._@+-".contains(&byte))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass_and_hostile_ones_do_not() {
        for text in ["owner", "ada.lovelace", "ada@example.com", "0day"] {
            assert!(text.parse::<UserName>().is_ok(), "{text}");
        }
        for text in ["", "Ada", "-a", "a b", "a\n", ".a", "ädä", &"a".repeat(65)] {
            assert!(text.parse::<UserName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_kept_in_lower_case() {
        assert_eq!("Ada@Example.COM".parse::<Email>().expect("an address").to_string(), "ada@example.com");
        for text in ["", "ada", "@x", "a@", "a b@x", "a@x..y", "a@-x", "a@x\n", &format!("{}@x", "a".repeat(65))] {
            assert!(text.parse::<Email>().is_err(), "{text:?}");
        }
    }
}
