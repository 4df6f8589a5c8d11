//! The arguments of changes. What can't be one of these never reaches a host's engine, let alone a program.

use std::{fmt, net::IpAddr, num::NonZeroU16, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Longest user name, in bytes: what `useradd` takes.
pub const MAX_USER_BYTES: usize = 32;
/// Longest unit name, in bytes: systemd's own limit.
pub const MAX_UNIT_BYTES: usize = 255;
/// Longest public key line, in bytes: RSA of 16,384 bits and its comment.
pub const MAX_KEY_BYTES: usize = 4096;
/// Longest comment kept with a public key, in bytes.
pub const MAX_COMMENT_BYTES: usize = 128;

/// An argument that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArgument {
    #[error(
        "a user's name is 1 to {MAX_USER_BYTES} letters, digits, dots, underscores and hyphens, and starts with a letter or an underscore"
    )]
    User,
    #[error("a unit's name is 1 to {MAX_UNIT_BYTES} letters, digits and :_.@- and starts with a letter or a digit")]
    Unit,
    #[error("a port is a number from 1 to 65535")]
    Port,
    #[error("a network is an address, a slash and a prefix, without bits beyond the prefix")]
    Network,
    #[error(
        "a public key is one line of OpenSSH's: its type, its base64 and at most a short printable comment; neither options nor DSA"
    )]
    Key,
    #[error("{0} is out of range")]
    Range(&'static str),
    #[error("{0} holds more entries than it may")]
    TooMany(&'static str),
    #[error("the change names no item that this version knows")]
    UnknownItem,
    #[error("the change has no mode that this version knows")]
    UnknownMode,
}

macro_rules! text_argument {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidArgument;

            fn try_from(text: String) -> Result<Self, InvalidArgument> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(argument: $name) -> Self {
                argument.0
            }
        }
    };
}

/// The name of a user of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);
text_argument!(UserName);

impl FromStr for UserName {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Self, InvalidArgument> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if starts && goes_on && text.len() <= MAX_USER_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidArgument::User)
        }
    }
}

/// The name of a service or socket, as the host's init system has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);
text_argument!(UnitName);

impl FromStr for UnitName {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Self, InvalidArgument> {
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let goes_on = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.@-".contains(&byte));
        if starts && goes_on && text.len() <= MAX_UNIT_BYTES && !text.contains("..") {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidArgument::Unit)
        }
    }
}

/// A TCP or UDP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(NonZeroU16);

impl Port {
    /// Where SSH listens unless told otherwise.
    pub const SSH: Self = Self::of(22);
    pub const HTTP: Self = Self::of(80);
    pub const HTTPS: Self = Self::of(443);

