//! What can go wrong between here and a program on a host, each with a remedy in words.

use std::{error::Error as StdError, net::IpAddr};

use crate::{
    dial::{DialError, Refusal},
    servers::{ConnectionOutcome, Fingerprint, Username},
};

type Source = Box<dyn StdError + Send + Sync>;

/// Why a host could not be reached, entered or used.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("{address}:{port} cannot be reached: {why}")]
    Unreachable { address: String, port: u16, why: Unreachable },
    #[error("{address} leads to {ip}, {refusal}")]
    AddressRefused { address: String, ip: IpAddr, refusal: Refusal },
    #[error("the host's key has changed: expected {expected}, presented {presented}")]
    HostKeyMismatch { expected: Fingerprint, presented: Fingerprint },
    /// `offered`: the methods the server would have gone on with.
    #[error("{username} was not let in with a {method}")]
    AuthFailed { username: Username, method: &'static str, offered: Vec<String> },
    #[error("the private key cannot be read: {0}")]
    KeyUnreadable(KeyProblem),
    #[error("root cannot be reached on the host: {0}")]
    Elevation(Elevation),
    #[error("the agent cannot be carried to the host: {0}")]
    Carriage(Carriage),
    #[error("the agent ended with status {status} on the host: {detail}")]
    Agent { status: u32, detail: String },
    #[error("{during} took longer than {seconds} s")]
    Timeout { during: &'static str, seconds: u64 },
    #[error("the connection broke during {during}")]
    Broken { during: &'static str, source: Option<Source> },
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    #[error("the port is closed")]
    Refused,
    #[error("no answer in time")]
    Timeout,
    #[error("the name does not resolve")]
    Dns,
    #[error("this is a number and no name")]
    Spelling,
    #[error("there is no route to it")]
    NoRoute,
    #[error("whatever listens there does not speak SSH")]
    NotSsh,
}

/// What is wrong with a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("it is encrypted and no passphrase was given")]
    PassphraseMissing,
    #[error("the passphrase is wrong")]
    PassphraseWrong,
    #[error("this is a public key")]
    PublicKey,
    #[error("its format is not known")]
    UnknownFormat,
    #[error("its algorithm ({0}) is not supported")]
    UnsupportedAlgorithm(String),
    #[error("it is encrypted in an outdated way")]
    OutdatedEncryption,
    #[error("it is damaged")]
    Damaged,
}

/// Why a command could not be run as root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Elevation {
    #[error("sudo is not installed")]
    NotInstalled,
    #[error("sudo asks for a password and none is known")]
    PasswordRequired,
    #[error("sudo refused the password")]
    PasswordRefused,
    #[error("sudo does not allow this user to")]
    NotAllowed,
    #[error("sudo insists on a terminal")]
    TerminalRequired,
    #[error("sudo said: {0}")]
    Failed(String),
}

/// Why the agent's binary could not be brought to run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Carriage {
    #[error("the login gives no shell that runs programs: {0}")]
    NoShell(String),
    #[error("there is no agent for {0}")]
    NoAgentFor(String),
    #[error("no directory there takes files that may be executed")]
    NoExecutableDirectory,
    #[error("what arrived there is not what was sent")]
    Altered,
    #[error("its answer cannot be read")]
    AnswerUnreadable,
    #[error("the host sent more than {0} bytes")]
    TooMuchOutput(usize),
}

impl SshError {
    /// The connection broke while something was going on.
    pub(super) fn broken(during: &'static str, source: impl Into<Source>) -> Self {
        Self::Broken { during, source: Some(source.into()) }
    }

    /// `address` could not be dialled.
    pub(super) fn undialled(error: DialError, address: &str, port: u16) -> Self {
        let why = match error {
            DialError::Refused { ip, refusal } => {
                return Self::AddressRefused { address: address.to_owned(), ip, refusal };
            }
            DialError::Spelling => Unreachable::Spelling,
            DialError::Dns => Unreachable::Dns,
            DialError::Closed => Unreachable::Refused,
            DialError::Timeout => Unreachable::Timeout,
            DialError::NoRoute => Unreachable::NoRoute,
        };
        Self::Unreachable { address: address.to_owned(), port, why }
    }

    /// What an attempt that ended so is recorded as.
    #[must_use]
    pub fn outcome(&self) -> ConnectionOutcome {
        match self {
            Self::Unreachable { .. } => ConnectionOutcome::Unreachable,
            Self::HostKeyMismatch { .. } => ConnectionOutcome::HostKeyMismatch,
            Self::AuthFailed { .. } | Self::KeyUnreadable(_) => ConnectionOutcome::AuthFailed,
            _ => ConnectionOutcome::Failed,
        }
    }

