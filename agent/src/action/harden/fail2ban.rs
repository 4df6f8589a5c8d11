//! Addresses that guess passwords over SSH are shut out for a while.
//!
//! fail2ban reads failed logins from the journal where systemd runs: since Debian 12 there is no `auth.log` unless
//! somebody installs a writer for it, and the default jail does not start without one. Whether the item holds is asked
//! of the running server, not of files.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_shared::{
    action::item::Fail2banArgs,
    facts::{InitSystem, PackageManager},
};

use super::{NOT_APPLICABLE, look};
use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{ServiceState, Step},
};

/// Files that end in `.local` are read after all others, in this directory in the order of their names.
const FILE: &str = "/etc/fail2ban/jail.d/zz-muster.local";
const UNIT: &str = "fail2ban";
/// Within this time failed logins add up.
const FIND_SECONDS: u32 = 600;
/// Where packages for these systems come from that the distribution itself does not carry.
const EPEL_SYSTEMS: [&str; 5] = ["rocky", "almalinux", "centos", "rhel", "ol"];

/// A jail for SSH.
#[derive(Debug, Clone)]
pub struct Fail2ban(pub Fail2banArgs);

/// What runs and what it would have to be told.
#[derive(Debug, Clone)]
pub struct Evidence {
    manager: Option<PackageManager>,
    init: InitSystem,
    os_id: String,
    has_program: bool,
    service: ServiceState,
    /// Failures and seconds of the running jail; a negative number of seconds means for ever.
    jail: Option<(i64, i64)>,
    file: Option<String>,
    ports: BTreeSet<u16>,
    has_iptables: bool,
    has_nft: bool,
}

#[async_trait]
impl Change for Fail2ban {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let platform = host.platform();
        let service = look::service(host, UNIT).await;
        let number = async |name: &str| {
            let said = look::ask_maybe(host, "fail2ban-client", &["get", "sshd", name]).await?;
            said.trim().parse::<i64>().ok()
        };
        let jail = if service.running { number("maxretry").await.zip(number("bantime").await) } else { None };
        Ok(Evidence {
            manager: platform.package_manager,
            init: platform.init_system,
            os_id: host.release().id,
            has_program: host.has_program("fail2ban-client"),
            service,
            jail,
            file: look::text_file(host, FILE)?.map(|(text, _)| text),
            ports: if jail.is_some() { BTreeSet::new() } else { look::ssh_ports(host).await? },
            has_iptables: host.has_program("iptables"),
            has_nft: host.has_program("nft"),
        })
    }

    fn plan(&self, evidence: &Evidence) -> Result<Plan, Refused> {
        if evidence.init == InitSystem::None {
            return Err(Refused::new(NOT_APPLICABLE, "without an init system nothing would start it"));
        }
        let suffices = |(retries, seconds): (i64, i64)| {
            (1..=i64::from(self.0.max_retry)).contains(&retries)
                && (seconds < 0 || seconds >= i64::from(self.0.ban_seconds))
        };
        let is_jailed = evidence.jail.is_some_and(suffices);
        if is_jailed && evidence.service.enabled {
            let (retries, _) = evidence.jail.unwrap_or_default();
            return Ok(Plan::nothing(format!("an address is shut out after {retries} failed logins")));
        }
        let mut steps = Vec::new();
        if !evidence.has_program {
            let packages = packages(evidence)
                .ok_or_else(|| Refused::new(NOT_APPLICABLE, "no package manager is known here that has fail2ban"))?;
            let install = |names: Vec<String>| Step::InstallPackages { names, keeps_data: false };
            steps.extend(packages.into_iter().map(install));
        }
        if !is_jailed {
            let text = self.jail(evidence);
            if evidence.file.as_ref() != Some(&text) {
                steps.push(look::write(FILE, text, 0o644));
            }
        }
        if !(evidence.service.enabled && evidence.service.running) {
            steps.push(Step::Service { unit: UNIT.to_owned(), enabled: Some(true), running: Some(true) });
        }
        if evidence.service.running && !is_jailed {
            steps.extend(Step::restart(evidence.init, UNIT));
        }
        let found = match (evidence.has_program, evidence.service.running, evidence.jail) {
            (false, ..) => "fail2ban is not installed",
            (_, false, _) => "fail2ban does not run",
            (.., None) => "fail2ban runs without a jail for sshd",
            _ => "fail2ban is more patient than it should be, or does not start with the boot",
        };
        Ok(Plan::of(steps, found))
    }
}

