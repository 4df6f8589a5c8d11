//! What is asked of a host for each item: the profile, held back where somebody could not get in any more. Pure.

use muster_shared::{
    action::{
        Cidr, Item, ItemName, Port,
        item::{FirewallArgs, RootLogin, SshdArgs},
    },
    hardening::default_item,
};

use crate::{proof::Proven, servers::AuthMethod};

/// What a caller may say beside the items' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// TCP ports that stay reachable beside SSH's; `None` means 80 and 443.
    pub open_ports: Option<Vec<Port>>,
    /// From where SSH is reachable; none means from everywhere.
    pub ssh_from: Vec<Cidr>,
}

/// The items whose change a host takes back unless it is confirmed.
#[must_use]
pub(crate) fn is_guarded(item: ItemName) -> bool {
    matches!(item, ItemName::Sshd | ItemName::Firewall | ItemName::Ipv6Off)
}

/// An item that can't be confirmed here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not part of the profile")]
pub struct Unconfirmable(ItemName);

/// What is asked for `name`, given the way in that was `proven` just before.
///
/// Passwords are switched off only where a key was proven to log in. root's password stays where it is what the record
/// logs in with.
///
/// # Errors
/// [`Unconfirmable`] where `name` is not part of the profile.
pub fn wanted(name: ItemName, options: &Options, proven: Option<&Proven>) -> Result<Item, Unconfirmable> {
    let item = default_item(name).ok_or(Unconfirmable(name))?;
    Ok(match item {
        Item::Firewall(usual) => Item::Firewall(FirewallArgs {
            open_ports: options.open_ports.clone().unwrap_or(usual.open_ports),
            ssh_from: options.ssh_from.clone(),
        }),
        Item::Sshd(usual) => {
            let (password_authentication, permit_root_login) = match proven {
                Some(Proven::Login { method: AuthMethod::SshKey, .. }) => {
                    (usual.password_authentication, usual.permit_root_login)
                }
                Some(Proven::Login { username, .. }) if username != "root" => (None, Some(RootLogin::ProhibitPassword)),
                _ => (None, None),
            };
            Item::Sshd(SshdArgs { password_authentication, permit_root_login, ..usual })
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sshd(proven: Option<Proven>) -> SshdArgs {
        match wanted(ItemName::Sshd, &Options::default(), proven.as_ref()) {
            Ok(Item::Sshd(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    fn login(username: &str, method: AuthMethod) -> Option<Proven> {
        Some(Proven::Login { username: username.into(), method })
    }

    #[test]
    fn passwords_go_only_where_a_key_was_proven() {
        let by_key = sshd(login("root", AuthMethod::SshKey));
        assert_eq!(by_key.password_authentication, Some(false));
        assert_eq!(by_key.permit_root_login, Some(RootLogin::ProhibitPassword), "root's key keeps working");
        for proven in [None, Some(Proven::Handshake), login("root", AuthMethod::Password)] {
            let args = sshd(proven);
            assert_eq!((args.password_authentication, args.permit_root_login), (None, None));
            assert_eq!(args.max_auth_tries, Some(3), "limits lock nobody out");
        }
        let by_password = sshd(login("deploy", AuthMethod::Password));
        assert_eq!(by_password.password_authentication, None);
        assert_eq!(by_password.permit_root_login, Some(RootLogin::ProhibitPassword));
    }

    #[test]
    fn ports_and_networks_are_the_callers() {
        let options = Options {
            open_ports: Some(vec![Port::HTTPS]),
            ssh_from: vec!["203.0.113.0/24".parse().expect("a network")],
        };
        let Ok(Item::Firewall(args)) = wanted(ItemName::Firewall, &options, None) else { panic!("no firewall") };
        assert_eq!((args.open_ports, args.ssh_from), (vec![Port::HTTPS], options.ssh_from.clone()));
        let Ok(Item::Firewall(usual)) = wanted(ItemName::Firewall, &Options::default(), None) else { panic!("none") };
        assert_eq!(usual.open_ports, [Port::HTTP, Port::HTTPS]);
        assert!(wanted(ItemName::FreeDisk, &options, None).is_err());
        assert!(is_guarded(ItemName::Sshd) && is_guarded(ItemName::Firewall) && !is_guarded(ItemName::Fail2ban));
    }
}
