//! Changes on the wire.

use super::{
    argument::{InvalidArgument, Port},
    item::{
        AuthorizedKeyArgs, ChangeArgs, ConfirmArgs, DockerDaemonArgs, Fail2banArgs, FirewallArgs, FreeDiskArgs,
        FreePortsArgs, Item, Mode, RootLogin, SshdArgs, UserArgs,
    },
};
use crate::{
    command::InvalidEnvelope,
    wire::{self, ChangeMode, change},
};

impl From<&ChangeArgs> for wire::Change {
    fn from(args: &ChangeArgs) -> Self {
        let mode = match args.mode {
            Mode::Plan => ChangeMode::Plan,
            Mode::Apply => ChangeMode::Apply,
            Mode::Undo => ChangeMode::Undo,
        };
        Self { mode: mode.into(), item: Some(change::Item::from(&args.item)) }
    }
}

impl TryFrom<wire::Change> for ChangeArgs {
    type Error = InvalidArgument;

    fn try_from(change: wire::Change) -> Result<Self, InvalidArgument> {
        let mode = match change.mode() {
            ChangeMode::Plan => Mode::Plan,
            ChangeMode::Apply => Mode::Apply,
            ChangeMode::Undo => Mode::Undo,
            ChangeMode::Unspecified => return Err(InvalidArgument::UnknownMode),
        };
        let item: Item = change.item.ok_or(InvalidArgument::UnknownItem)?.try_into()?;
        item.check()?;
        Ok(Self { item, mode })
    }
}

impl From<&ConfirmArgs> for wire::ConfirmChange {
    fn from(args: &ConfirmArgs) -> Self {
        Self { change_id: args.change.to_string(), item: args.item.to_string() }
    }
}

impl TryFrom<wire::ConfirmChange> for ConfirmArgs {
    type Error = InvalidEnvelope;

    fn try_from(confirm: wire::ConfirmChange) -> Result<Self, InvalidEnvelope> {
        Ok(Self { change: confirm.change_id.parse()?, item: confirm.item.parse()? })
    }
}

fn numbers(ports: &[Port]) -> Vec<u32> {
    ports.iter().map(|port| u32::from(port.get())).collect()
}

fn ports(numbers: Vec<u32>) -> Result<Vec<Port>, InvalidArgument> {
    numbers.into_iter().map(Port::try_from).collect()
}

impl RootLogin {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::ProhibitPassword => "prohibit_password",
            Self::Yes => "yes",
        }
    }

    fn parse(word: &str) -> Result<Self, InvalidArgument> {
        let known = [Self::No, Self::ProhibitPassword, Self::Yes];
        known.into_iter().find(|known| known.as_str() == word).ok_or(InvalidArgument::Range("permit_root_login"))
    }
}

impl From<&Item> for change::Item {
    fn from(item: &Item) -> Self {
        let none = wire::NoArguments {};
        let user = |args: &UserArgs| wire::UserArguments { user: args.user.to_string() };
        match item {
            Item::InstallDocker => Self::InstallDocker(none),
            Item::StartDocker => Self::StartDocker(none),
            Item::AddToDockerGroup(args) => Self::AddToDockerGroup(user(args)),
            Item::ConfigureSudo(args) => Self::ConfigureSudo(user(args)),
            Item::FreeDisk(args) => Self::FreeDisk(wire::FreeDisk { all_images: args.all_images }),
            Item::FreePorts(args) => Self::FreePorts(wire::FreePorts {
                ports: numbers(&args.ports),
                unit: args.unit.as_ref().map(ToString::to_string).unwrap_or_default(),
            }),
            Item::Sshd(args) => Self::Sshd(wire::Sshd {
                password_authentication: args.password_authentication,
                permit_root_login: args.permit_root_login.map(|login| login.as_str().to_owned()),
                max_auth_tries: args.max_auth_tries,
                client_alive_interval: args.client_alive_interval,
                client_alive_count_max: args.client_alive_count_max,
            }),
            Item::UnattendedUpgrades => Self::UnattendedUpgrades(none),
            Item::Fail2ban(args) => {
                Self::Fail2ban(wire::Fail2ban { max_retry: args.max_retry, ban_seconds: args.ban_seconds })
            }
            Item::Firewall(args) => Self::Firewall(wire::Firewall {
                open_ports: numbers(&args.open_ports),
                ssh_from: args.ssh_from.iter().map(ToString::to_string).collect(),
            }),
            Item::DockerDaemon(args) => Self::DockerDaemon(wire::DockerDaemon {
                live_restore: args.live_restore,
                log_max_megabytes: args.log_max_megabytes,
                log_max_files: args.log_max_files,
            }),
            Item::Auditd => Self::Auditd(none),
            Item::Ipv6Off => Self::Ipv6Off(none),
            Item::AuthorizedKey(args) => Self::AuthorizedKey(wire::AuthorizedKey {
                user: args.user.to_string(),
                key: args.key.to_string(),
                present: args.present,
            }),
        }
    }
}

impl TryFrom<change::Item> for Item {
    type Error = InvalidArgument;

