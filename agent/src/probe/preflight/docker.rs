//! Docker: installed and recent, running, usable by the user deployments will use.

use muster_shared::{
    facts::{Docker, DockerStatus},
    preflight::{CheckName, CheckResult, MIN_DOCKER_VERSION},
};

use super::evidence::User;

pub(super) fn decide_installed(docker: &Docker) -> CheckResult {
    let name = CheckName::DockerInstalled;
    let (major, minor) = MIN_DOCKER_VERSION;
    match (docker.status, &docker.version) {
        (DockerStatus::NotInstalled, _) => CheckResult::failed(
            name,
            "Docker is not installed",
            format!("Install Docker Engine {major}.{minor} or later."),
        ),
        (_, Some(version)) if !is_recent(version) => CheckResult::failed(
            name,
            format!("Docker {version} is older than {major}.{minor}"),
            format!("Upgrade to Docker Engine {major}.{minor} or later."),
        ),
        (_, Some(version)) => CheckResult::passed(name, format!("Docker {version} is installed")),
        (_, None) => CheckResult::passed(name, "Docker is installed; its version is known once it runs"),
    }
}

pub(super) fn decide_running(docker: &Docker) -> CheckResult {
    let name = CheckName::DockerRunning;
    match docker.status {
        DockerStatus::Running => CheckResult::passed(name, "the Docker engine answers"),
        DockerStatus::PermissionDenied => {
            CheckResult::passed(name, "the Docker engine listens, though this user may not ask it")
        }
        DockerStatus::NotInstalled => {
            CheckResult::failed(name, "Docker is not installed, so it does not run", "Install Docker, then start it.")
        }
        DockerStatus::Stopped => CheckResult::failed(
            name,
            "Docker is installed but does not run",
            "Start it and enable it at boot: systemctl enable --now docker.",
        ),
        DockerStatus::Hung => CheckResult::failed(
            name,
            "the Docker engine accepts connections but does not answer",
            "Look into its log (journalctl -u docker) and restart it: systemctl restart docker.",
        ),
        DockerStatus::Unknown => CheckResult::failed(
            name,
            "the Docker engine gave no usable answer",
            "Look into its log (journalctl -u docker) and restart it.",
        ),
    }
}

pub(super) fn decide_permissions(docker: &Docker, user: &User) -> CheckResult {
    let name = CheckName::DockerPermissions;
    let add = format!("Add the user to the docker group (usermod -aG docker {}) and log in again.", user.name);
    if !user.exists {
        let remedy = format!("Create the user {}, or name another.", user.name);
        return CheckResult::failed(name, format!("there is no user {} on this host", user.name), remedy);
    }
    if user.is_root {
        return CheckResult::passed(name, "root may use Docker");
    }
    if user.may_use_docker {
        return CheckResult::passed(name, format!("{} may use the Docker socket", user.name));
    }
    match docker.status {
        DockerStatus::NotInstalled => {
            CheckResult::failed(name, "Docker is not installed, so there is no docker group yet", add)
        }
        _ => CheckResult::failed(name, format!("{} may not use the Docker socket", user.name), add),
    }
}

/// `20.10.24+dfsg1`, `28.2.2`, `24.0.0-rc.1`. What can't be read is taken for recent: development builds name themselves.
fn is_recent(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MIN_DOCKER_VERSION,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(status: DockerStatus, version: Option<&str>) -> Docker {
        Docker { status, version: version.map(str::to_owned), ..Docker::default() }
    }

    #[test]
    fn versions_below_the_minimum_fail() {
        let passes = |version| decide_installed(&docker(DockerStatus::Running, Some(version))).passed;
        assert!(passes("20.10.24+dfsg1") && passes("28.2.2") && passes("24.0.0-rc.1") && passes("dev"));
        assert!(!passes("19.03.15") && !passes("20.9.0"));
        let missing = decide_installed(&docker(DockerStatus::NotInstalled, None));
        assert!(!missing.passed && missing.fixable);
        assert!(decide_installed(&docker(DockerStatus::Stopped, None)).passed);
    }

    #[test]
    fn only_an_engine_that_answers_runs() {
        use DockerStatus::{Hung, NotInstalled, PermissionDenied, Running, Stopped, Unknown};
        for (status, passes) in [
            (Running, true),
            (PermissionDenied, true),
            (Stopped, false),
            (Hung, false),
            (NotInstalled, false),
            (Unknown, false),
        ] {
            let result = decide_running(&docker(status, None));
            assert_eq!(result.passed, passes, "{status:?}");
            assert_eq!(result.remedy.is_empty(), passes, "{status:?}");
        }
    }

    #[test]
    fn permissions_are_those_of_the_named_user() {
        let running = docker(DockerStatus::Running, Some("28.2.2"));
        let user = |may_use_docker| User { name: "deploy".into(), exists: true, may_use_docker, ..User::default() };
        assert!(decide_permissions(&running, &user(true)).passed);
        let refused = decide_permissions(&running, &user(false));
        assert!(!refused.passed && refused.fixable && refused.remedy.contains("deploy"));
    }
}
