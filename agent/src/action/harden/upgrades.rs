//! Security updates install themselves: unattended-upgrades with apt's own timers, dnf-automatic with its own.

use async_trait::async_trait;
use muster_shared::facts::{InitSystem, PackageManager};

use super::{NOT_APPLICABLE, look};
use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{ServiceState, Step},
};

/// Read last of all, so that what it says is what counts.
const APT_FILE: &str = "/etc/apt/apt.conf.d/99muster-unattended-upgrades";
const APT_TEXT: &str = "// Written by Muster: security updates install themselves.\n\
    APT::Periodic::Enable \"1\";\n\
    APT::Periodic::Update-Package-Lists \"1\";\n\
    APT::Periodic::Unattended-Upgrade \"1\";\n";
const APT_TIMERS: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];
/// Installs whatever `automatic.conf` says about downloading only.
const DNF_TIMER: &str = "dnf-automatic-install.timer";

/// Security updates install themselves.
#[derive(Debug, Clone, Copy)]
pub struct UnattendedUpgrades;

/// What is set, and what would carry it out.
#[derive(Debug, Clone)]
pub struct Evidence {
    manager: Option<PackageManager>,
    init: InitSystem,
    has_program: bool,
    /// `apt-config dump`.
    settings: String,
    timers: Vec<(&'static str, ServiceState)>,
    /// Where there are no timers, cron carries it out.
    has_cron: bool,
    cron: ServiceState,
}

#[async_trait]
impl Change for UnattendedUpgrades {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let platform = host.platform();
        let is_apt = platform.package_manager == Some(PackageManager::Apt);
        let names: &[&'static str] = match (platform.package_manager, platform.init_system) {
            (Some(PackageManager::Apt), InitSystem::Systemd) => &APT_TIMERS,
            (Some(PackageManager::Dnf), InitSystem::Systemd) => &[DNF_TIMER],
            _ => &[],
        };
        let mut timers = Vec::new();
        for name in names {
            timers.push((*name, look::service(host, name).await));
        }
        let settings = if is_apt { look::ask(host, "apt-config", &["dump"]).await? } else { String::new() };
        Ok(Evidence {
            manager: platform.package_manager,
            init: platform.init_system,
            has_program: host.has_program(if is_apt { "unattended-upgrade" } else { "dnf-automatic" }),
            settings,
            timers,
            has_cron: host.has_program("cron") || host.has_program("crond"),
            cron: look::service(host, "cron").await,
        })
    }

    fn plan(&self, evidence: &Evidence) -> Result<Plan, Refused> {
        let package = match (evidence.manager, evidence.init) {
            (_, InitSystem::None) => return Err(not_here("without an init system nothing would start them")),
            (Some(PackageManager::Apt), _) => "unattended-upgrades",
            (Some(PackageManager::Dnf), InitSystem::Systemd) => "dnf-automatic",
            _ => return Err(not_here("this system's package manager has no program that installs updates by itself")),
        };
        let mut steps = Vec::new();
        if !evidence.has_program {
            steps.push(Step::InstallPackages { names: vec![package.to_owned()], keeps_data: false });
        }
        if evidence.manager == Some(PackageManager::Apt) && !is_periodic(&evidence.settings) {
            steps.push(look::write(APT_FILE, APT_TEXT, 0o644));
        }
        let on = |unit: &str| Step::Service { unit: unit.to_owned(), enabled: Some(true), running: Some(true) };
        steps.extend(evidence.timers.iter().filter(|(_, state)| !is_on(*state)).map(|(name, _)| on(name)));
        if evidence.init != InitSystem::Systemd {
            if !evidence.has_cron {
                steps.push(Step::InstallPackages { names: vec!["cron".to_owned()], keeps_data: false });
            }
            if !is_on(evidence.cron) {
                steps.push(on("cron"));
            }
        }
        let is = if steps.is_empty() { "install themselves" } else { "do not install themselves" };
        Ok(Plan::of(steps, format!("security updates {is}")))
    }
}

fn not_here(why: &str) -> Refused {
    Refused::new(NOT_APPLICABLE, why)
}

fn is_on(state: ServiceState) -> bool {
    state.enabled && state.running
}

/// Reads `apt-config dump`. Intervals are days, or have a unit; zero is never.
fn is_periodic(settings: &str) -> bool {
    let value = |name: &str| {
        let line = settings.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.trim_end_matches(';').trim_matches('"'))
    };
    let is_set = |value: &str| !value.is_empty() && !matches!(value, "0" | "no" | "false");
    let happens = |name: &str| value(name).is_some_and(is_set);
    value("APT::Periodic::Enable").is_none_or(is_set)
        && happens("APT::Periodic::Update-Package-Lists")
        && happens("APT::Periodic::Unattended-Upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: ServiceState = ServiceState { enabled: true, running: true };
    const OFF: ServiceState = ServiceState { enabled: false, running: false };
    const SET: &str = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";

    fn debian() -> Evidence {
        Evidence {
            manager: Some(PackageManager::Apt),
            init: InitSystem::Systemd,
            has_program: true,
            settings: SET.into(),
            timers: APT_TIMERS.map(|name| (name, ON)).to_vec(),
            has_cron: false,
            cron: OFF,
        }
    }

    fn titles(evidence: &Evidence) -> Vec<String> {
        UnattendedUpgrades.plan(evidence).expect("a plan").steps.iter().map(Step::title).collect()
    }

    #[test]
    fn what_is_so_in_effect_is_left_alone() {
        assert_eq!(titles(&debian()), [""; 0]);
        let bare = Evidence { has_program: false, settings: String::new(), ..debian() };
        assert_eq!(titles(&bare), ["install unattended-upgrades".to_owned(), format!("write {APT_FILE}")]);
        let masked = Evidence { timers: vec![(APT_TIMERS[0], ON), (APT_TIMERS[1], OFF)], ..debian() };
        assert_eq!(titles(&masked), ["enable and start apt-daily-upgrade.timer"]);
    }

    #[test]
    fn what_is_switched_off_elsewhere_counts_as_off() {
        assert!(is_periodic(SET) && is_periodic(APT_TEXT));
        assert!(!is_periodic(&format!("{SET}APT::Periodic::Enable \"0\";\n")));
        assert!(!is_periodic(&SET.replace("Upgrade \"1\"", "Upgrade \"0\"")));
        assert!(!is_periodic("APT::Periodic \"\";\n"));
    }

    #[test]
    fn without_timers_cron_carries_it_out() {
        let devuan = Evidence { init: InitSystem::Sysvinit, timers: Vec::new(), ..debian() };
        assert_eq!(titles(&devuan), ["install cron", "enable and start cron"]);
        assert_eq!(titles(&Evidence { has_cron: true, cron: ON, ..devuan }), [""; 0]);
    }

    #[test]
    fn other_package_managers_say_so() {
        let rocky = Evidence { manager: Some(PackageManager::Dnf), timers: vec![(DNF_TIMER, OFF)], ..debian() };
        assert_eq!(titles(&rocky), ["enable and start dnf-automatic-install.timer"]);
        for manager in [Some(PackageManager::Apk), Some(PackageManager::Pacman), Some(PackageManager::Yum), None] {
            let refused = UnattendedUpgrades.plan(&Evidence { manager, ..debian() }).expect_err("nothing to set");
            assert_eq!(refused.code, NOT_APPLICABLE);
        }
    }
}
