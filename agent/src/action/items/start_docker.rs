//! Docker runs now, and after each boot.

use async_trait::async_trait;

use crate::action::{
    engine::service_state,
    host::Host,
    plan::{Change, Plan, Refused},
    step::{ServiceState, Step},
};

const UNIT: &str = "docker.service";

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct StartDocker;

/// Whether there is a daemon, and how its service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    installed: bool,
    service: ServiceState,
}

#[async_trait]
impl Change for StartDocker {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let service = service_state(host, UNIT).await.map_err(|why| Refused::new("no_init_system", why))?;
        Ok(Evidence { installed: host.has_program("dockerd"), service })
    }

    fn plan(&self, found: &Evidence) -> Result<Plan, Refused> {
        if !found.installed {
            return Err(Refused::new(
                "docker_not_installed",
                "Docker is not installed; install it first (install_docker)",
            ));
        }
        let ServiceState { enabled, running } = found.service;
        let word = |is: bool| if is { "" } else { "not " };
        let evidence = format!("{UNIT} is {}running and {}enabled", word(running), word(enabled));
        if running && enabled {
            return Ok(Plan::nothing(evidence));
        }
        let step = Step::Service { unit: UNIT.to_owned(), enabled: Some(true), running: Some(true) };
        Ok(Plan::of(vec![step], evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_and_not_yet_running_is_started() {
        let plan = |installed, enabled, running| {
            let service = ServiceState { enabled, running };
            StartDocker
                .plan(&Evidence { installed, service })
                .map(|plan| plan.steps.len())
                .map_err(|refused| refused.code)
        };
        assert_eq!(plan(false, false, false), Err("docker_not_installed"));
        assert_eq!((plan(true, true, true), plan(true, true, false), plan(true, false, true)), (Ok(0), Ok(1), Ok(1)));
    }
}
