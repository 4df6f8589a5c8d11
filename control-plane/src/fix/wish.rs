//! What a caller wants fixed, and which changes that is. Pure.

use muster_shared::{
    action::{
        Item, ItemName, Mode, Port, UserName,
        item::{FreeDiskArgs, FreePortsArgs, UserArgs},
    },
    preflight::{CheckStatus, PreflightReport},
};

use super::Fixed;
use crate::error::{Error, ErrorKind};

/// Every fix, in the order in which they are made: space before packages, Docker before what needs it.
pub const FIXES: [ItemName; 6] = [
    ItemName::FreeDisk,
    ItemName::ConfigureSudo,
    ItemName::InstallDocker,
    ItemName::StartDocker,
    ItemName::AddToDockerGroup,
    ItemName::FreePorts,
];

/// Which fixes, and with which arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// None means nothing, never everything.
    pub actions: Vec<ItemName>,
    /// Every failure of the last preflight that can be fixed.
    pub all: bool,
    pub mode: Mode,
    /// Whom `configure_sudo` and `add_to_docker_group` are for; unless given, whoever the server's login names.
    pub username: Option<UserName>,
    /// What `free_ports` frees; empty means 80 and 443.
    pub ports: Vec<Port>,
    /// The only unit that `free_ports` may stop.
    pub unit: Option<muster_shared::action::UnitName>,
    /// `free_disk` removes also images with a name that no container uses.
    pub all_images: bool,
}

impl Wish {
    /// The changes to make, in order, each once.
    ///
    /// # Errors
    /// Where nothing is named, an action is no fix, or an argument is missing.
    pub fn items(&self, login: Option<&str>, report: Option<&PreflightReport>) -> Result<Vec<Item>, Error> {
        let names = match (self.actions.is_empty(), self.all) {
            (true, false) => {
                let detail = format!("name at least one action ({}), or send \"all\": true", words());
                return Err(Error::invalid("no_actions", detail));
            }
            (false, true) => {
                return Err(Error::invalid("ambiguous_actions", "send either actions or \"all\": true, not both"));
            }
            (true, true) => fixable(report)?,
            (false, false) => self.actions.clone(),
        };
        if let Some(other) = names.iter().find(|name| !FIXES.contains(name)) {
            return Err(Error::invalid("unknown_action", format!("{other} is no fix: there are {}", words())));
        }
        let mut order = FIXES.to_vec();
        if self.mode == Mode::Undo {
            order.reverse();
        }
        order.into_iter().filter(|name| names.contains(name)).map(|name| self.item(name, login)).collect()
    }

    fn item(&self, name: ItemName, login: Option<&str>) -> Result<Item, Error> {
        let user = || {
            let named = self.username.clone().or_else(|| login?.parse().ok());
            let missing =
                || Error::invalid("user_required", format!("{name} needs a username: the server has no login"));
            Ok::<_, Error>(UserArgs { user: named.ok_or_else(missing)? })
        };
        let item = match name {
            ItemName::FreeDisk => Item::FreeDisk(FreeDiskArgs { all_images: self.all_images }),
            ItemName::ConfigureSudo => Item::ConfigureSudo(user()?),
            ItemName::StartDocker => Item::StartDocker,
            ItemName::AddToDockerGroup => Item::AddToDockerGroup(user()?),
            ItemName::FreePorts => {
                let ports = if self.ports.is_empty() { vec![Port::HTTP, Port::HTTPS] } else { self.ports.clone() };
                Item::FreePorts(FreePortsArgs { ports, unit: self.unit.clone() })
            }
            _ => Item::InstallDocker,
        };
        item.check().map_err(|error| Error::invalid("invalid_argument", error.to_string()))?;
        Ok(item)
    }
}

/// An action that can't be planned yet: the host has not what an earlier one of the same plan would bring.
pub(super) fn follows(action: ItemName, mode: Mode, planned: &[Fixed]) -> Option<Fixed> {
    let brings = planned.iter().find(|fixed| fixed.action == ItemName::InstallDocker && fixed.outcome == "planned")?;
    let needs_docker = matches!(action, ItemName::StartDocker | ItemName::AddToDockerGroup);
    (mode == Mode::Plan && needs_docker).then(|| Fixed {
        action,
        outcome: "planned",
        detail: format!("follows {}: what exactly it takes is known once that is done", brings.action),
        report: None,
    })
}

/// What mends the failures of a report.
fn fixable(report: Option<&PreflightReport>) -> Result<Vec<ItemName>, Error> {
    let report = report.ok_or_else(|| {
        let detail = "no preflight has been run, so there is nothing known to fix: run the preflight first";
        Error::new(ErrorKind::Precondition, "no_preflight", detail)
    })?;
    let failed = report.checks.iter().filter(|check| check.status == CheckStatus::Failed && check.fixable);
    Ok(failed.filter_map(|check| check.name.fix()?.parse().ok()).collect())
}

