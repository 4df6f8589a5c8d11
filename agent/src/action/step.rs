//! The steps that plans are made of. Each is data, says what it does, and has an inverse that the engine knows.

use muster_shared::facts::{InitSystem, PackageManager};
use serde::{Deserialize, Serialize};

use crate::os::{invocation::Invocation, packages, services};

/// A run of a program: by argument vector, with a fixed environment, for a bounded time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub program: String,
    pub arguments: Vec<String>,
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    pub limit_s: u64,
    /// Exit codes that are as good as 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<i32>,
}

impl Call {
    /// A call of `program` that may take `limit_s` seconds.
    #[must_use]
    pub fn new(program: &str, arguments: &[&str], limit_s: u64) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { program: program.to_owned(), arguments, environment: Vec::new(), limit_s, accepts: Vec::new() }
    }

    /// The same call, for which `code` is as good as 0.
    #[must_use]
    pub fn accepting(mut self, code: i32) -> Self {
        self.accepts.push(code);
        self
    }

    /// Whether it ended well.
    #[must_use]
    pub fn ended_well(&self, code: Option<i32>) -> bool {
        code.is_some_and(|code| code == 0 || self.accepts.contains(&code))
    }

    /// Program and arguments as a person would read them; not fit for a shell.
    #[must_use]
    pub fn line(&self) -> String {
        std::iter::once(&self.program).chain(&self.arguments).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl From<Invocation> for Call {
    fn from(invocation: Invocation) -> Self {
        let environment = invocation.environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Self {
            program: invocation.program.to_owned(),
            environment: environment.collect(),
            limit_s: invocation.limit.as_secs(),
            arguments: invocation.arguments,
            accepts: Vec::new(),
        }
    }
}

/// Whose a file is, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Replaces a file whole, or makes it. Inverse: the file as it was, or none.
    WriteFile {
        path: String,
        contents: String,
        mode: u32,
        owner: Owner,
        /// Must end well on a copy beside `path` before it takes its place; `{}` among its arguments is the copy's path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<Call>,
    },
    /// Inverse: the file as it was.
    RemoveFile { path: String },
    /// Makes a directory where there is none. Inverse: removes it if it was made and is empty.
    MakeDirectory { path: String, mode: u32, owner: Owner },
    /// Inverse: `inverse`, which must bear being run twice and without the step having run; without one the step can't be
    /// taken back.
    Run { title: String, call: Call, inverse: Option<Call> },
    /// A question that must end well, such as `visudo -c`. Changes nothing.
    Check { title: String, call: Call },
    /// Has a daemon read again what earlier steps changed. After an undo it runs once more, when the files are as before.
    Refresh { title: String, call: Call },
    /// Installs what is missing of `names`. Inverse: removes every package that the installation brought.
    InstallPackages {
        names: Vec<String>,
        /// An undo leaves the packages' configuration and data.
        keeps_data: bool,
    },
    /// Has a service run, or start with each boot, or not. Inverse: as it was.
    Service { unit: String, enabled: Option<bool>, running: Option<bool> },
}

impl Step {
    /// What it does, in words.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::WriteFile { path, .. } => format!("write {path}"),
            Self::RemoveFile { path } => format!("remove {path}"),
            Self::MakeDirectory { path, .. } => format!("make the directory {path}"),
            Self::Run { title, .. } | Self::Check { title, .. } | Self::Refresh { title, .. } => title.clone(),
            Self::InstallPackages { names, .. } => format!("install {}", names.join(", ")),
            Self::Service { unit, enabled, running } => {
                let words = [
                    enabled.map(|enabled| if enabled { "enable" } else { "disable" }),
                    running.map(|running| if running { "start" } else { "stop" }),
                ];
                format!("{} {unit}", words.into_iter().flatten().collect::<Vec<_>>().join(" and "))
            }
        }
    }

    /// Whether it can be taken back.
    #[must_use]
    pub fn is_reversible(&self) -> bool {
        !matches!(self, Self::Run { inverse: None, .. })
    }

    /// The file it replaces, makes or removes.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::WriteFile { path, .. } | Self::RemoveFile { path } => Some(path),
            _ => None,
        }
    }

    /// Reloads `unit`'s configuration; `None` where the init system takes no such request.
    #[must_use]
    pub fn reload(init: InitSystem, unit: &str) -> Option<Self> {
        Self::refresh(init, services::Change::Reload, unit, "reload")
    }

    /// Restarts `unit`.
    #[must_use]
    pub fn restart(init: InitSystem, unit: &str) -> Option<Self> {
        Self::refresh(init, services::Change::Restart, unit, "restart")
    }

    fn refresh(init: InitSystem, change: services::Change, unit: &str, word: &str) -> Option<Self> {
        let call = services::change(init, change, &unit.parse().ok()?)?;
        Some(Self::Refresh { title: format!("{word} {unit}"), call: call.into() })
    }
}