    const fn of(number: u16) -> Self {
        match NonZeroU16::new(number) {
            Some(number) => Self(number),
            None => Self(NonZeroU16::MIN),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u16> for Port {
    type Error = InvalidArgument;

    fn try_from(number: u16) -> Result<Self, InvalidArgument> {
        NonZeroU16::new(number).map(Self).ok_or(InvalidArgument::Port)
    }
}

impl TryFrom<u32> for Port {
    type Error = InvalidArgument;

    fn try_from(number: u32) -> Result<Self, InvalidArgument> {
        u16::try_from(number).map_err(|_| InvalidArgument::Port)?.try_into()
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A network of addresses, IPv4 or IPv6. An address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Its first address.
    #[must_use]
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// How many leading bits its addresses have in common.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether `address` is in it. An IPv4 address mapped into IPv6 counts as what it stands for.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()) & mask_v4(self.prefix) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()) & mask_v6(self.prefix) == 0
            }
            _ => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Self, InvalidArgument> {
        let (network, prefix) = text.split_once('/').map_or((text, None), |(network, prefix)| (network, Some(prefix)));
        let network: IpAddr = network.parse().map_err(|_| InvalidArgument::Network)?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| InvalidArgument::Network)?
            }
            Some(_) => return Err(InvalidArgument::Network),
        };
        let beyond = match network {
            _ if prefix > bits => return Err(InvalidArgument::Network),
            IpAddr::V4(address) => u128::from(address.to_bits() & !mask_v4(prefix)),
            IpAddr::V6(address) => address.to_bits() & !mask_v6(prefix),
        };
        if beyond == 0 { Ok(Self { network, prefix }) } else { Err(InvalidArgument::Network) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidArgument;

    fn try_from(text: String) -> Result<Self, InvalidArgument> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(network: Cidr) -> Self {
        network.to_string()
    }
}

/// A public key as a line of `authorized_keys`, without options.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);
text_argument!(PublicKey);

/// What sshd still takes.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl PublicKey {
    /// Type and base64, without the comment: two lines with the same body are the same key.
    #[must_use]
    pub fn body(&self) -> &str {
        self.0.match_indices(' ').nth(1).map_or(self.as_str(), |(comment, _)| &self.0[..comment])
    }
}

impl FromStr for PublicKey {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Self, InvalidArgument> {
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if text.len() > MAX_KEY_BYTES || !text.bytes().all(printable) {
            return Err(InvalidArgument::Key);
        }
        let mut words = text.splitn(3, ' ');
        let (kind, blob) = words.next().zip(words.next()).ok_or(InvalidArgument::Key)?;
        let comment = words.next();
        let bytes = STANDARD.decode(blob).map_err(|_| InvalidArgument::Key)?;
        let named = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = u32::from_be_bytes(*length) as usize;
            Some((rest.get(..length)?, rest.get(length..)?))
        });
        let is_key = named.is_some_and(|(name, rest)| name == kind.as_bytes() && !rest.is_empty());
        let is_short = comment.is_none_or(|comment| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" @._:+=/,()#-".contains(&byte);
            (1..=MAX_COMMENT_BYTES).contains(&comment.len()) && comment.trim() == comment && comment.bytes().all(plain)
        });
        if KEY_TYPES.contains(&kind) && is_key && is_short {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidArgument::Key)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn names_are_what_hosts_take() {
        for name in ["root", "deploy", "_apt", "web.1", "a-b", "Admin"] {
            assert_eq!(name.parse::<UserName>().expect(name).as_str(), name);
        }
        for name in ["docker.service", "getty@tty1.service", "ssh.socket", "sshd", "0day"] {
            name.parse::<UnitName>().expect(name);
        }
    }

    #[test]
    fn hostile_words_are_none() {
        let long = "a".repeat(1 << 20);
        let hostile = [
            "",
            "-oProxyCommand=touch",
            "--help",
            "$(touch /c)",
            "`id`",
            "a b",
            "a\nb",
            "a\0",
            "a;b",
            "../x",
            "a/b",
            "ü",
            "a\r",
            "%x",
            "a=b",
            "*",
            "a'b",
            "a\"b",
            "\u{202e}a",
            long.as_str(),
        ];
        for text in hostile {
            assert!(text.parse::<UserName>().is_err(), "{text:?}");
            assert!(text.parse::<UnitName>().is_err(), "{text:?}");
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
            assert!(text.parse::<PublicKey>().is_err(), "{text:?}");
            assert!(format!("{KEY}\n{text}").parse::<PublicKey>().is_err(), "{text:?}");
            assert!(format!("command=\"{text}\" {KEY}").parse::<PublicKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn networks_have_no_bits_beyond_their_prefix() {
        for (text, shown) in [
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("10.0.0.7", "10.0.0.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Cidr>().expect(text).to_string(), shown);
        }
        for text in [
            "10.0.0.7/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08x",
            "host/8",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(InvalidArgument::Network), "{text}");
        }
        let office: Cidr = "203.0.113.0/24".parse().expect("a network");
        let inside = |text: &str| office.contains(text.parse().expect("an address"));
        assert!(
            inside("203.0.113.9") && inside("::ffff:203.0.113.9") && !inside("203.0.114.1") && !inside("2001:db8::1")
        );
    }

    #[test]
    fn keys_say_what_they_are() {
        let named: PublicKey = format!("{KEY} muster-server@host").parse().expect("a key");
        assert_eq!(named.body(), KEY);
        assert_eq!(KEY.parse::<PublicKey>().expect("a key").body(), KEY);
        let mismatch = KEY.replacen("ssh-ed25519", "ssh-rsa", 1);
        let wrong =
            [mismatch.as_str(), "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3MAAAAA", "ssh-ed25519  x"];
        for text in wrong {
            assert_eq!(text.parse::<PublicKey>(), Err(InvalidArgument::Key), "{text}");
        }
        assert_eq!(format!("{KEY} ").parse::<PublicKey>(), Err(InvalidArgument::Key));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_harmless(text in any::<String>()) {
            let taken = [
                text.parse::<UserName>().ok().map(String::from),
                text.parse::<UnitName>().ok().map(String::from),
                text.parse::<Cidr>().ok().map(String::from),
                text.parse::<PublicKey>().ok().map(String::from),
            ];
            for text in taken.into_iter().flatten() {
                prop_assert!(!text.is_empty() && !text.starts_with('-') && text.len() <= MAX_KEY_BYTES);
                prop_assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
                prop_assert!(!text.contains(['$', '`', ';', '|', '&', '<', '>', '\\']));
            }
        }
    }
}
