//! The package manager and the init system of a host.

use std::{fs, path::Path};

use muster_shared::facts::{InitSystem, PackageManager};

/// What commands are written for. Detection only looks; what is not there is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    pub package_manager: Option<PackageManager>,
    pub init_system: InitSystem,
}

impl Platform {
    /// The platform of the host whose root is `root`.
    #[must_use]
    pub fn detect(root: &Path) -> Self {
        Self { package_manager: package_manager(root), init_system: init_system(root) }
    }
}

/// In order of preference: where both are installed, `dnf` is what `yum` stands for.
const PACKAGE_MANAGERS: [(&str, PackageManager); 5] = [
    ("apt-get", PackageManager::Apt),
    ("dnf", PackageManager::Dnf),
    ("yum", PackageManager::Yum),
    ("apk", PackageManager::Apk),
    ("pacman", PackageManager::Pacman),
];

/// The database that shows a package manager to be the system's own, not merely installed beside it.
fn database(manager: PackageManager) -> &'static str {
    match manager {
        PackageManager::Apt => "var/lib/dpkg/status",
        PackageManager::Dnf | PackageManager::Yum => "etc/yum.repos.d",
        PackageManager::Apk => "etc/apk",
        PackageManager::Pacman => "etc/pacman.d",
    }
}

fn package_manager(root: &Path) -> Option<PackageManager> {
    let is_installed = |program: &str| {
        ["usr/bin", "usr/sbin", "bin", "sbin"].iter().any(|directory| root.join(directory).join(program).exists())
    };
    let installed =
        || PACKAGE_MANAGERS.iter().filter(|(program, _)| is_installed(program)).map(|(_, manager)| *manager);
    installed().find(|manager| root.join(database(*manager)).exists()).or_else(|| installed().next())
}

fn init_system(root: &Path) -> InitSystem {
    let first_process = fs::read_to_string(root.join("proc/1/comm")).unwrap_or_default();
    // systemd's own test for "booted with systemd".
    if first_process.trim() == "systemd" || root.join("run/systemd/system").is_dir() {
        InitSystem::Systemd
    } else if root.join("run/openrc/softlevel").exists() {
        InitSystem::Openrc
    } else if first_process.trim() == "init" && root.join("etc/inittab").exists() {
        InitSystem::Sysvinit
    } else {
        InitSystem::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, content).expect("a file");
        }
        root
    }

    #[test]
    fn each_system_is_known_by_its_marks() {
        let debian = host(&[("proc/1/comm", "systemd\n"), ("usr/bin/apt-get", ""), ("var/lib/dpkg/status", "")]);
        let expected = Platform { package_manager: Some(PackageManager::Apt), init_system: InitSystem::Systemd };
        assert_eq!(Platform::detect(debian.path()), expected);

        let alpine = host(&[
            ("proc/1/comm", "init\n"),
            ("sbin/apk", ""),
            ("etc/apk/world", ""),
            ("run/openrc/softlevel", "default"),
        ]);
        let expected = Platform { package_manager: Some(PackageManager::Apk), init_system: InitSystem::Openrc };
        assert_eq!(Platform::detect(alpine.path()), expected);

        let devuan = host(&[
            ("proc/1/comm", "init\n"),
            ("usr/bin/apt-get", ""),
            ("var/lib/dpkg/status", ""),
            ("etc/inittab", ""),
        ]);
        assert_eq!(Platform::detect(devuan.path()).init_system, InitSystem::Sysvinit);
        assert_eq!(Platform::detect(host(&[("proc/1/comm", "tini\n")]).path()).init_system, InitSystem::None);
    }

    #[test]
    fn a_foreign_package_manager_beside_the_systems_own_is_not_taken() {
        let rocky = host(&[
            ("usr/bin/apt-get", ""),
            ("usr/bin/yum", ""),
            ("usr/bin/dnf", ""),
            ("etc/yum.repos.d/rocky.repo", ""),
        ]);
        assert_eq!(Platform::detect(rocky.path()).package_manager, Some(PackageManager::Dnf));
    }
}
