//! Only named ports can be reached from outside: SSH's own, always, and those that were asked for.
//!
//! The rules are a table of nftables of our own, the same on every system. Whatever another program lets in, this table
//! drops what was not asked for, and nobody's restart or reload takes it away: Docker, ufw, firewalld and fail2ban leave
//! other tables alone. It judges what is for the host itself and what is passed on to a container, so that a port that
//! Docker publishes is closed unless it was asked for. Where ufw or firewalld is active, it is told to let the named ports
//! in, since both have to agree; nothing is taken away from its rules.
//!
//! The table is loaded by a unit before the network is up. Nothing of it stays without a confirmation.

mod others;
mod table;

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_shared::{
    action::item::FirewallArgs,
    facts::{InitSystem, PackageManager},
};

use self::others::{Firewalld, Ufw};
use super::{NOT_APPLICABLE, look};
use crate::action::{
    host::{File, Host},
    plan::{Change, Plan, Refused},
    step::{Call, Owner, ServiceState, Step},
};

const FOLDER: &str = "/etc/muster-agent";
const RULES: &str = "/etc/muster-agent/firewall.nft";
const UNIT: &str = "muster-firewall.service";
const UNIT_FILE: &str = "/etc/systemd/system/muster-firewall.service";
/// What OpenRC's service `local` runs at boot, and what ifupdown runs before an interface comes up. Both are run as
/// programs: nft reads itself as its script.
const OPENRC_FILE: &str = "/etc/local.d/muster-firewall.start";
const IFUPDOWN_FOLDER: &str = "/etc/network/if-pre-up.d";
const IFUPDOWN_FILE: &str = "/etc/network/if-pre-up.d/muster-firewall";
const LOAD_S: u64 = 20;
/// What hands out traffic by rules of its own that ours would cut off.
const ORCHESTRATORS: [&str; 3] = ["kubelet", "k3s", "rke2"];

/// Which ports are open.
#[derive(Debug, Clone)]
pub struct Firewall(pub FirewallArgs);

/// What can be reached now, and by what it is decided.
#[derive(Debug, Clone)]
pub struct Evidence {
    manager: Option<PackageManager>,
    init: InitSystem,
    orchestrator: Option<&'static str>,
    has_nft: bool,
    ssh: BTreeSet<u16>,
    has_folder: bool,
    has_ifupdown: bool,
    /// The file that is loaded at boot.
    rules: Option<(String, File)>,
    /// The table as the kernel has it.
    loaded: Option<String>,
    unit_file: String,
    service: ServiceState,
    ufw: Option<Ufw>,
    firewalld: Option<Firewalld>,
}

#[async_trait]
impl Change for Firewall {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let platform = host.platform();
        let has_nft = host.has_program("nft");
        let loaded =
            if has_nft { look::ask_maybe(host, "nft", &["list", "table", "inet", table::NAME]).await } else { None };
        let file = place(platform.init_system);
        Ok(Evidence {
            manager: platform.package_manager,
            init: platform.init_system,
            orchestrator: ORCHESTRATORS.into_iter().find(|program| host.has_program(program)),
            has_nft,
            ssh: look::ssh_ports(host).await?,
            has_folder: host.has_directory(FOLDER).unwrap_or(false),
            has_ifupdown: host.has_directory(IFUPDOWN_FOLDER).unwrap_or(false),
            rules: look::text_file(host, file)?,
            loaded,
            unit_file: look::text(host, UNIT_FILE),
            service: look::service(host, if platform.init_system == InitSystem::Openrc { "local" } else { UNIT }).await,
            ufw: Ufw::read(host)?,
            firewalld: Firewalld::read(host).await?,
        })
    }

    fn plan(&self, evidence: &Evidence) -> Result<Plan, Refused> {
        refuse(evidence)?;
        let wanted = table::text(&evidence.ssh, &self.0);
        let is_written = evidence.rules.as_ref().is_some_and(|(text, _)| *text == wanted);
        let is_loaded = evidence.loaded.as_deref().is_some_and(|loaded| table::is_as_written(loaded, &wanted));
        let mut steps = Vec::new();
        if !evidence.has_nft {
            steps.push(Step::InstallPackages { names: vec!["nftables".to_owned()], keeps_data: false });
        }
        let first_risk = steps.len();
        let ports: BTreeSet<u16> =
            evidence.ssh.iter().copied().chain(self.0.open_ports.iter().map(|port| port.get())).collect();
        steps.extend(evidence.ufw.as_ref().map(|ufw| ufw.openings(&ports)).unwrap_or_default());
        steps.extend(evidence.firewalld.as_ref().map(|firewalld| firewalld.openings(&ports)).unwrap_or_default());
        match evidence.init {
            InitSystem::Systemd => steps.extend(with_unit(evidence, wanted, is_written, is_loaded)),
            _ => steps.extend(without_unit(evidence, wanted, is_written, is_loaded)),
        }
        let ssh: Vec<String> = evidence.ssh.iter().map(u16::to_string).collect();
        let from = if self.0.ssh_from.is_empty() { "everywhere".to_owned() } else { networks(&self.0) };
        let open: Vec<String> = self.0.open_ports.iter().map(ToString::to_string).collect();
        let is = if steps.is_empty() { "nothing else can be reached" } else { "other ports can be reached" };
        let seen = format!("SSH on {} from {from}, open: {}; {is}", ssh.join(", "), open.join(", "));
        Ok(Plan::of(steps, seen).confirmed_from(first_risk))
    }
}

