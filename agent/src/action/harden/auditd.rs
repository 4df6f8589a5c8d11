//! What is done through Docker is on the kernel's own record: auditd runs, with rules for Docker's programs, settings and
//! socket. Searched with `ausearch -k docker`.

use async_trait::async_trait;
use muster_shared::facts::{InitSystem, PackageManager};

use super::{NOT_APPLICABLE, look};
use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{Call, ServiceState, Step},
};

const FILE: &str = "/etc/audit/rules.d/muster-docker.rules";
/// Docker's data directory is left out: every write of every container would be on the record.
const TEXT: &str = "# Written by Muster: who changes Docker and its settings, and who starts it.\n\
    -w /usr/bin/docker -p x -k docker\n\
    -w /usr/bin/dockerd -p wxa -k docker\n\
    -w /etc/docker -p wa -k docker\n\
    -w /etc/default/docker -p wa -k docker\n\
    -w /usr/lib/systemd/system/docker.service -p wa -k docker\n\
    -w /etc/systemd/system/docker.service.d -p wa -k docker\n";
const UNIT: &str = "auditd";
const LOAD_S: u64 = 30;

/// Docker's use is audited.
#[derive(Debug, Clone, Copy)]
pub struct Auditd;

/// What is installed, running and ruled.
#[derive(Debug, Clone)]
pub struct Evidence {
    is_container: bool,
    manager: Option<PackageManager>,
    init: InitSystem,
    has_program: bool,
    service: ServiceState,
    /// Some rules file has rules with the key `docker`.
    is_ruled: bool,
}

#[async_trait]
impl Change for Auditd {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let platform = host.platform();
        let rules = host.list("/etc/audit/rules.d").into_iter().filter(|name| name.ends_with(".rules"));
        let is_ruled =
            rules.into_iter().any(|name| rules_docker(&look::text(host, &format!("/etc/audit/rules.d/{name}"))));
        Ok(Evidence {
            is_container: look::is_container(host),
            manager: platform.package_manager,
            init: platform.init_system,
            has_program: host.has_program("auditd"),
            service: look::service(host, UNIT).await,
            is_ruled,
        })
    }

    fn plan(&self, evidence: &Evidence) -> Result<Plan, Refused> {
        if evidence.is_container {
            return Err(Refused::new(NOT_APPLICABLE, "the kernel's audit is the machine's, not a container's"));
        }
        let package = match (evidence.manager, evidence.init) {
            (Some(PackageManager::Apt), init) if init != InitSystem::None => "auditd",
            (Some(_), init) if init != InitSystem::None => "audit",
            _ => return Err(Refused::new(NOT_APPLICABLE, "no package manager or init system is known here")),
        };
        let mut steps = Vec::new();
        if !evidence.has_program {
            steps.push(Step::InstallPackages { names: vec![package.to_owned()], keeps_data: true });
        }
        if !evidence.is_ruled {
            steps.push(look::write(FILE, TEXT, 0o640));
        }
        if !(evidence.service.enabled && evidence.service.running) {
            steps.push(Step::Service { unit: UNIT.to_owned(), enabled: Some(true), running: Some(true) });
        }
        if !evidence.is_ruled {
            let call = Call::new("augenrules", &["--load"], LOAD_S);
            steps.push(Step::Refresh { title: "load the audit rules".to_owned(), call });
        }
        let is = if steps.is_empty() { "is audited" } else { "is not audited" };
        Ok(Plan::of(steps, format!("the use of Docker {is}")))
    }
}

fn rules_docker(text: &str) -> bool {
    let is_rule = |line: &&str| !line.trim_start().starts_with('#');
    text.lines().filter(is_rule).any(|line| line.contains("-k docker") || line.contains("key=docker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: ServiceState = ServiceState { enabled: false, running: false };

    fn bare() -> Evidence {
        Evidence {
            is_container: false,
            manager: Some(PackageManager::Apt),
            init: InitSystem::Systemd,
            has_program: false,
            service: OFF,
            is_ruled: false,
        }
    }

    fn titles(evidence: &Evidence) -> Vec<String> {
        Auditd.plan(evidence).expect("a plan").steps.iter().map(Step::title).collect()
    }

    #[test]
    fn it_runs_with_rules_for_docker() {
        let expected = [
            "install auditd".to_owned(),
            format!("write {FILE}"),
            "enable and start auditd".to_owned(),
            "load the audit rules".to_owned(),
        ];
        assert_eq!(titles(&bare()), expected);
        let service = ServiceState { enabled: true, running: true };
        assert_eq!(titles(&Evidence { has_program: true, service, is_ruled: true, ..bare() }), [""; 0]);
        assert_eq!(titles(&Evidence { manager: Some(PackageManager::Dnf), ..bare() })[0], "install audit");
        assert!(rules_docker(TEXT) && !rules_docker("# -w /x -k docker\n-w /y -k other\n"));
    }

    #[test]
    fn a_container_has_no_audit_of_its_own() {
        let refused = Auditd.plan(&Evidence { is_container: true, ..bare() }).expect_err("a container");
        assert_eq!(refused.code, NOT_APPLICABLE);
    }
}
