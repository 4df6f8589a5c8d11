//! What has each init system start the agent: files, and words for the init system's own tools.

use std::path::PathBuf;

use muster_shared::facts::InitSystem;

use crate::os::services::{Change, ServiceName, orders};

const UNITS_DIR: &str = "/etc/systemd/system";
const SCRIPT: &str = "/etc/init.d/muster-agent";
/// Where the scripts have the agent write; systemd has its journal.
const LOG: &str = "/var/log/muster-agent.log";

/// How an init system starts the agent.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    pub init: InitSystem,
    /// In the order in which they are started: the link waits for the executor.
    pub names: &'static [&'static str],
    texts: &'static [&'static str],
}

const SYSTEMD: Service = Service {
    init: InitSystem::Systemd,
    names: &["muster-agent-executor.service", "muster-agent-link.service"],
    texts: &[
        include_str!("../../../packaging/systemd/muster-agent-executor.service"),
        include_str!("../../../packaging/systemd/muster-agent-link.service"),
    ],
};
const OPENRC: Service = Service {
    init: InitSystem::Openrc,
    names: &["muster-agent"],
    texts: &[include_str!("../../../packaging/openrc/muster-agent")],
};
const SYSVINIT: Service = Service {
    init: InitSystem::Sysvinit,
    names: &["muster-agent"],
    texts: &[include_str!("../../../packaging/sysvinit/muster-agent")],
};

impl Service {
    /// `None` where no init system is known that could.
    #[must_use]
    pub fn of(init: InitSystem) -> Option<Self> {
        match init {
            InitSystem::Systemd => Some(SYSTEMD),
            InitSystem::Openrc => Some(OPENRC),
            InitSystem::Sysvinit => Some(SYSVINIT),
            InitSystem::None => None,
        }
    }

    /// Each file's path, text and mode.
    pub fn files(&self) -> impl Iterator<Item = (PathBuf, &'static str, u32)> {
        let is_systemd = self.init == InitSystem::Systemd;
        self.names.iter().zip(self.texts).map(move |(name, text)| match is_systemd {
            true => (PathBuf::from(UNITS_DIR).join(name), *text, 0o644),
            false => (PathBuf::from(SCRIPT), *text, 0o755),
        })
    }

    /// Whatever any init system's service may have left on a host.
    pub fn leftovers() -> impl Iterator<Item = PathBuf> {
        let files = [SYSTEMD, OPENRC].into_iter().flat_map(|service| service.files().collect::<Vec<_>>());
        files.map(|(path, ..)| path).chain([PathBuf::from(LOG)])
    }

    /// Programs with their arguments that ask for `change`, in order.
    #[must_use]
    pub fn words(&self, change: Change) -> Vec<(&'static str, Vec<String>)> {
        let names = self.names.iter().filter_map(|name| name.parse::<ServiceName>().ok());
        let orders = names.filter_map(|name| orders(self.init, change, &name)).flatten();
        orders.map(|order| (order.program, order.arguments)).collect()
    }

    /// What a person asks how it stands.
    #[must_use]
    pub fn look(&self) -> String {
        let names = self.names.join(" ");
        match self.init {
            InitSystem::Systemd => format!("systemctl status {names}"),
            InitSystem::Openrc => format!("rc-service {names} status"),
            InitSystem::Sysvinit | InitSystem::None => format!("service {names} status"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_init_system_starts_it_with_the_boot() {
        for (init, files, words) in [
            (InitSystem::Systemd, 2, "systemctl --quiet enable muster-agent-executor.service"),
            (InitSystem::Openrc, 1, "rc-update --quiet add muster-agent default"),
            (InitSystem::Sysvinit, 1, "update-rc.d muster-agent defaults"),
        ] {
            let service = Service::of(init).expect("a service");
            assert_eq!(service.files().count(), files);
            let (program, arguments) = service.words(Change::Enable).remove(0);
            assert_eq!(format!("{program} {}", arguments.join(" ")), words);
            assert!(service.files().all(|(path, ..)| Service::leftovers().any(|left| left == path)));
        }
        assert!(Service::of(InitSystem::None).is_none());
    }
}