fn refuse(evidence: &Evidence) -> Result<(), Refused> {
    if let Some(program) = evidence.orchestrator {
        let detail = format!("{program} hands out traffic by rules of its own, which these would cut off");
        return Err(Refused::new(NOT_APPLICABLE, detail));
    }
    if evidence.ssh.is_empty() {
        let detail = "nothing was found that listens for SSH, so its port could not be kept open";
        return Err(Refused::new("no_ssh_port", detail));
    }
    if !evidence.has_nft && evidence.manager.is_none() {
        return Err(Refused::new("no_nft", "nft is not installed, and no package manager is known here"));
    }
    match evidence.init {
        InitSystem::None => Err(Refused::new(NOT_APPLICABLE, "without an init system nothing would load it at boot")),
        InitSystem::Sysvinit if !evidence.has_ifupdown => Err(Refused::new(
            "no_boot_hook",
            format!("{IFUPDOWN_FOLDER} is not there, so nothing would load it at boot"),
        )),
        _ => Ok(()),
    }
}

fn networks(args: &FirewallArgs) -> String {
    args.ssh_from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn place(init: InitSystem) -> &'static str {
    match init {
        InitSystem::Openrc => OPENRC_FILE,
        InitSystem::Sysvinit => IFUPDOWN_FILE,
        InitSystem::Systemd | InitSystem::None => RULES,
    }
}

/// The rules are tried by nft before they take the file's place.
fn rules_file(evidence: &Evidence, wanted: String, mode: u32) -> Step {
    let path = place(evidence.init);
    let mut step = match &evidence.rules {
        Some((_, file)) => look::rewrite(path, wanted, file),
        None => look::write(path, wanted, mode),
    };
    if let Step::WriteFile { check, .. } = &mut step {
        *check = Some(Call::new("nft", &["--check", "--file", "{}"], LOAD_S));
    }
    step
}

fn with_unit(evidence: &Evidence, wanted: String, is_written: bool, is_loaded: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if !evidence.has_folder {
        steps.push(Step::MakeDirectory { path: FOLDER.to_owned(), mode: 0o755, owner: Owner::ROOT });
    }
    if !is_written {
        steps.push(rules_file(evidence, wanted, 0o600));
    }
    let unit = unit_text();
    if evidence.unit_file != unit {
        steps.push(look::write(UNIT_FILE, unit, 0o644));
        let call = Call::new("systemctl", &["daemon-reload"], LOAD_S);
        steps.push(Step::Refresh { title: "have systemd read its units".to_owned(), call });
    }
    // A unit that has loaded its table counts as running, also when the table was changed or taken away since.
    if evidence.service.running && (!is_written || !is_loaded) {
        steps.extend(Step::reload(evidence.init, UNIT));
    }
    if !(evidence.service.enabled && evidence.service.running) {
        steps.push(Step::Service { unit: UNIT.to_owned(), enabled: Some(true), running: Some(true) });
    }
    // The folder alone is no change.
    if steps.iter().all(|step| matches!(step, Step::MakeDirectory { .. })) { Vec::new() } else { steps }
}

fn without_unit(evidence: &Evidence, wanted: String, is_written: bool, is_loaded: bool) -> Vec<Step> {
    let path = place(evidence.init);
    let mut steps = Vec::new();
    if !is_written {
        steps.push(rules_file(evidence, wanted, 0o755));
    }
    if evidence.init == InitSystem::Openrc && !evidence.service.enabled {
        steps.push(Step::Service { unit: "local".to_owned(), enabled: Some(true), running: None });
    }
    if !is_written || !is_loaded {
        let load = Call::new("nft", &["-f", path], LOAD_S);
        if evidence.rules.is_some() {
            steps.push(Step::Refresh { title: "load the rules".to_owned(), call: load });
        } else {
            let drop = Call::new("nft", &["delete", "table", "inet", table::NAME], LOAD_S).accepting(1);
            steps.push(Step::Run { title: "load the rules".to_owned(), call: load, inverse: Some(drop) });
        }
    }
    steps
}

fn unit_text() -> String {
    let name = table::NAME;
    format!(
        "# Written by Muster.\n\
         [Unit]\nDescription=Only the ports that were asked for can be reached\nDefaultDependencies=no\n\
         Wants=network-pre.target\nBefore=network-pre.target\nAfter=local-fs.target systemd-modules-load.service\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/nft -f {RULES}\n\
         ExecReload=/usr/sbin/nft -f {RULES}\nExecStopPost=-/usr/sbin/nft delete table inet {name}\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

#[cfg(test)]
mod tests;
