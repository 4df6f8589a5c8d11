//! Docker Engine from the host's own package manager, with whatever proxies and mirrors it is set to use. Where the
//! host's owner has set up Docker's own repository, its packages are taken; the control plane can name no repository.

use async_trait::async_trait;
use muster_shared::{facts::PackageManager, preflight::MIN_DOCKER_VERSION};

use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{Call, Step},
};

const QUERY_S: u64 = 10;
/// What a configured repository of Docker's has in its address; mirrors keep the path.
const DOCKERS_OWN: [&str; 2] = ["download.docker.com", "/docker-ce/"];
const PACKAGES_OF_DOCKERS_OWN: [&str; 5] =
    ["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];
/// The first Debian whose `docker.io` is the daemon alone.
const DEBIAN_WITH_APART_CLIENT: u32 = 13;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct InstallDocker;

/// What is known of Docker and of where it could come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    daemon: bool,
    client: bool,
    /// What `dockerd --version` says.
    version: Option<String>,
    manager: Option<PackageManager>,
    has_dockers_own: bool,
    os: String,
    os_major: u32,
    /// The kernel confines containers with it and has nothing to load profiles with.
    lacks_apparmor: bool,
}

#[async_trait]
impl Change for InstallDocker {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let daemon = host.has_program("dockerd");
        let version = match daemon {
            true => host.ask_well(&Call::new("dockerd", &["--version"], QUERY_S)).await.ok().map(|said| said.stdout),
            false => None,
        };
        let text =
            |path: &str| host.read(path).ok().flatten().map(|file| String::from_utf8_lossy(&file.bytes).into_owned());
        let release = host.release();
        let confined = text("/sys/module/apparmor/parameters/enabled").is_some_and(|enabled| enabled.trim() == "Y");
        Ok(Evidence {
            daemon,
            client: host.has_program("docker"),
            version,
            manager: host.platform().package_manager,
            has_dockers_own: sources(host).iter().filter_map(|path| text(path)).any(|text| names_dockers_own(&text)),
            os_major: release.major(),
            os: release.id,
            lacks_apparmor: confined && !host.has_program("apparmor_parser"),
        })
    }

    fn plan(&self, found: &Evidence) -> Result<Plan, Refused> {
        if found.daemon && found.client {
            return installed(found.version.as_deref().unwrap_or_default());
        }
        let manager = found.manager.ok_or_else(|| {
            Refused::new(
                "no_package_manager",
                "this host has no package manager that is known here; install Docker by hand",
            )
        })?;
        let names = names(manager, found);
        let from = if found.has_dockers_own { "Docker's own repository" } else { "the distribution" };
        let evidence = format!("Docker is not installed; it is taken from {from}");
        Ok(Plan::of(vec![Step::InstallPackages { names, keeps_data: true }], evidence))
    }

    async fn may_undo(&self, host: &dyn Host) -> Result<(), Refused> {
        let Ok(listed) = host.ask_well(&Call::new("docker", &["ps", "--all", "--quiet"], QUERY_S)).await else {
            return Ok(());
        };
        let containers = listed.stdout.lines().count();
        if containers == 0 {
            return Ok(());
        }
        let detail = format!("{containers} containers are on this host; remove them before Docker");
        Err(Refused::new("containers_exist", detail))
    }
}

fn installed(version: &str) -> Result<Plan, Refused> {
    let (major, minor) = MIN_DOCKER_VERSION;
    // "Docker version 20.10.24+dfsg1, build 297e128"
    let number = version.split_whitespace().nth(2).unwrap_or_default().trim_end_matches(',');
    let mut numbers = number.split(['.', '-', '+']).map(str::parse::<u32>);
    if let (Some(Ok(a)), Some(Ok(b))) = (numbers.next(), numbers.next())
        && (a, b) < MIN_DOCKER_VERSION
    {
        let detail = format!(
            "Docker {number} is installed, older than {major}.{minor}; replacing it restarts every container, so upgrade \
             it by hand"
        );
        return Err(Refused::new("docker_too_old", detail));
    }
    Ok(Plan::nothing(format!("Docker {number} is installed")))
}