/// How a service stands, as far as an undo needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    pub enabled: bool,
    pub running: bool,
}

/// What is asked of the init system to bring a service from `now` to what is wanted, in order. Enabling comes before
/// starting, stopping before disabling.
#[must_use]
pub fn service_calls(
    init: InitSystem,
    unit: &str,
    now: ServiceState,
    (enabled, running): (Option<bool>, Option<bool>),
) -> Option<Vec<Call>> {
    let name = unit.parse().ok()?;
    let mut wanted = Vec::new();
    if let Some(enabled) = enabled.filter(|enabled| *enabled != now.enabled) {
        wanted.push(if enabled { services::Change::Enable } else { services::Change::Disable });
    }
    if let Some(running) = running.filter(|running| *running != now.running) {
        wanted.push(if running { services::Change::Start } else { services::Change::Stop });
    }
    if running == Some(false) {
        wanted.reverse();
    }
    let orders: Option<Vec<_>> = wanted.into_iter().map(|change| services::orders(init, change, &name)).collect();
    Some(orders?.into_iter().flatten().map(Call::from).collect())
}

/// The names that are package names to the package manager; the catalogue's all are.
pub(super) fn package_names(names: &[String]) -> Vec<packages::PackageName> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// The removal of `names`. Where `keeps_data`, apt removes instead of purging: a purge of Docker deletes every volume.
pub(super) fn removal(manager: PackageManager, names: &[String], keeps_data: bool) -> Call {
    let mut call = Call::from(packages::remove(manager, &package_names(names)));
    if keeps_data && manager == PackageManager::Apt {
        for argument in call.arguments.iter_mut().filter(|argument| *argument == "purge") {
            *argument = "remove".to_owned();
        }
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(unit: &str, now: (bool, bool), wanted: (Option<bool>, Option<bool>)) -> Vec<String> {
        let now = ServiceState { enabled: now.0, running: now.1 };
        let calls = service_calls(InitSystem::Systemd, unit, now, wanted).expect("systemd takes them");
        calls.iter().map(Call::line).collect()
    }

    #[test]
    fn services_are_asked_only_for_what_they_are_not_yet() {
        let on = (Some(true), Some(true));
        let started = ["systemctl --quiet enable docker.service", "systemctl --no-ask-password start docker.service"];
        assert_eq!(lines("docker.service", (false, false), on), started);
        assert_eq!(lines("docker.service", (true, true), on), [""; 0]);
        let stopped = ["systemctl --no-ask-password stop nginx.service", "systemctl --quiet disable nginx.service"];
        assert_eq!(lines("nginx.service", (true, true), (Some(false), Some(false))), stopped);
        let off = ServiceState { enabled: false, running: false };
        let calls = service_calls(InitSystem::Sysvinit, "docker.service", off, on).expect("SysVinit takes them");
        let words = ["update-rc.d docker defaults", "update-rc.d docker enable", "service docker start"];
        assert_eq!(calls.iter().map(Call::line).collect::<Vec<_>>(), words);
        assert_eq!(
            service_calls(InitSystem::Systemd, "--root=/x", ServiceState { enabled: true, running: true }, on),
            None
        );
    }

    #[test]
    fn an_undo_can_leave_what_packages_hold() {
        let names = ["docker.io".to_owned(), "--purge".to_owned()];
        let line = removal(PackageManager::Apt, &names, true).line();
        assert!(line.ends_with(" remove docker.io"), "{line}");
        assert!(removal(PackageManager::Apt, &names, false).line().ends_with(" purge docker.io"));
    }
}