fn words() -> String {
    FIXES.map(ItemName::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use muster_shared::preflight::{CheckName, CheckResult};

    use super::*;

    #[test]
    fn what_needs_docker_is_planned_after_it_and_is_otherwise_asked_of_the_host() {
        let installs =
            |outcome| [Fixed { action: ItemName::InstallDocker, outcome, detail: String::new(), report: None }];
        let planned = follows(ItemName::StartDocker, Mode::Plan, &installs("planned")).expect("it follows");
        assert_eq!((planned.outcome, planned.report), ("planned", None));
        assert!(planned.detail.contains("install_docker"), "{}", planned.detail);
        assert_eq!(follows(ItemName::AddToDockerGroup, Mode::Plan, &installs("already")), None);
        assert_eq!(follows(ItemName::ConfigureSudo, Mode::Plan, &installs("planned")), None);
        assert_eq!(follows(ItemName::StartDocker, Mode::Plan, &[]), None);
        assert_eq!(follows(ItemName::StartDocker, Mode::Apply, &installs("planned")), None);
    }

    fn wish(actions: &[ItemName]) -> Wish {
        Wish {
            actions: actions.to_vec(),
            all: false,
            mode: Mode::Apply,
            username: None,
            ports: Vec::new(),
            unit: None,
            all_images: false,
        }
    }

    fn names(
        wish: &Wish,
        login: Option<&str>,
        report: Option<&PreflightReport>,
    ) -> Result<Vec<ItemName>, &'static str> {
        let items = wish.items(login, report).map_err(|error| error.code)?;
        Ok(items.iter().map(Item::name).collect())
    }

    #[test]
    fn an_empty_list_is_an_error_and_never_everything() {
        assert_eq!(names(&wish(&[]), None, None), Err("no_actions"));
        let both = Wish { all: true, ..wish(&[ItemName::InstallDocker]) };
        assert_eq!(names(&both, None, None), Err("ambiguous_actions"));
    }

    #[test]
    fn all_is_what_the_last_preflight_found_fixable_in_the_order_of_dependence() {
        let checks = vec![
            CheckResult::failed(CheckName::DockerPermissions, "", "x"),
            CheckResult::failed(CheckName::DockerRunning, "", "x"),
            CheckResult::failed(CheckName::DockerInstalled, "", "x"),
            CheckResult::failed(CheckName::DiskSpace, "", "x"),
            CheckResult::warning(CheckName::RootAccess, "", "x"),
        ];
        let report = PreflightReport { checked_at_us: 0, checks, system: None };
        let all = Wish { all: true, ..wish(&[]) };
        let expected = [ItemName::InstallDocker, ItemName::StartDocker, ItemName::AddToDockerGroup];
        assert_eq!(names(&all, Some("deploy"), Some(&report)), Ok(expected.to_vec()));
        assert_eq!(names(&all, None, Some(&report)), Err("user_required"));
        assert_eq!(names(&all, None, None), Err("no_preflight"));
        let well = PreflightReport { checked_at_us: 0, checks: Vec::new(), system: None };
        assert_eq!(names(&all, None, Some(&well)), Ok(vec![]));
    }

    #[test]
    fn named_actions_are_made_once_each_in_order_and_undone_the_other_way_round() {
        let named = wish(&[ItemName::StartDocker, ItemName::InstallDocker, ItemName::StartDocker]);
        let made = vec![ItemName::InstallDocker, ItemName::StartDocker];
        assert_eq!(names(&named, None, None), Ok(made.clone()));
        let undo = Wish { mode: Mode::Undo, ..named };
        assert_eq!(names(&undo, None, None), Ok(made.into_iter().rev().collect()));
        assert_eq!(names(&wish(&[ItemName::Sshd]), None, None), Err("unknown_action"));
    }

    #[test]
    fn arguments_come_from_the_caller_first() {
        let named = Wish { username: Some("alice".parse().expect("a name")), ..wish(&[ItemName::ConfigureSudo]) };
        let items = named.items(Some("deploy"), None).expect("items");
        assert_eq!(items, [Item::ConfigureSudo(UserArgs { user: "alice".parse().expect("a name") })]);
        let ports = wish(&[ItemName::FreePorts]).items(None, None).expect("items");
        let both = FreePortsArgs { ports: vec![Port::HTTP, Port::HTTPS], unit: None };
        assert_eq!(ports, [Item::FreePorts(both)]);
    }
}
