//! Whether the host can be reached over SSH, seen from the host itself.

use muster_shared::{
    facts::{Facts, ListeningPort},
    preflight::{CheckName, CheckResult},
};

const NAME: CheckName = CheckName::SshConnectivity;
const DEFAULT_PORT: u16 = 22;
const REMEDY: &str = "Install and start an SSH server (package openssh-server, service ssh or sshd).";

pub(super) fn decide(came_over_ssh: bool, facts: &Facts) -> CheckResult {
    if came_over_ssh {
        return CheckResult::passed(NAME, "this check itself came in over SSH");
    }
    let configured = facts.sshd.as_ref().map(|sshd| sshd.ports.as_slice()).filter(|ports| !ports.is_empty());
    let configured = configured.unwrap_or(&[DEFAULT_PORT]);
    let serves_ssh = |port: &&ListeningPort| match port.process.as_deref() {
        Some(process) => {
            let is_server = matches!(process, "sshd" | "dropbear");
            // Under socket activation init itself listens, and starts the server for each connection.
            is_server || (matches!(process, "systemd" | "init") && configured.contains(&port.port))
        }
        None => configured.contains(&port.port),
    };
    match facts.listening.iter().filter(|port| port.protocol == "tcp").find(serves_ssh) {
        Some(port) => {
            CheckResult::passed(NAME, format!("an SSH server listens on {} port {}", port.address, port.port))
        }
        None => CheckResult::failed(NAME, "no SSH server listens on this host", REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::facts::Sshd;

    use super::*;

    fn facts(port: u16, process: Option<&str>) -> Facts {
        let process = process.map(str::to_owned);
        let listening = vec![ListeningPort {
            protocol: "tcp".into(),
            address: "0.0.0.0".into(),
            port,
            process,
            ..Default::default()
        }];
        Facts { listening, ..Facts::default() }
    }

    #[test]
    fn a_server_counts_wherever_it_listens() {
        assert!(decide(false, &facts(2222, Some("sshd"))).passed);
        assert!(decide(false, &facts(22, None)).passed);
        assert!(decide(false, &facts(22, Some("systemd"))).passed);
        assert!(decide(true, &Facts::default()).passed);
    }

    #[test]
    fn anything_else_on_the_port_does_not() {
        assert!(!decide(false, &facts(22, Some("nc"))).passed);
        let mut moved = facts(22, None);
        moved.sshd = Some(Sshd { ports: vec![2222], ..Sshd::default() });
        assert!(!decide(false, &moved).passed);
        assert!(!decide(false, &Facts::default()).remedy.is_empty());
    }
}
