//! The one typed thing that a run asks of each server: never text to be run, always an entry of the catalogue.

use muster_shared::{
    action::{ChangeArgs, Cidr, Item, ItemName, Mode, Port, UnitName, UserName},
    command::{CommandBody, PreflightArgs},
    hardening::{PROFILE, default_item},
};
use serde::{Deserialize, Serialize};

use crate::{
    access::Permission,
    error::Error,
    fix,
    hardening::{self, Options},
    proof::Proven,
};

/// What is asked of each server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// The readiness checks that the agent makes.
    Preflight,
    /// The facts, anew.
    RefreshFacts,
    /// One fix, or taking back the last one.
    Fix {
        action: ItemName,
        undo: bool,
        username: Option<UserName>,
        ports: Vec<Port>,
        unit: Option<UnitName>,
        all_images: bool,
    },
    /// One item of the hardening profile, or taking back the last change of it.
    Harden { item: ItemName, undo: bool, open_ports: Option<Vec<Port>>, ssh_from: Vec<Cidr> },
}

impl Task {
    /// Its word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::RefreshFacts => "refresh_facts",
            Self::Fix { .. } => "fix",
            Self::Harden { .. } => "harden",
        }
    }

    /// What the caller must be allowed, as for one server.
    #[must_use]
    pub fn permission(&self) -> Permission {
        match self {
            Self::Preflight => Permission::ServersPreflight,
            Self::RefreshFacts => Permission::ServersTest,
            Self::Fix { .. } => Permission::ServersUpdate,
            Self::Harden { .. } => Permission::ServersSecure,
        }
    }

    /// Whether it changes hosts.
    #[must_use]
    pub fn changes_hosts(&self) -> bool {
        matches!(self, Self::Fix { .. } | Self::Harden { .. })
    }

    /// Whether the way in has to be proven before: the host takes the change back unless it is confirmed.
    #[must_use]
    pub fn is_guarded(&self, dry_run: bool) -> bool {
        matches!(self, Self::Harden { item, undo: false, .. } if !dry_run && hardening::is_guarded(*item))
    }

    /// Whether it is an entry of the catalogue.
    ///
    /// # Errors
    /// An action that is no fix, or an item outside the profile.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Preflight | Self::RefreshFacts => Ok(()),
            Self::Fix { .. } => self.body(Some("root"), None, true).map(drop),
            Self::Harden { item, .. } if PROFILE.contains(item) => Ok(()),
            Self::Harden { item, .. } => {
                let known: Vec<&str> = PROFILE.iter().map(|item| item.as_str()).collect();
                let detail = format!("{item} is no item of the profile; its items are {}", known.join(", "));
                Err(Error::invalid("unknown_item", detail))
            }
        }
    }

    /// The command for a server that is entered as `login`, whose way in was `proven` just before where that is needed.
    ///
    /// # Errors
    /// Where the server has no login and one is needed.
    pub fn body(&self, login: Option<&str>, proven: Option<&Proven>, dry_run: bool) -> Result<CommandBody, Error> {
        let mode = |undo: bool| match (dry_run, undo) {
            (true, _) => Mode::Plan,
            (false, true) => Mode::Undo,
            (false, false) => Mode::Apply,
        };
        Ok(match self {
            Self::Preflight => CommandBody::Preflight(PreflightArgs {
                username: login.unwrap_or_default().to_owned(),
                ..PreflightArgs::default()
            }),
            Self::RefreshFacts => CommandBody::RefreshFacts,
            Self::Fix { action, undo, username, ports, unit, all_images } => {
                let wish = fix::Wish {
                    actions: vec![*action],
                    all: false,
                    mode: mode(*undo),
                    username: username.clone(),
                    ports: ports.clone(),
                    unit: unit.clone(),
                    all_images: *all_images,
                };
                change(wish.items(login, None)?.pop(), mode(*undo))?
            }
            Self::Harden { item, undo: true, .. } => change(default_item(*item), mode(true))?,
            Self::Harden { item, undo: false, open_ports, ssh_from } => {
                let options = Options { open_ports: open_ports.clone(), ssh_from: ssh_from.clone() };
                change(Some(hardening::wanted(*item, &options, proven).map_err(Error::internal)?), mode(false))?
            }
        })
    }
}

fn change(item: Option<Item>, mode: Mode) -> Result<CommandBody, Error> {
    let item = item.ok_or_else(|| Error::internal("a task of the catalogue has an item"))?;
    Ok(CommandBody::Change(ChangeArgs { item, mode }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(action: ItemName) -> Task {
        Task::Fix { action, undo: false, username: None, ports: Vec::new(), unit: None, all_images: false }
    }

    fn harden(item: ItemName, undo: bool) -> Task {
        Task::Harden { item, undo, open_ports: None, ssh_from: Vec::new() }
    }

    #[test]
    fn only_the_catalogue_is_asked_for() {
        fix(ItemName::InstallDocker).check().expect("a fix");
        harden(ItemName::Fail2ban, false).check().expect("an item");
        assert_eq!(fix(ItemName::Sshd).check().expect_err("no fix").code, "unknown_action");
        assert_eq!(harden(ItemName::InstallDocker, false).check().expect_err("no item").code, "unknown_item");
    }

    #[test]
    fn a_dry_run_only_plans() {
        let mode = |task: &Task, dry_run| match task.body(Some("deploy"), None, dry_run).expect("a command") {
            CommandBody::Change(args) => args.mode,
            other => panic!("{other:?}"),
        };
        for (task, applied) in [
            (fix(ItemName::StartDocker), Mode::Apply),
            (harden(ItemName::Sshd, false), Mode::Apply),
            (harden(ItemName::Sshd, true), Mode::Undo),
        ] {
            assert_eq!((mode(&task, true), mode(&task, false)), (Mode::Plan, applied), "{task:?}");
        }
    }

    #[test]
    fn what_could_lock_somebody_out_is_proven_before() {
        assert!(harden(ItemName::Firewall, false).is_guarded(false));
        assert!(!harden(ItemName::Firewall, false).is_guarded(true));
        assert!(!harden(ItemName::Fail2ban, false).is_guarded(false));
    }

    #[test]
    fn a_task_reads_back_as_it_was_kept() {
        for task in [Task::Preflight, Task::RefreshFacts, fix(ItemName::FreePorts), harden(ItemName::Firewall, true)] {
            let json = serde_json::to_string(&task).expect("written");
            assert_eq!(serde_json::from_str::<Task>(&json).expect("read"), task);
        }
    }
}
