//! Texts from outside that end in a host's dialogue or on a screen: parsed once, trusted afterwards.
//!
//! None starts with `-` (an option to some program), holds a control character, a NUL or a newline, or one of the
//! invisible characters that reorder what a person reads.

/// A text that is not acceptable, and what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidName {
    pub(crate) what: &'static str,
    pub(crate) rule: &'static str,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $rule:literal, $accepts:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::servers::InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if $accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err($crate::servers::InvalidName { what: $what, rule: $rule })
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
pub(crate) use names;

names! {
    /// A server's name, unique in its organisation.
    ServerName = "a server name",
        "1 to 100 printable characters that start with a letter or digit and don't end with a space", is_label_text;
    /// A provider or region, as its owner calls it; empty where nothing was said.
    #[derive(Default)]
    Label = "a label", "at most 100 printable characters that start with a letter or digit", is_optional_label_text;
    /// A host's DNS name, relative or absolute.
    HostName = "a host name", "letters, digits, hyphens, underscores and dots, at most 253 of them", is_host_name;
    /// A user on a host.
    Username = "a user name",
        "1 to 32 letters, digits and _ . - that start with a letter, digit or underscore", is_username;
    /// An SSH host key's SHA-256 fingerprint, as OpenSSH prints it.
    Fingerprint = "a host key fingerprint", "SHA256: and 43 characters of base64", is_fingerprint;
    /// A key pair's name, unique in its organisation.
    KeyPairName = "a key pair's name",
        "1 to 100 printable characters that start with a letter or digit and don't end with a space", is_label_text;
    /// A sentence about something; empty where nothing was said.
    #[derive(Default)]
    Description = "a description", "at most 500 printable characters", is_description;
    /// A caller's name for one creation, so that repeating the call creates nothing twice.
    IdempotencyKey = "an idempotency key", "1 to 200 visible ASCII characters", is_idempotency_key;
    /// A project's name.
    ProjectName = "a project name",
        "1 to 100 printable characters that start with a letter or digit and don't end with a space", is_label_text;
    /// A project's name in addresses, unique in its organisation.
    Slug = "a slug", "1 to 63 lower-case letters, digits and single hyphens between them", is_slug;
    /// An environment's name, unique in its project.
    EnvironmentName = "an environment name",
        "1 to 100 printable characters that start with a letter or digit and don't end with a space", is_label_text;
    /// A container's id or name, as Docker writes them.
    ContainerRef = "a container id",
        "1 to 128 letters, digits and _ . - that start with a letter or digit", is_container_ref;
}

pub(crate) fn is_label_text(text: &str) -> bool {
    text.chars().count() <= 100
        && text.chars().next().is_some_and(char::is_alphanumeric)
        && !text.ends_with(char::is_whitespace)
        && text.chars().all(is_shown)
}

fn is_optional_label_text(text: &str) -> bool {
    text.is_empty() || is_label_text(text)
}

fn is_description(text: &str) -> bool {
    text.chars().count() <= 500 && text.chars().all(is_shown)
}

/// Whether a character shows itself as what it is: no control, and none that turns or hides its neighbours.
fn is_shown(character: char) -> bool {
    let invisible = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !invisible
}

fn is_host_name(text: &str) -> bool {
    let relative = text.strip_suffix('.').unwrap_or(text);
    relative.len() <= 253
        && relative.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

fn is_username(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && !text.starts_with(['-', '.'])
}

fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:").is_some_and(|digits| {
        digits.len() == 43 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    })
}

fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

fn is_container_ref(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn is_idempotency_key(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_pass() {
        assert!("production-server-1".parse::<ServerName>().is_ok());
        assert!("Zürich 2".parse::<ServerName>().is_ok());
        assert!("".parse::<Label>().is_ok());
        assert!("server.example.com.".parse::<HostName>().is_ok());
        assert!("ubuntu".parse::<Username>().is_ok());
        assert!("SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg".parse::<Fingerprint>().is_ok());
    }

    #[test]
    fn slugs_are_parts_of_addresses() {
        assert!("ecommerce-shop".parse::<Slug>().is_ok());
        for text in ["", "-a", "a-", "a--b", "A", "a_b", "ä", &"a".repeat(64)] {
            assert!(text.parse::<Slug>().is_err(), "{text:?}");
        }
        assert!("odoo_prod_abc123".parse::<ContainerRef>().is_ok());
        assert!("-rm".parse::<ContainerRef>().is_err());
    }

    #[test]
    fn hostile_names_are_refused() {
        for text in ["", "-oProxyCommand=x", "a\nb", "a\0", "a b", "$(id)", "a..b", ";", "a/b", "\u{1b}[31m"] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
        for text in ["", "-l", "root;id", "a\n", "a b", "..", "a@b", &"a".repeat(33)] {
            assert!(text.parse::<Username>().is_err(), "{text:?}");
        }
        for text in ["", " a", "-a", "a\u{202e}b", "a\u{200b}", "a\n", "a ", &"a".repeat(101)] {
            assert!(text.parse::<ServerName>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_name_can_become_an_option_or_a_second_line(text in ".*") {
            let dangerous = text.starts_with('-') || text.chars().any(char::is_control);
            if dangerous {
                prop_assert!(text.parse::<HostName>().is_err());
                prop_assert!(text.parse::<Username>().is_err());
                prop_assert!(text.parse::<ServerName>().is_err());
                prop_assert!(text.parse::<Label>().is_err());
            }
        }
    }
}