    /// A machine's word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "ssh_unreachable",
            Self::AddressRefused { .. } => "address_refused",
            Self::HostKeyMismatch { .. } => "host_key_mismatch",
            Self::AuthFailed { .. } => "ssh_auth_failed",
            Self::KeyUnreadable(_) => "ssh_key_unreadable",
            Self::Elevation(_) => "root_not_reached",
            Self::Carriage(_) => "agent_not_carried",
            Self::Agent { .. } => "agent_failed",
            Self::Timeout { .. } => "ssh_timeout",
            Self::Broken { .. } => "ssh_broken",
        }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreachable { port, why, .. } => why.remedy(*port),
            Self::AddressRefused { refusal, .. } => refused_remedy(*refusal),
            Self::HostKeyMismatch { presented, .. } => format!(
                "If the server was reinstalled or its keys were replaced, compare `ssh-keygen -lf \
                 /etc/ssh/ssh_host_ed25519_key.pub` on its console with {presented} and accept the new key. Otherwise \
                 somebody may be between you and the server: do not accept it. No credentials were sent."
            ),
            Self::AuthFailed { username, method, offered } => auth_remedy(username.as_str(), method, offered),
            Self::KeyUnreadable(problem) => problem.remedy().to_owned(),
            Self::Elevation(why) => why.remedy().to_owned(),
            Self::Carriage(why) => why.remedy(),
            Self::Agent { .. } => {
                "Read the agent's words above. On the server, `journalctl -u 'muster-*'` has more.".to_owned()
            }
            Self::Timeout { .. } | Self::Broken { .. } => {
                "Try again. If it happens again, look at the server's load, its network and `journalctl -u ssh`."
                    .to_owned()
            }
        }
    }
}

fn refused_remedy(refusal: Refusal) -> String {
    let elsewhere = "Use the address under which the server is reached by others";
    match refusal.setting() {
        Some(setting) => format!(
            "{elsewhere}, or let the control plane's operator allow such addresses: `{setting} = true` in muster.toml."
        ),
        None => format!("{elsewhere}. Addresses like this one are refused whatever the settings are."),
    }
}

impl Unreachable {
    fn remedy(self, port: u16) -> String {
        match self {
            Self::Refused => format!(
                "Check that sshd runs on the server and listens on port {port} (`ss -ltn`), and that the SSH port is right."
            ),
            Self::Timeout => format!(
                "Verify the address, and that firewalls and cloud security groups allow port {port} from here: \
                 `nc -zv ADDRESS {port}`."
            ),
            Self::Dns => "Check the spelling of the name and that it resolves from the control plane: \
                          `getent hosts NAME`. An IP address can be used instead."
                .to_owned(),
            Self::Spelling => "Write an IPv4 address as four decimal numbers, such as 203.0.113.10.".to_owned(),
            Self::NoRoute => "Check the address, and the control plane's network and routes towards it.".to_owned(),
            Self::NotSsh => format!("Check that port {port} is the one sshd listens on, and not another service's."),
        }
    }
}

fn auth_remedy(username: &str, method: &str, offered: &[String]) -> String {
    let offers = |name: &str| offered.iter().any(|method| method == name);
    if method == "password" && !offers("password") && !offers("keyboard-interactive") && offers("publickey") {
        return format!(
            "The server takes no passwords from {username}: use an SSH key, or set PasswordAuthentication yes (for \
             root also PermitRootLogin yes) in its sshd configuration."
        );
    }
    if method == "password" {
        return format!(
            "Verify the user name and the password: `ssh {username}@ADDRESS`. For root, sshd's PermitRootLogin must be yes."
        );
    }
    format!(
        "Verify that the public key is in ~{username}/.ssh/authorized_keys, that the file has mode 600 and its \
         directory 700, and that both belong to {username}; `journalctl -u ssh` on the server says why a key was refused."
    )
}

impl KeyProblem {
    /// What the caller can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::PassphraseMissing => "Give the key's passphrase as well.",
            Self::PassphraseWrong => "Check the passphrase: `ssh-keygen -y -f KEYFILE` asks for it.",
            Self::PublicKey => "Give the private key: the file without `.pub`.",
            Self::UnknownFormat => {
                "Paste the whole private key file, with its BEGIN and END lines: OpenSSH, PKCS#1 or PKCS#8 PEM."
            }
            Self::UnsupportedAlgorithm(_) => "Use an Ed25519, ECDSA (P-256, P-384, P-521) or RSA key.",
            Self::OutdatedEncryption => {
                "Rewrite the key in OpenSSH's format: `ssh-keygen -p -f KEYFILE` does so and keeps the passphrase if told to."
            }
            Self::Damaged => "Copy the key again, whole: a part of it is missing or changed.",
        }
    }
}

impl Elevation {
    fn remedy(&self) -> &'static str {
        match self {
            Self::NotInstalled => "Install sudo on the server, or log in as root.",
            Self::PasswordRequired => {
                "Give the user's password as well, or allow the user sudo without one (NOPASSWD)."
            }
            Self::PasswordRefused => "Check the password: `sudo -v` on the server asks for it.",
            Self::NotAllowed => "Add the user to the sudo (or wheel) group, or log in as root.",
            Self::TerminalRequired => "Remove `Defaults requiretty` from the server's sudoers, or log in as root.",
            Self::Failed(_) => "Run `sudo -v` on the server as this user, or log in as root.",
        }
    }
}

impl Carriage {
    fn remedy(&self) -> String {
        match self {
            Self::NoShell(_) => {
                "Give the user a POSIX login shell (`chsh -s /bin/sh`), or use another login.".to_owned()
            }
            Self::NoAgentFor(arch) => {
                format!("Put an agent built for {arch} where the control plane serves agents from.")
            }
            Self::NoExecutableDirectory => {
                "Mount one of /tmp, /var/tmp or the home directory without noexec, with 20 MB free.".to_owned()
            }
            Self::Altered => "Check the server's disk space (`df -h /tmp`) and try again.".to_owned(),
            Self::AnswerUnreadable => {
                "Put the agent of this control plane's own version where it serves agents from.".to_owned()
            }
            Self::TooMuchOutput(_) => "Check what the login's shell prints when it starts.".to_owned(),
        }
    }
}