impl Fail2ban {
    fn jail(&self, evidence: &Evidence) -> String {
        let ports: Vec<String> = evidence.ports.iter().map(u16::to_string).collect();
        let ports = if ports.is_empty() { "ssh".to_owned() } else { ports.join(",") };
        let backend = if evidence.init == InitSystem::Systemd { "systemd" } else { "auto" };
        // Where neither is there yet, nftables is installed beside it.
        let action = if evidence.has_iptables { "" } else { "banaction = nftables-multiport\n" };
        format!(
            "# Written by Muster: addresses that guess passwords over SSH are shut out for a while.\n\
             [sshd]\nenabled = true\nbackend = {backend}\nport = {ports}\nmaxretry = {}\nfindtime = {FIND_SECONDS}\n\
             bantime = {}\n{action}",
            self.0.max_retry, self.0.ban_seconds
        )
    }
}

/// What is installed, in this order, each by itself; `None` where nobody offers it.
fn packages(evidence: &Evidence) -> Option<Vec<Vec<String>>> {
    let mut first: Vec<Vec<&str>> = Vec::new();
    let mut names = match evidence.manager? {
        PackageManager::Apt => vec!["fail2ban", "python3-systemd"],
        PackageManager::Dnf => {
            if EPEL_SYSTEMS.contains(&evidence.os_id.as_str()) {
                first.push(vec!["epel-release"]);
            }
            vec!["fail2ban-server", "fail2ban-systemd"]
        }
        PackageManager::Apk => vec!["fail2ban"],
        PackageManager::Pacman => vec!["fail2ban", "python-systemd"],
        PackageManager::Yum => return None,
    };
    if !evidence.has_iptables && !evidence.has_nft {
        names.push("nftables");
    }
    first.push(names);
    Some(first.into_iter().map(|names| names.into_iter().map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: ServiceState = ServiceState { enabled: true, running: true };
    const OFF: ServiceState = ServiceState { enabled: false, running: false };

    fn bookworm() -> Evidence {
        Evidence {
            manager: Some(PackageManager::Apt),
            init: InitSystem::Systemd,
            os_id: "debian".into(),
            has_program: false,
            service: OFF,
            jail: None,
            file: None,
            ports: BTreeSet::from([22, 2222]),
            has_iptables: true,
            has_nft: false,
        }
    }

    fn item() -> Fail2ban {
        Fail2ban(Fail2banArgs::default())
    }

    fn titles(evidence: &Evidence) -> Vec<String> {
        item().plan(evidence).expect("a plan").steps.iter().map(Step::title).collect()
    }

    #[test]
    fn the_journal_is_read_where_there_is_one_and_the_real_ports_are_watched() {
        let expected = [
            "install fail2ban, python3-systemd".to_owned(),
            format!("write {FILE}"),
            "enable and start fail2ban".into(),
        ];
        assert_eq!(titles(&bookworm()), expected);
        let jail = item().jail(&bookworm());
        assert!(jail.contains("backend = systemd\nport = 22,2222\nmaxretry = 3\n"), "{jail}");
        assert!(!jail.contains("banaction"), "{jail}");
        let alpine = Evidence { init: InitSystem::Openrc, has_iptables: false, ..bookworm() };
        let jail = item().jail(&alpine);
        assert!(jail.contains("backend = auto\n") && jail.contains("banaction = nftables-multiport"), "{jail}");
    }

    #[test]
    fn a_jail_that_is_as_strict_is_left_alone() {
        let running = Evidence { has_program: true, service: ON, ..bookworm() };
        for jail in [(3, 3600), (1, 86_400), (2, -1)] {
            assert_eq!(titles(&Evidence { jail: Some(jail), ..running.clone() }), [""; 0], "{jail:?}");
        }
        for jail in [(5, 3600), (3, 600), (0, 3600)] {
            let expected = [format!("write {FILE}"), "restart fail2ban".to_owned()];
            assert_eq!(titles(&Evidence { jail: Some(jail), ..running.clone() }), expected, "{jail:?}");
        }
        let not_at_boot =
            Evidence { jail: Some((3, 3600)), service: ServiceState { enabled: false, running: true }, ..running };
        assert_eq!(titles(&not_at_boot), ["enable and start fail2ban"]);
    }

    #[test]
    fn other_systems_get_it_where_they_have_it() {
        let rocky = Evidence { manager: Some(PackageManager::Dnf), os_id: "rocky".into(), ..bookworm() };
        assert_eq!(titles(&rocky)[..2], ["install epel-release", "install fail2ban-server, fail2ban-systemd"]);
        let old = Evidence { manager: Some(PackageManager::Yum), ..bookworm() };
        assert_eq!(item().plan(&old).expect_err("nobody has it").code, NOT_APPLICABLE);
    }
}
