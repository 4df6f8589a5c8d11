//! What can be changed on a host: a closed catalogue. There is no item that runs what somebody typed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::argument::{Cidr, InvalidArgument, Port, PublicKey, UnitName, UserName};
use crate::{id::CommandId, policy::Family};

/// Most ports or networks that one item names.
pub const MAX_ENTRIES: usize = 64;

/// One thing to change, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Item {
    /// Docker Engine from the host's package manager.
    InstallDocker,
    /// Docker runs now and after each boot.
    StartDocker,
    /// A user may use Docker without being root.
    AddToDockerGroup(UserArgs),
    /// A user may become root without a password.
    ConfigureSudo(UserArgs),
    /// What Docker keeps and no container needs is gone.
    FreeDisk(FreeDiskArgs),
    /// The services that hold these ports are stopped and stay so.
    FreePorts(FreePortsArgs),
    /// sshd's settings.
    Sshd(SshdArgs),
    /// Security updates install themselves.
    UnattendedUpgrades,
    /// Addresses that guess passwords are shut out for a while.
    Fail2ban(Fail2banArgs),
    /// Only named ports are reachable; SSH's own always is.
    Firewall(FirewallArgs),
    /// The Docker daemon keeps containers over its restart and bounds their logs.
    DockerDaemon(DockerDaemonArgs),
    /// What is done through Docker is written to the audit log.
    Auditd,
    /// No IPv6.
    Ipv6Off,
    /// A key may, or may no longer, log in as a user.
    AuthorizedKey(AuthorizedKeyArgs),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct UserArgs {
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub user: UserName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct FreeDiskArgs {
    /// Also images that no container uses, not only those without a name.
    pub all_images: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct FreePortsArgs {
    #[cfg_attr(feature = "server", schema(value_type = Vec<u16>))]
    pub ports: Vec<Port>,
    /// The only unit that may be stopped; without it, whichever holds a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub unit: Option<UnitName>,
}

/// What sshd shall say of itself in its effective configuration; what is not given stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct SshdArgs {
    pub password_authentication: Option<bool>,
    pub permit_root_login: Option<RootLogin>,
    /// 1 to 100.
    pub max_auth_tries: Option<u32>,
    /// Seconds; 0 to 86400.
    pub client_alive_interval: Option<u32>,
    /// 0 to 100.
    pub client_alive_count_max: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RootLogin {
    No,
    ProhibitPassword,
    Yes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Fail2banArgs {
    /// Failed logins until an address is shut out; 1 to 100.
    pub max_retry: u32,
    /// For how long, in seconds; 60 to 31536000.
    pub ban_seconds: u32,
}

impl Default for Fail2banArgs {
    fn default() -> Self {
        Self { max_retry: 3, ban_seconds: 3600 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct FirewallArgs {
    /// TCP ports that stay reachable from everywhere, beside SSH's.
    #[cfg_attr(feature = "server", schema(value_type = Vec<u16>))]
    pub open_ports: Vec<Port>,
    /// From where SSH is reachable; empty means from everywhere.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub ssh_from: Vec<Cidr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct DockerDaemonArgs {
    pub live_restore: bool,
    /// A log file's size in megabytes; 1 to 100000.
    pub log_max_megabytes: u32,
    /// Log files kept per container; 1 to 100.
    pub log_max_files: u32,
}

impl Default for DockerDaemonArgs {
    fn default() -> Self {
        Self { live_restore: true, log_max_megabytes: 10, log_max_files: 3 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AuthorizedKeyArgs {
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub user: UserName,
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub key: PublicKey,
    /// Whether it may log in; `false` removes it.
    pub present: bool,
}

/// An item's word, without its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ItemName {
    InstallDocker,
    StartDocker,
    AddToDockerGroup,
    ConfigureSudo,
    FreeDisk,
    FreePorts,
    Sshd,
    UnattendedUpgrades,
    Fail2ban,
    Firewall,
    DockerDaemon,
    Auditd,
    Ipv6Off,
    AuthorizedKey,
}

impl ItemName {
    /// Every item.
    pub const ALL: [Self; 14] = [
        Self::InstallDocker,
        Self::StartDocker,
        Self::AddToDockerGroup,
        Self::ConfigureSudo,
        Self::FreeDisk,
        Self::FreePorts,
        Self::Sshd,
        Self::UnattendedUpgrades,
        Self::Fail2ban,
        Self::Firewall,
        Self::DockerDaemon,
        Self::Auditd,
        Self::Ipv6Off,
        Self::AuthorizedKey,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InstallDocker => "install_docker",
            Self::StartDocker => "start_docker",
            Self::AddToDockerGroup => "add_to_docker_group",
            Self::ConfigureSudo => "configure_sudo",
            Self::FreeDisk => "free_disk",
            Self::FreePorts => "free_ports",
            Self::Sshd => "sshd",
            Self::UnattendedUpgrades => "unattended_upgrades",
            Self::Fail2ban => "fail2ban",
            Self::Firewall => "firewall",
            Self::DockerDaemon => "docker_daemon",
            Self::Auditd => "auditd",
            Self::Ipv6Off => "ipv6_off",
            Self::AuthorizedKey => "authorized_key",
        }
    }

    /// The family that a host's policy decides by when the change is made or undone.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::InstallDocker
            | Self::StartDocker
            | Self::AddToDockerGroup
            | Self::ConfigureSudo
            | Self::FreeDisk
            | Self::FreePorts => Family::Fix,
            _ => Family::Secure,
        }
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ItemName {
    type Err = InvalidArgument;

    fn from_str(word: &str) -> Result<Self, InvalidArgument> {
        Self::ALL.into_iter().find(|name| name.as_str() == word).ok_or(InvalidArgument::UnknownItem)
    }
}

impl Item {
    /// The item's word.
    #[must_use]
    pub fn name(&self) -> ItemName {
        match self {
            Self::InstallDocker => ItemName::InstallDocker,
            Self::StartDocker => ItemName::StartDocker,
            Self::AddToDockerGroup(_) => ItemName::AddToDockerGroup,
            Self::ConfigureSudo(_) => ItemName::ConfigureSudo,
            Self::FreeDisk(_) => ItemName::FreeDisk,
            Self::FreePorts(_) => ItemName::FreePorts,
            Self::Sshd(_) => ItemName::Sshd,
            Self::UnattendedUpgrades => ItemName::UnattendedUpgrades,
            Self::Fail2ban(_) => ItemName::Fail2ban,
            Self::Firewall(_) => ItemName::Firewall,
            Self::DockerDaemon(_) => ItemName::DockerDaemon,
            Self::Auditd => ItemName::Auditd,
            Self::Ipv6Off => ItemName::Ipv6Off,
            Self::AuthorizedKey(_) => ItemName::AuthorizedKey,
        }
    }

    /// Holds the arguments that are plain numbers and lists to their bounds.
    ///
    /// # Errors
    /// [`InvalidArgument`] names the first that is out of them.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        let within = |name, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(InvalidArgument::Range(name)) }
        };
        match self {
            Self::FreePorts(args) if args.ports.is_empty() => Err(InvalidArgument::Range("ports")),
            Self::FreePorts(args) if args.ports.len() > MAX_ENTRIES => Err(InvalidArgument::TooMany("ports")),
            Self::Firewall(args) if args.open_ports.len() > MAX_ENTRIES => Err(InvalidArgument::TooMany("open_ports")),
            Self::Firewall(args) if args.ssh_from.len() > MAX_ENTRIES => Err(InvalidArgument::TooMany("ssh_from")),
            Self::Sshd(args) => {
                within("max_auth_tries", args.max_auth_tries.unwrap_or(1), 1, 100)?;
                within("client_alive_interval", args.client_alive_interval.unwrap_or(0), 0, 86_400)?;
                within("client_alive_count_max", args.client_alive_count_max.unwrap_or(0), 0, 100)
            }
            Self::Fail2ban(args) => {
                within("max_retry", args.max_retry, 1, 100)?;
                within("ban_seconds", args.ban_seconds, 60, 31_536_000)
            }
            Self::DockerDaemon(args) => {
                within("log_max_megabytes", args.log_max_megabytes, 1, 100_000)?;
                within("log_max_files", args.log_max_files, 1, 100)
            }
            _ => Ok(()),
        }
    }
}

/// What to do with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Say what would be done. Reads only.
    Plan,
    /// Do it, verify it, and undo it if it can't be verified.
    Apply,
    /// Undo the last change of this item that is still in force, whatever its arguments were.
    Undo,
}

impl Mode {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Undo => "undo",
        }
    }
}

/// A change as a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ChangeArgs {
    pub item: Item,
    pub mode: Mode,
}

impl ChangeArgs {
    /// The family that the host's policy decides by: plans only read.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.mode {
            Mode::Plan => Family::Observe,
            Mode::Apply | Mode::Undo => self.item.name().family(),
        }
    }
}

