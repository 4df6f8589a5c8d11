//! Whether the ports that deployments publish are free.

use muster_shared::{
    facts::ListeningPort,
    preflight::{CheckName, CheckResult},
};

const NAME: CheckName = CheckName::PortsAvailable;
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// Names who holds a port: process, id and unit. No ports mean 80 and 443.
pub(super) fn decide(ports: &[u16], listening: &[ListeningPort]) -> CheckResult {
    let ports = if ports.is_empty() { &DEFAULT_PORTS } else { ports };
    let taken: Vec<_> = ports
        .iter()
        .filter_map(|port| listening.iter().find(|listening| listening.protocol == "tcp" && listening.port == *port))
        .collect();
    if taken.is_empty() {
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        return CheckResult::passed(NAME, format!("free: {}", ports.join(", ")));
    }
    let evidence: Vec<_> = taken.iter().map(|port| holder(port)).collect();
    let mut remedies: Vec<_> = taken.iter().map(|port| remedy(port)).collect();
    remedies.dedup();
    CheckResult::failed(NAME, evidence.join("; "), remedies.join(" "))
}

fn holder(taken: &ListeningPort) -> String {
    match (&taken.process, taken.pid) {
        (Some(process), Some(pid)) => {
            let unit = taken.unit.as_ref().map_or_else(String::new, |unit| format!(", unit {unit}"));
            format!("port {} is held by {process} (pid {pid}{unit})", taken.port)
        }
        _ => format!("port {} is held by a process that only root can name", taken.port),
    }
}

fn remedy(taken: &ListeningPort) -> String {
    let port = taken.port;
    let is_ended_by_unit = |unit: &&String| unit.ends_with(".service") || unit.ends_with(".socket");
    match (taken.unit.as_ref().filter(is_ended_by_unit), &taken.process, taken.pid) {
        (_, Some(process), _) if process == "docker-proxy" => {
            format!(
                "A container publishes port {port}: stop it (docker ps --filter publish={port}), or publish another port."
            )
        }
        (Some(unit), ..) => {
            format!("Stop and disable {unit} (systemctl disable --now {unit}), or move it to another port.")
        }
        (None, Some(process), Some(pid)) => format!("Stop {process} (pid {pid}), or move it to another port."),
        _ => format!(
            "Find the process that holds port {port} as root (ss -ltnp), then stop it or move it to another port."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(port: u16, process: Option<&str>, unit: Option<&str>) -> ListeningPort {
        ListeningPort {
            protocol: "tcp".into(),
            address: "0.0.0.0".into(),
            port,
            pid: process.map(|_| 42),
            process: process.map(str::to_owned),
            unit: unit.map(str::to_owned),
        }
    }

    #[test]
    fn the_holder_is_named_with_its_unit() {
        let result = decide(&[], &[listening(80, Some("nginx"), Some("nginx.service"))]);
        assert!(!result.passed && !result.fixable);
        assert_eq!(result.evidence, "port 80 is held by nginx (pid 42, unit nginx.service)");
        assert!(result.remedy.contains("systemctl disable --now nginx.service"));
        let by_hand = decide(&[], &[listening(80, Some("nc"), Some("session-3.scope"))]);
        assert!(by_hand.remedy.contains("Stop nc (pid 42)"), "{}", by_hand.remedy);
    }

    #[test]
    fn other_ports_and_other_protocols_are_no_conflict() {
        let udp = ListeningPort { protocol: "udp".into(), ..listening(443, None, None) };
        assert!(decide(&[], &[listening(8080, Some("x"), None), udp]).passed);
        assert!(!decide(&[8080], &[listening(8080, None, None)]).passed);
    }
}
