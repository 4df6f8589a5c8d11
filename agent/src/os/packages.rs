//! How each package manager is asked, without anybody to answer its questions, and how its answers are read.
//!
//! Locks: another run of the package manager may hold them for minutes, unattended upgrades for longer. apt waits for
//! dpkg's lock itself but not for the one of its lists, apk and dnf wait, yum waits, pacman does not. Where a program
//! gives up on a lock its outcome is [`Outcome::Locked`], and asking again later is right.
//!
//! Arch does not support refreshing its lists without upgrading everything, so there [`refresh`] is for hosts that have
//! none yet, or whose lists name packages that are gone.

use std::{fmt, str::FromStr, time::Duration};

use muster_shared::facts::PackageManager;

use super::invocation::{InvalidName, Invocation, is_name};

/// How long a program waits for another one's lock, in seconds, where it can be told.
const LOCK_SECONDS: &str = "120";
/// How long fetching and unpacking may take on a slow line and a slow disk.
const INSTALL_WITHIN: Duration = Duration::from_secs(900);
const REFRESH_WITHIN: Duration = Duration::from_secs(300);
const QUERY_WITHIN: Duration = Duration::from_secs(20);

/// Nobody is asked, files that were changed by hand stay, services are not restarted behind our back.
const APT_ENVIRONMENT: &[(&str, &str)] = &[
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBIAN_PRIORITY", "critical"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("UCF_FORCE_CONFFOLD", "1"),
    ("NEEDRESTART_MODE", "l"),
    ("NEEDRESTART_SUSPEND", "1"),
];

/// The name of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

impl PackageName {
    /// The name as the package manager knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        const BESIDES: &str = "+-._";
        let is_one = is_name(name, BESIDES);
        if is_one { Ok(Self(name.to_owned())) } else { Err(InvalidName(name.to_owned(), "package", BESIDES)) }
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How an installation, removal or refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Another program holds the package manager's lock; ask again later.
    Locked,
    /// No repository offers one of the packages; refreshing the lists may help, or another repository.
    NoSuchPackage,
    /// A repository can't be reached.
    Unreachable,
    Failed,
}

/// Fetches the lists of what is offered.
#[must_use]
pub fn refresh(manager: PackageManager) -> Invocation {
    match manager {
        PackageManager::Apt => apt(&["update"], REFRESH_WITHIN),
        PackageManager::Dnf => Invocation::new("dnf", &["-y", "-q", "makecache"], REFRESH_WITHIN),
        PackageManager::Yum => Invocation::new("yum", &["-y", "-q", "makecache"], REFRESH_WITHIN),
        PackageManager::Apk => apk(&["update"], REFRESH_WITHIN),
        PackageManager::Pacman => pacman(&["--sync", "--refresh"], REFRESH_WITHIN),
    }
}

/// Installs what is missing of `packages`; what is there stays at its version where the package manager can do that.
#[must_use]
pub fn install(manager: PackageManager, packages: &[PackageName]) -> Invocation {
    let invocation = match manager {
        PackageManager::Apt => apt(&["--no-upgrade", "--no-install-recommends", "install"], INSTALL_WITHIN),
        PackageManager::Dnf => Invocation::new("dnf", &["-y", "-q", "install"], INSTALL_WITHIN),
        PackageManager::Yum => Invocation::new("yum", &["-y", "-q", "install"], INSTALL_WITHIN),
        PackageManager::Apk => apk(&["add"], INSTALL_WITHIN),
        PackageManager::Pacman => pacman(&["--sync", "--needed"], INSTALL_WITHIN),
    };
    with(invocation, packages)
}

/// Removes `packages` and nothing that was installed before them on its own account. Their configuration goes too where
/// the package manager keeps it apart (apt), so that a later installation begins anew.
#[must_use]
pub fn remove(manager: PackageManager, packages: &[PackageName]) -> Invocation {
    let invocation = match manager {
        PackageManager::Apt => apt(&["purge"], INSTALL_WITHIN),
        PackageManager::Dnf => Invocation::new("dnf", &["-y", "-q", "remove", "--noautoremove"], INSTALL_WITHIN),
        PackageManager::Yum => Invocation::new("yum", &["-y", "-q", "remove"], INSTALL_WITHIN),
        PackageManager::Apk => apk(&["del"], INSTALL_WITHIN),
        PackageManager::Pacman => pacman(&["--remove"], INSTALL_WITHIN),
    };
    with(invocation, packages)
}

/// Asks whether `package` is installed; [`is_installed`] reads the answer. Takes no lock and needs no privilege.
#[must_use]
pub fn query(manager: PackageManager, package: &PackageName) -> Invocation {
    let package = std::slice::from_ref(package);
    let invocation = match manager {
        PackageManager::Apt => {
            Invocation::new("dpkg-query", &["--show", "--showformat=${db:Status-Status}\\n"], QUERY_WITHIN)
        }
        PackageManager::Dnf | PackageManager::Yum => Invocation::new("rpm", &["--query", "--quiet"], QUERY_WITHIN),
        PackageManager::Apk => Invocation::new("apk", &["info", "--installed", "--quiet"], QUERY_WITHIN),
        PackageManager::Pacman => Invocation::new("pacman", &["--query", "--quiet"], QUERY_WITHIN),
    };
    with(invocation, package)
}