fn names(manager: PackageManager, found: &Evidence) -> Vec<String> {
    let mut names: Vec<&str> = match manager {
        _ if found.has_dockers_own => PACKAGES_OF_DOCKERS_OWN.to_vec(),
        PackageManager::Apt if found.os == "debian" && found.os_major >= DEBIAN_WITH_APART_CLIENT => {
            vec!["docker.io", "docker-cli"]
        }
        PackageManager::Apt => vec!["docker.io"],
        PackageManager::Dnf if found.os == "fedora" => vec!["moby-engine"],
        // Enterprise Linux has none of its own: without Docker's repository the package manager says so.
        PackageManager::Dnf | PackageManager::Yum => PACKAGES_OF_DOCKERS_OWN.to_vec(),
        PackageManager::Apk | PackageManager::Pacman => vec!["docker"],
    };
    if manager == PackageManager::Apt {
        // Only recommended, and without them no container starts.
        names.push("iptables");
        if found.lacks_apparmor {
            names.push("apparmor");
        }
    }
    names.into_iter().map(str::to_owned).collect()
}

/// Every file in which a repository can be set up.
fn sources(host: &dyn Host) -> Vec<String> {
    let folders = ["/etc/apt/sources.list.d", "/etc/yum.repos.d"];
    let inside = folders.iter().flat_map(|folder| {
        host.list(folder).into_iter().map(move |name| format!("{folder}/{name}")).collect::<Vec<_>>()
    });
    let is_one = |path: &String| [".list", ".sources", ".repo"].iter().any(|ending| path.ends_with(ending));
    inside.filter(is_one).chain(["/etc/apt/sources.list".to_owned()]).collect()
}

fn names_dockers_own(source: &str) -> bool {
    let counts = |line: &&str| !line.trim_start().starts_with('#');
    source.lines().filter(counts).any(|line| DOCKERS_OWN.iter().any(|mark| line.contains(mark)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(found: &Evidence) -> Vec<String> {
        let plan = InstallDocker.plan(found).expect("a plan");
        let [Step::InstallPackages { names, keeps_data: true }] = &plan.steps[..] else { panic!("{plan:?}") };
        names.clone()
    }

    fn on(manager: PackageManager, os: &str, os_major: u32) -> Evidence {
        Evidence { manager: Some(manager), os: os.into(), os_major, ..Evidence::default() }
    }

    #[test]
    fn each_distribution_has_its_packages() {
        assert_eq!(packages(&on(PackageManager::Apt, "debian", 12)), ["docker.io", "iptables"]);
        assert_eq!(packages(&on(PackageManager::Apt, "debian", 13)), ["docker.io", "docker-cli", "iptables"]);
        assert_eq!(packages(&on(PackageManager::Apt, "ubuntu", 24)), ["docker.io", "iptables"]);
        assert_eq!(packages(&on(PackageManager::Pacman, "arch", 0)), ["docker"]);
        assert_eq!(packages(&on(PackageManager::Dnf, "rocky", 9))[0], "docker-ce");
        let confined = Evidence { lacks_apparmor: true, ..on(PackageManager::Apt, "debian", 12) };
        assert!(packages(&confined).contains(&"apparmor".to_owned()));
        let own = Evidence { has_dockers_own: true, ..on(PackageManager::Apt, "debian", 12) };
        assert_eq!(packages(&own)[..3], ["docker-ce", "docker-ce-cli", "containerd.io"]);
        let none = Evidence::default();
        assert_eq!(InstallDocker.plan(&none).map_err(|refused| refused.code), Err("no_package_manager"));
    }

    #[test]
    fn what_is_installed_stays_and_what_is_too_old_is_left_to_people() {
        let with = |version: &str| Evidence {
            daemon: true,
            client: true,
            version: Some(version.into()),
            ..Evidence::default()
        };
        let plan = InstallDocker.plan(&with("Docker version 20.10.24+dfsg1, build 297e128\n")).expect("fine");
        assert!(plan.steps.is_empty() && plan.evidence.contains("20.10.24"));
        let old = InstallDocker.plan(&with("Docker version 19.03.15, build 1\n"));
        assert_eq!(old.map_err(|refused| refused.code), Err("docker_too_old"));
        assert!(InstallDocker.plan(&with("Docker version dev, build 1")).is_ok_and(|plan| plan.steps.is_empty()));
    }

    #[test]
    fn a_repository_counts_only_where_it_is_switched_on() {
        assert!(names_dockers_own("deb [signed-by=/k] https://download.docker.com/linux/debian bookworm stable"));
        assert!(names_dockers_own("URIs: https://mirror.example/docker-ce/linux/debian/"));
        assert!(!names_dockers_own("# deb https://download.docker.com/linux/debian bookworm stable"));
    }
}
