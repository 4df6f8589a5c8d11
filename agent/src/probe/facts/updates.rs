//! Security updates that wait, without asking the network: from the lists the package manager already has.

use std::time::SystemTime;

use muster_shared::facts::PackageManager;

use crate::{
    os::Platform,
    probe::{
        ProbeOptions,
        host::Host,
        program::{self, ProgramError},
    },
};

/// Why the number is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpdatesError {
    #[error("the package manager can't tell without asking the network")]
    NeedsNetwork,
    #[error("there are no package lists; the package manager has never fetched any")]
    NoLists,
    #[error("this is not the running host")]
    Recorded,
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// What the number depends on: files that change when package lists are fetched and when packages are installed.
const DEPENDS_ON: [&str; 4] = ["/var/lib/apt/lists", "/var/lib/dpkg/status", "/var/cache/dnf", "/var/lib/rpm"];

/// When what the number depends on last changed. As long as two are the same, so is the number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdatesStamp(Vec<Option<SystemTime>>);

impl UpdatesStamp {
    /// The running host's.
    #[must_use]
    pub fn read() -> Self {
        let changed = |path: &&str| std::fs::metadata(path).and_then(|found| found.modified()).ok();
        Self(DEPENDS_ON.iter().map(changed).collect())
    }

    /// The stamp of files changed at these times.
    #[cfg(test)]
    #[must_use]
    pub fn of(changed: impl IntoIterator<Item = Option<SystemTime>>) -> Self {
        Self(changed.into_iter().collect())
    }
}

/// Counts them, which takes seconds, and says why where that can't be done.
pub async fn count_updates(options: &ProbeOptions) -> Result<u32, String> {
    let host = Host::new(&options.root);
    count(&host, Platform::detect(host.root()), options).await.map_err(|why| why.to_string())
}

async fn count(host: &Host, platform: Platform, options: &ProbeOptions) -> Result<u32, UpdatesError> {
    if !host.is_live() {
        return Err(UpdatesError::Recorded);
    }
    let limit = options.program_timeout;
    match platform.package_manager {
        Some(PackageManager::Apt) => {
            if !host.list("/var/lib/apt/lists").iter().any(|name| name.contains("_Packages")) {
                return Err(UpdatesError::NoLists);
            }
            // Simulation takes no lock and needs no privilege.
            let simulated = ["-s", "-q", "-o", "Debug::NoLocking=true", "upgrade"];
            Ok(count_apt(&program::run_well_behind("apt-get", &simulated, limit).await?.stdout))
        }
        Some(PackageManager::Dnf) => {
            let cached = ["-C", "-q", "updateinfo", "list", "--security"];
            Ok(count_dnf(&program::run_well_behind("dnf", &cached, limit).await?.stdout))
        }
        _ => Err(UpdatesError::NeedsNetwork),
    }
}

/// `Inst libssl3 [3.0.9-1] (3.0.11-1~deb12u2 Debian-Security:12/stable-security [amd64])`
fn count_apt(simulation: &str) -> u32 {
    let is_security = |line: &&str| {
        let origin = line.split_once('(').map_or("", |(_, rest)| rest);
        line.starts_with("Inst ") && (origin.contains("-security") || origin.contains("Debian-Security"))
    };
    u32::try_from(simulation.lines().filter(is_security).count()).unwrap_or(u32::MAX)
}

/// `RHSA-2024:1234 Important/Sec. openssl-libs-1:3.0.7-27.el9.x86_64`, one line a package.
fn count_dnf(list: &str) -> u32 {
    u32::try_from(list.lines().filter(|line| line.split_whitespace().count() == 3).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_origins_tell_security_from_the_rest() {
        let simulation = "NOTE: This is only a simulation!\n\
            Inst libssl3 [3.0.9-1] (3.0.11-1~deb12u2 Debian-Security:12/stable-security [amd64])\n\
            Inst tzdata [2024a] (2024b Debian:12.7/stable [all])\n\
            Inst curl [7.81.0] (7.81.0-1ubuntu1.16 Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security [amd64])\n\
            Conf libssl3 (3.0.11-1~deb12u2 Debian-Security:12/stable-security [amd64])\n";
        assert_eq!(count_apt(simulation), 2);
        assert_eq!(count_apt(""), 0);
    }

    #[test]
    fn dnf_lists_one_package_a_line() {
        assert_eq!(
            count_dnf(
                "RHSA-2024:1 Important/Sec. openssl-1:3.0.7-27.el9.x86_64\nRHSA-2024:2 Low/Sec. vim-9.el9.x86_64\n\n"
            ),
            2
        );
    }
}
