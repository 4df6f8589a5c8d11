//! How to reach a server over SSH.

use std::net::{Ipv4Addr, Ipv6Addr};

use muster_shared::id::SshKeyPairId;
use secrecy::SecretString;

use super::{
    names::{Fingerprint, HostName, Username},
    status::{AddressChoice, AuthMethod, SudoMode},
};

/// The port sshd listens on unless its owner says otherwise.
pub const DEFAULT_SSH_PORT: u16 = 22;

/// Where a server can be found, and which of its addresses to dial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub fqdn: Option<HostName>,
    pub hostname: Option<HostName>,
    pub choice: AddressChoice,
}

impl Addresses {
    /// The address to dial; `None` when the chosen one is not there. Auto takes the first there is of FQDN, IPv4,
    /// IPv6 and host name.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let ipv4 = || self.ipv4.map(|address| address.to_string());
        let ipv6 = || self.ipv6.map(|address| address.to_string());
        let fqdn = || self.fqdn.as_ref().map(ToString::to_string);
        let hostname = || self.hostname.as_ref().map(ToString::to_string);
        match self.choice {
            AddressChoice::Auto => fqdn().or_else(ipv4).or_else(ipv6).or_else(hostname),
            AddressChoice::Ipv4 => ipv4(),
            AddressChoice::Ipv6 => ipv6(),
            AddressChoice::Fqdn => fqdn(),
            AddressChoice::Hostname => hostname(),
        }
    }
}

/// The proof of who we are. Never shown, never logged.
#[derive(Debug, Clone)]
pub enum SshAuth {
    Password(SecretString),
    Key {
        /// OpenSSH, PKCS#1 or PKCS#8, PEM.
        private_key: SecretString,
        passphrase: Option<SecretString>,
        /// What sudo asks a user who logs in with a key.
        sudo_password: Option<SecretString>,
    },
}

impl SshAuth {
    /// Which kind of proof it is.
    #[must_use]
    pub fn method(&self) -> AuthMethod {
        match self {
            Self::Password(_) => AuthMethod::Password,
            Self::Key { .. } => AuthMethod::SshKey,
        }
    }

    /// What to answer when sudo asks: the login's password, or the one given beside a key.
    #[must_use]
    pub fn sudo_password(&self) -> Option<&SecretString> {
        match self {
            Self::Password(password) => Some(password),
            Self::Key { sudo_password, .. } => sudo_password.as_ref(),
        }
    }
}

/// The login a caller chooses: secrets of the server's own, or one of the organisation's key pairs.
#[derive(Debug, Clone)]
pub enum SshLogin {
    Own(SshAuth),
    KeyPair {
        id: SshKeyPairId,
        /// What sudo asks a user who logs in with a key.
        sudo_password: Option<SecretString>,
    },
}

impl SshLogin {
    /// Which kind of proof it is.
    #[must_use]
    pub fn method(&self) -> AuthMethod {
        match self {
            Self::Own(auth) => auth.method(),
            Self::KeyPair { .. } => AuthMethod::SshKey,
        }
    }

    /// The key pair it refers to.
    #[must_use]
    pub fn key_pair(&self) -> Option<SshKeyPairId> {
        match self {
            Self::Own(_) => None,
            Self::KeyPair { id, .. } => Some(*id),
        }
    }

    /// What to answer when sudo asks a user who logs in with a key.
    pub(super) fn sudo_password_mut(&mut self) -> Option<&mut Option<SecretString>> {
        match self {
            Self::Own(SshAuth::Password(_)) => None,
            Self::Own(SshAuth::Key { sudo_password, .. }) | Self::KeyPair { sudo_password, .. } => Some(sudo_password),
        }
    }
}

impl From<SshAuth> for SshLogin {
    fn from(auth: SshAuth) -> Self {
        Self::Own(auth)
    }
}

/// Everything needed to connect to a host, as a caller gives it.
#[derive(Debug, Clone)]
pub struct Connection {
    pub addresses: Addresses,
    pub port: u16,
    pub username: Username,
    pub auth: SshLogin,
    pub sudo_mode: SudoMode,
    /// The only host key to accept; without one, the first seen is recorded.
    pub host_key: Option<Fingerprint>,
}

/// The non-secret part of a [`Connection`], as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAccount {
    pub port: u16,
    pub username: Username,
    pub auth_method: AuthMethod,
    pub sudo_mode: SudoMode,
}

/// A host to connect to, with its secrets open. Made for one connection, then dropped.
#[derive(Debug, Clone)]
pub struct SshTarget {
    /// An IP address or a host name.
    pub host: String,
    pub port: u16,
    pub username: Username,
    pub auth: SshAuth,
    pub sudo_mode: SudoMode,
    /// The only host key to accept; `None` on first contact.
    pub host_key: Option<Fingerprint>,
}

impl Connection {
    /// The host to connect to with `auth`, which is its login opened; `None` when the chosen address is not there.
    #[must_use]
    pub fn target(&self, auth: SshAuth) -> Option<SshTarget> {
        Some(SshTarget {
            host: self.addresses.host()?,
            port: self.port,
            username: self.username.clone(),
            auth,
            sudo_mode: self.sudo_mode,
            host_key: self.host_key.clone(),
        })
    }
}

/// Changes to a [`Connection`]; `None` leaves a field as it is, `Some(None)` empties it.
#[derive(Debug, Clone, Default)]
pub struct ConnectionPatch {
    pub ipv4: Option<Option<Ipv4Addr>>,
    pub ipv6: Option<Option<Ipv6Addr>>,
    pub fqdn: Option<Option<HostName>>,
    pub hostname: Option<Option<HostName>>,
    pub choice: Option<AddressChoice>,
    pub port: Option<u16>,
    pub username: Option<Username>,
    pub auth: Option<SshLogin>,
    pub sudo_mode: Option<SudoMode>,
    pub host_key: Option<Option<Fingerprint>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_prefers_fqdn_then_ipv4_then_ipv6_then_hostname() {
        let mut addresses = Addresses {
            ipv4: Some(Ipv4Addr::new(203, 0, 113, 10)),
            ipv6: "2001:db8::1".parse().ok(),
            fqdn: "server.example.com".parse().ok(),
            hostname: "production-1".parse().ok(),
            choice: AddressChoice::Auto,
        };
        let host = |addresses: &Addresses| addresses.host().unwrap_or_default();
        assert_eq!(host(&addresses), "server.example.com");
        addresses.fqdn = None;
        assert_eq!(host(&addresses), "203.0.113.10");
        addresses.ipv4 = None;
        assert_eq!(host(&addresses), "2001:db8::1");
        addresses.ipv6 = None;
        assert_eq!(host(&addresses), "production-1");
        addresses.choice = AddressChoice::Fqdn;
        assert_eq!(addresses.host(), None);
    }

    #[test]
    fn secrets_do_not_show() {
        let auth = SshAuth::Key {
            private_key: SecretString::from("hunter2".to_owned()),
            passphrase: Some(SecretString::from("hunter3".to_owned())),
            sudo_password: Some(SecretString::from("hunter4".to_owned())),
        };
        assert!(!format!("{auth:?}").contains("hunter"));
    }
}