/// Says that the way in still works after a change, so that it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ConfirmArgs {
    /// The command that made the change.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub change: CommandId,
    /// Its item, which says the family.
    pub item: ItemName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_api() {
        for name in ItemName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            assert_eq!(serde_json::to_value(name).expect("a word"), name.as_str());
        }
        assert_eq!("rm".parse::<ItemName>(), Err(InvalidArgument::UnknownItem));
        let item = Item::ConfigureSudo(UserArgs { user: "deploy".parse().expect("a name") });
        let json = serde_json::json!({ "name": "configure_sudo", "user": "deploy" });
        assert_eq!(serde_json::to_value(&item).expect("json"), json);
        assert_eq!(serde_json::from_value::<Item>(json).expect("an item"), item);
    }

    #[test]
    fn a_plan_only_reads_whatever_its_item() {
        let args = |mode| ChangeArgs { item: Item::Auditd, mode };
        assert_eq!(args(Mode::Plan).family(), Family::Observe);
        assert_eq!((args(Mode::Apply).family(), args(Mode::Undo).family()), (Family::Secure, Family::Secure));
        assert_eq!(ChangeArgs { item: Item::StartDocker, mode: Mode::Apply }.family(), Family::Fix);
    }

    #[test]
    fn numbers_and_lists_have_bounds() {
        let ports = |count: usize| Item::FreePorts(FreePortsArgs { ports: vec![Port::HTTP; count], unit: None });
        assert_eq!(ports(0).check(), Err(InvalidArgument::Range("ports")));
        assert_eq!(ports(MAX_ENTRIES).check(), Ok(()));
        assert_eq!(ports(MAX_ENTRIES + 1).check(), Err(InvalidArgument::TooMany("ports")));
        let sshd = |tries| Item::Sshd(SshdArgs { max_auth_tries: Some(tries), ..SshdArgs::default() });
        assert_eq!((sshd(3).check(), sshd(0).check()), (Ok(()), Err(InvalidArgument::Range("max_auth_tries"))));
        assert_eq!(Item::Fail2ban(Fail2banArgs::default()).check(), Ok(()));
        assert_eq!(Item::DockerDaemon(DockerDaemonArgs::default()).check(), Ok(()));
    }
}
