//! The services that hold certain ports are stopped and no longer start with the host: only a unit that really holds
//! one of the ports, and never the way in.

use async_trait::async_trait;
use muster_shared::{action::item::FreePortsArgs, facts::ListeningPort};

use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::Step,
};

/// What keeps the host reachable, and this agent.
const KEPT: [&str; 8] = [
    "dropbear.service",
    "dropbear.socket",
    "ssh.service",
    "ssh.socket",
    "sshd.service",
    "sshd.socket",
    "muster-agent-link.service",
    "muster-agent-executor.service",
];

/// See the module.
#[derive(Debug, Clone)]
pub struct FreePorts(pub FreePortsArgs);

#[async_trait]
impl Change for FreePorts {
    /// Who listens where.
    type Evidence = Vec<ListeningPort>;

    async fn gather(&self, host: &dyn Host) -> Result<Vec<ListeningPort>, Refused> {
        Ok(host.listening().await)
    }

    fn plan(&self, listening: &Vec<ListeningPort>) -> Result<Plan, Refused> {
        let mut units: Vec<String> = Vec::new();
        let mut seen = Vec::new();
        for port in &self.0.ports {
            let holders = listening.iter().filter(|held| held.protocol == "tcp" && held.port == port.get());
            for holder in holders {
                let unit = self.unit(holder)?;
                seen.push(format!("port {port} is held by {unit}"));
                if !units.contains(&unit) {
                    units.push(unit);
                }
            }
        }
        if units.is_empty() {
            let ports: Vec<String> = self.0.ports.iter().map(ToString::to_string).collect();
            return Ok(Plan::nothing(format!("free: {}", ports.join(", "))));
        }
        let stop = |unit: String| Step::Service { unit, enabled: Some(false), running: Some(false) };
        Ok(Plan::of(units.into_iter().map(stop).collect(), seen.join("; ")))
    }
}

impl FreePorts {
    /// The unit that may be stopped to free the port that `holder` holds.
    fn unit(&self, holder: &ListeningPort) -> Result<String, Refused> {
        let port = holder.port;
        let process = holder.process.as_deref().unwrap_or("a process that can't be named");
        if process == "docker-proxy" {
            let detail = format!("a container publishes port {port}; stop it, or have it publish another port");
            return Err(Refused::new("held_by_container", detail));
        }
        let is_unit = |unit: &&String| unit.ends_with(".service") || unit.ends_with(".socket");
        let unit = holder.unit.as_ref().filter(is_unit).ok_or_else(|| {
            let detail = format!("port {port} is held by {process}, which belongs to no service; stop it by hand");
            Refused::new("no_unit", detail)
        })?;
        if KEPT.contains(&unit.as_str()) {
            let detail = format!("port {port} is held by {unit}, which keeps this host reachable; it is not stopped");
            return Err(Refused::new("way_in", detail));
        }
        match &self.0.unit {
            Some(named) if named.as_str() != unit => {
                let detail = format!("port {port} is held by {unit}, not by {named}; nothing is stopped");
                Err(Refused::new("other_unit", detail))
            }
            _ => Ok(unit.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::action::Port;

    use super::*;

    fn held(port: u16, process: &str, unit: Option<&str>) -> ListeningPort {
        ListeningPort {
            protocol: "tcp".into(),
            address: "0.0.0.0".into(),
            port,
            pid: Some(42),
            process: Some(process.into()),
            unit: unit.map(str::to_owned),
        }
    }

    fn plan(unit: Option<&str>, listening: Vec<ListeningPort>) -> Result<Vec<String>, &'static str> {
        let unit = unit.map(|unit| unit.parse().expect("a name"));
        let change = FreePorts(FreePortsArgs { ports: vec![Port::HTTP, Port::HTTPS, Port::SSH], unit });
        let plan = change.plan(&listening).map_err(|refused| refused.code)?;
        Ok(plan.steps.iter().map(Step::title).collect())
    }

    #[test]
    fn the_unit_that_holds_the_ports_is_stopped_once() {
        let nginx = || vec![held(80, "nginx", Some("nginx.service")), held(443, "nginx", Some("nginx.service"))];
        let stopped = Ok(vec!["disable and stop nginx.service".to_owned()]);
        assert_eq!(plan(None, nginx()), stopped);
        assert_eq!(plan(Some("nginx.service"), nginx()), stopped);
        assert_eq!(plan(Some("apache2.service"), nginx()), Err("other_unit"));
        assert_eq!(plan(None, vec![held(8080, "x", Some("x.service"))]), Ok(vec![]));
        let udp = ListeningPort { protocol: "udp".into(), ..held(443, "x", Some("x.service")) };
        assert_eq!(plan(None, vec![udp]), Ok(vec![]));
    }

    #[test]
    fn neither_the_way_in_nor_containers_nor_strays_are_stopped() {
        assert_eq!(plan(None, vec![held(22, "sshd", Some("ssh.service"))]), Err("way_in"));
        assert_eq!(plan(None, vec![held(80, "docker-proxy", Some("docker.service"))]), Err("held_by_container"));
        assert_eq!(plan(None, vec![held(80, "nc", Some("session-3.scope"))]), Err("no_unit"));
        assert_eq!(plan(None, vec![held(80, "nc", None)]), Err("no_unit"));
    }
}