    fn try_from(item: change::Item) -> Result<Self, InvalidArgument> {
        use change::Item as Wire;
        let user = |args: wire::UserArguments| Ok::<_, InvalidArgument>(UserArgs { user: args.user.parse()? });
        Ok(match item {
            Wire::InstallDocker(_) => Self::InstallDocker,
            Wire::StartDocker(_) => Self::StartDocker,
            Wire::AddToDockerGroup(args) => Self::AddToDockerGroup(user(args)?),
            Wire::ConfigureSudo(args) => Self::ConfigureSudo(user(args)?),
            Wire::FreeDisk(args) => Self::FreeDisk(FreeDiskArgs { all_images: args.all_images }),
            Wire::FreePorts(args) => {
                let unit = if args.unit.is_empty() { None } else { Some(args.unit.parse()?) };
                Self::FreePorts(FreePortsArgs { ports: ports(args.ports)?, unit })
            }
            Wire::Sshd(args) => Self::Sshd(SshdArgs {
                password_authentication: args.password_authentication,
                permit_root_login: args.permit_root_login.as_deref().map(RootLogin::parse).transpose()?,
                max_auth_tries: args.max_auth_tries,
                client_alive_interval: args.client_alive_interval,
                client_alive_count_max: args.client_alive_count_max,
            }),
            Wire::UnattendedUpgrades(_) => Self::UnattendedUpgrades,
            Wire::Fail2ban(args) => {
                Self::Fail2ban(Fail2banArgs { max_retry: args.max_retry, ban_seconds: args.ban_seconds })
            }
            Wire::Firewall(args) => Self::Firewall(FirewallArgs {
                open_ports: ports(args.open_ports)?,
                ssh_from: args.ssh_from.iter().map(|network| network.parse()).collect::<Result<_, _>>()?,
            }),
            Wire::DockerDaemon(args) => Self::DockerDaemon(DockerDaemonArgs {
                live_restore: args.live_restore,
                log_max_megabytes: args.log_max_megabytes,
                log_max_files: args.log_max_files,
            }),
            Wire::Auditd(_) => Self::Auditd,
            Wire::Ipv6Off(_) => Self::Ipv6Off,
            Wire::AuthorizedKey(args) => Self::AuthorizedKey(AuthorizedKeyArgs {
                user: args.user.parse()?,
                key: args.key.parse()?,
                present: args.present,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{action::ItemName, id::CommandId};

    fn items() -> Vec<Item> {
        let user: UserArgs = UserArgs { user: "deploy".parse().expect("a name") };
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ muster@host";
        vec![
            Item::InstallDocker,
            Item::StartDocker,
            Item::AddToDockerGroup(user.clone()),
            Item::ConfigureSudo(user.clone()),
            Item::FreeDisk(FreeDiskArgs { all_images: true }),
            Item::FreePorts(FreePortsArgs {
                ports: vec![Port::HTTP, Port::HTTPS],
                unit: Some("nginx.service".parse().expect("a name")),
            }),
            Item::Sshd(SshdArgs {
                password_authentication: Some(false),
                permit_root_login: Some(RootLogin::ProhibitPassword),
                max_auth_tries: Some(3),
                ..SshdArgs::default()
            }),
            Item::UnattendedUpgrades,
            Item::Fail2ban(Fail2banArgs::default()),
            Item::Firewall(FirewallArgs {
                open_ports: vec![Port::HTTP],
                ssh_from: vec!["203.0.113.0/24".parse().expect("a network")],
            }),
            Item::DockerDaemon(DockerDaemonArgs::default()),
            Item::Auditd,
            Item::Ipv6Off,
            Item::AuthorizedKey(AuthorizedKeyArgs { user: user.user, key: key.parse().expect("a key"), present: true }),
        ]
    }

    #[test]
    fn every_item_survives_the_wire() {
        let items = items();
        let names: Vec<_> = items.iter().map(Item::name).collect();
        assert_eq!(names, ItemName::ALL);
        for item in items {
            for mode in [Mode::Plan, Mode::Apply, Mode::Undo] {
                let args = ChangeArgs { item: item.clone(), mode };
                assert_eq!(ChangeArgs::try_from(wire::Change::from(&args)), Ok(args));
            }
        }
        let confirm = ConfirmArgs { change: CommandId::generate(), item: ItemName::Sshd };
        assert_eq!(ConfirmArgs::try_from(wire::ConfirmChange::from(&confirm)), Ok(confirm));
    }

    #[test]
    fn what_is_out_of_bounds_or_hostile_is_refused_at_the_edge() {
        let change = |item| ChangeArgs::try_from(wire::Change { mode: ChangeMode::Apply.into(), item: Some(item) });
        let user = |user: &str| wire::UserArguments { user: user.to_owned() };
        let nobody = change::Item::ConfigureSudo(user("-oProxyCommand=x"));
        assert_eq!(change(nobody), Err(InvalidArgument::User));
        let sudoers = change::Item::ConfigureSudo(user("a ALL=(ALL) NOPASSWD: ALL\nb"));
        assert_eq!(change(sudoers), Err(InvalidArgument::User));
        let port = change::Item::FreePorts(wire::FreePorts { ports: vec![65_616], unit: String::new() });
        assert_eq!(change(port), Err(InvalidArgument::Port));
        let unit = change::Item::FreePorts(wire::FreePorts { ports: vec![80], unit: "--root=/".into() });
        assert_eq!(change(unit), Err(InvalidArgument::Unit));
        let bans = change::Item::Fail2ban(wire::Fail2ban { max_retry: 0, ban_seconds: 60 });
        assert_eq!(change(bans), Err(InvalidArgument::Range("max_retry")));
        let nothing = wire::Change { mode: ChangeMode::Apply.into(), item: None };
        assert_eq!(ChangeArgs::try_from(nothing), Err(InvalidArgument::UnknownItem));
        let unsaid = wire::Change::from(&ChangeArgs { item: Item::Auditd, mode: Mode::Plan });
        assert_eq!(ChangeArgs::try_from(wire::Change { mode: 0, ..unsaid }), Err(InvalidArgument::UnknownMode));
    }
}