/// Reads the answer to [`query`]: its exit code and standard output. dpkg knows packages that were removed but for their
/// configuration, and ones it failed to unpack: those are not installed.
#[must_use]
pub fn is_installed(manager: PackageManager, code: Option<i32>, stdout: &str) -> bool {
    let is_there = code == Some(0);
    match manager {
        PackageManager::Apt => is_there && stdout.lines().any(|status| status.trim() == "installed"),
        _ => is_there,
    }
}

/// Asks for the names of all installed packages; [`listed`] reads the answer.
#[must_use]
pub fn list(manager: PackageManager) -> Invocation {
    match manager {
        PackageManager::Apt => {
            Invocation::new("dpkg-query", &["--show", "--showformat=${db:Status-Status} ${Package}\\n"], QUERY_WITHIN)
        }
        PackageManager::Dnf | PackageManager::Yum => {
            Invocation::new("rpm", &["--query", "--all", "--queryformat=installed %{NAME}\\n"], QUERY_WITHIN)
        }
        PackageManager::Apk => Invocation::new("apk", &["info", "--quiet"], QUERY_WITHIN),
        PackageManager::Pacman => Invocation::new("pacman", &["--query", "--quiet"], QUERY_WITHIN),
    }
}

/// Reads the answer to [`list`]: its standard output. Sorted, each once.
#[must_use]
pub fn listed(manager: PackageManager, stdout: &str) -> Vec<String> {
    let name = |line: &str| match manager {
        PackageManager::Apt | PackageManager::Dnf | PackageManager::Yum => {
            line.strip_prefix("installed ").map(str::to_owned)
        }
        PackageManager::Apk | PackageManager::Pacman => Some(line.to_owned()),
    };
    let mut names: Vec<String> = stdout.lines().filter_map(|line| name(line.trim())).collect();
    names.sort();
    names.dedup();
    names
}

/// Reads how [`refresh`], [`install`] or [`remove`] ended from its exit code and what it said on both streams. Success is
/// the program's own word: whether a package is there afterwards is for [`query`] to tell.
#[must_use]
pub fn outcome(manager: PackageManager, code: Option<i32>, said: &str) -> Outcome {
    if code == Some(0) {
        return Outcome::Done;
    }
    let (locked, missing, unreachable): (&[&str], &[&str], &[&str]) = match manager {
        PackageManager::Apt => (
            &["Could not get lock", "Unable to lock", "is another process using it", "Unable to acquire the dpkg"],
            &["Unable to locate package", "has no installation candidate", "Couldn't find any package"],
            &["Failed to fetch", "Temporary failure resolving", "Could not connect to", "Could not resolve"],
        ),
        PackageManager::Dnf | PackageManager::Yum => (
            &[
                "Waiting for process with pid",
                "Existing lock",
                "Could not obtain lock",
                "can't create transaction lock",
            ],
            &["Unable to find a match", "No match for argument", "Nothing to do", "No package "],
            &["Cannot download", "Failed to download metadata", "Cannot retrieve", "Could not resolve host"],
        ),
        PackageManager::Apk => (
            &["Unable to lock database"],
            &["no such package", "unable to select packages"],
            &["temporary error", "network error", "DNS", "could not connect"],
        ),
        PackageManager::Pacman => (
            &["unable to lock database"],
            &["target not found", "could not find or read package"],
            &["failed retrieving file", "failed to synchronize", "Could not resolve host"],
        ),
    };
    // In this order: a list that is locked or out of reach makes packages look unknown.
    let says = |marks: &[&str]| marks.iter().any(|mark| said.contains(mark));
    match () {
        () if says(locked) => Outcome::Locked,
        () if says(unreachable) => Outcome::Unreachable,
        () if says(missing) => Outcome::NoSuchPackage,
        () => Outcome::Failed,
    }
}

fn with(mut invocation: Invocation, packages: &[PackageName]) -> Invocation {
    invocation.arguments.extend(packages.iter().map(PackageName::to_string));
    invocation
}

fn apt(command: &[&str], limit: Duration) -> Invocation {
    let lock = format!("DPkg::Lock::Timeout={LOCK_SECONDS}");
    let mut arguments = vec!["-q", "-y", "-o", &lock];
    arguments.extend(["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]);
    arguments.extend(command);
    Invocation { environment: APT_ENVIRONMENT, ..Invocation::new("apt-get", &arguments, limit) }
}

fn apk(command: &[&str], limit: Duration) -> Invocation {
    let mut arguments = vec!["--no-progress", "--wait", LOCK_SECONDS];
    arguments.extend(command);
    Invocation::new("apk", &arguments, limit)
}

fn pacman(command: &[&str], limit: Duration) -> Invocation {
    let mut arguments = command.to_vec();
    arguments.extend(["--noconfirm", "--noprogressbar"]);
    Invocation::new("pacman", &arguments, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [PackageManager; 5] =
        [PackageManager::Apt, PackageManager::Dnf, PackageManager::Yum, PackageManager::Apk, PackageManager::Pacman];

    fn package(name: &str) -> PackageName {
        name.parse().expect("a name")
    }

    #[test]
    fn each_package_manager_has_its_own_words() {
        let installs = ALL.map(|manager| install(manager, &[package("fail2ban"), package("auditd")]).line());
        assert_eq!(
            installs,
            [
                "apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o \
                 Dpkg::Options::=--force-confold --no-upgrade --no-install-recommends install fail2ban auditd",
                "dnf -y -q install fail2ban auditd",
                "yum -y -q install fail2ban auditd",
                "apk --no-progress --wait 120 add fail2ban auditd",
                "pacman --sync --needed --noconfirm --noprogressbar fail2ban auditd",
            ]
        );
        let queries = ALL.map(|manager| query(manager, &package("curl")).line());
        assert_eq!(
            queries,
            [
                "dpkg-query --show --showformat=${db:Status-Status}\\n curl",
                "rpm --query --quiet curl",
                "rpm --query --quiet curl",
                "apk info --installed --quiet curl",
                "pacman --query --quiet curl",
            ]
        );
    }

    #[test]
    fn nobody_is_asked_anything() {
        for manager in ALL {
            for invocation in [refresh(manager), install(manager, &[]), remove(manager, &[])] {
                let line = invocation.line();
                let is_silent = ["-y", "--noconfirm"].iter().any(|word| line.contains(word)) || line.starts_with("apk");
                assert!(is_silent, "{line}");
            }
        }
        assert!(install(PackageManager::Apt, &[]).environment.contains(&("DEBIAN_FRONTEND", "noninteractive")));
    }

    #[test]
    fn a_removed_package_with_its_configuration_left_is_not_installed() {
        assert!(is_installed(PackageManager::Apt, Some(0), "installed\n"));
        for status in ["config-files\n", "half-configured\n", "not-installed\n", ""] {
            assert!(!is_installed(PackageManager::Apt, Some(0), status), "{status}");
        }
        assert!(!is_installed(PackageManager::Apt, Some(1), ""));
        assert!(is_installed(PackageManager::Dnf, Some(0), "") && !is_installed(PackageManager::Pacman, Some(1), ""));
    }

    #[test]
    fn all_that_is_installed_is_listed_once() {
        let said = "installed libc6\nconfig-files exim4\ninstalled adduser\ninstalled libc6\n";
        assert_eq!(listed(PackageManager::Apt, said), ["adduser", "libc6"]);
        assert_eq!(listed(PackageManager::Pacman, "zlib\nbash\n"), ["bash", "zlib"]);
        assert!(list(PackageManager::Apt).line().contains("${db:Status-Status} ${Package}\\n"));
    }

    #[test]
    fn what_went_wrong_has_its_name() {
        let cases = [
            (
                PackageManager::Apt,
                100,
                "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1",
                Outcome::Locked,
            ),
            (PackageManager::Apt, 100, "E: Unable to locate package fail2ban", Outcome::NoSuchPackage),
            (
                PackageManager::Apt,
                100,
                "W: Failed to fetch http://deb/…\nE: Unable to locate package x",
                Outcome::Unreachable,
            ),
            (PackageManager::Dnf, 1, "Error: Unable to find a match: fail2ban", Outcome::NoSuchPackage),
            (
                PackageManager::Apk,
                99,
                "ERROR: Unable to lock database: Resource temporarily unavailable",
                Outcome::Locked,
            ),
            (
                PackageManager::Apk,
                1,
                "ERROR: unable to select packages:\n  fail2ban (no such package)",
                Outcome::NoSuchPackage,
            ),
            (PackageManager::Pacman, 1, "error: unable to lock database", Outcome::Locked),
            (PackageManager::Pacman, 1, "error: target not found: fail2ban", Outcome::NoSuchPackage),
            (PackageManager::Apt, 100, "dpkg: error processing package x", Outcome::Failed),
        ];
        for (manager, code, said, expected) in cases {
            assert_eq!(outcome(manager, Some(code), said), expected, "{said}");
        }
        assert_eq!(outcome(PackageManager::Apt, Some(0), "E: Could not get lock"), Outcome::Done);
        assert_eq!(outcome(PackageManager::Apt, None, ""), Outcome::Failed);
    }

    #[test]
    fn a_name_never_becomes_an_option_or_a_path() {
        for name in ["", "-o", "--install", "a b", "a\nb", "a\0b", "$(id)", "../x", "a/b", "ü", "a=1", "a:b", "+x"] {
            assert!(name.parse::<PackageName>().is_err(), "{name:?}");
        }
        assert!("x".repeat(129).parse::<PackageName>().is_err());
        for name in ["docker.io", "g++", "python3-systemd", "libstdc++6", "7zip"] {
            assert_eq!(package(name).as_str(), name);
        }
    }
}
