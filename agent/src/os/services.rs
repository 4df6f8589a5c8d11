//! How each init system is asked about services, and how its answers are read.
//!
//! OpenRC and SysVinit have no sockets and timers, so a [`ServiceName`] that ends in `.socket` or `.timer` is for systemd
//! alone; elsewhere such a request is `None`, as it is where no init system takes one.

use std::{fmt, str::FromStr, time::Duration};

use muster_shared::facts::InitSystem;

use super::invocation::{InvalidName, Invocation, is_name};

/// How long a service may take to start or stop. systemd's own limit is 90 s.
const CHANGE_WITHIN: Duration = Duration::from_secs(100);
const QUERY_WITHIN: Duration = Duration::from_secs(10);

/// The name of a service, without a directory; on systemd any unit's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

impl ServiceName {
    /// The name as the init system knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What exists nowhere but under systemd.
    fn is_systemds_own(&self) -> bool {
        [".socket", ".timer", ".path", ".mount", ".target"].iter().any(|kind| self.0.ends_with(kind))
    }

    /// Without `.service`, which only systemd knows.
    fn stem(&self) -> &str {
        self.0.strip_suffix(".service").unwrap_or(&self.0)
    }
}

impl FromStr for ServiceName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        const BESIDES: &str = "-._@:";
        let is_one = is_name(name, BESIDES);
        if is_one { Ok(Self(name.to_owned())) } else { Err(InvalidName(name.to_owned(), "service", BESIDES)) }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a service is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Start with every boot; it is not started now.
    Enable,
    /// Don't start with a boot; it is not stopped now.
    Disable,
    Start,
    Stop,
    Restart,
    /// Read the configuration anew, keeping what is open.
    Reload,
}

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Running,
    Stopped,
    /// The init system does not know it.
    Unknown,
}

/// Asks `init` for `change` of `service`; `None` where it can't be asked. Whoever asks
/// knows that it is not so already: OpenRC takes disabling what is not enabled for a failure.
#[must_use]
pub fn change(init: InitSystem, change: Change, service: &ServiceName) -> Option<Invocation> {
    if init != InitSystem::Systemd && service.is_systemds_own() {
        return None;
    }
    let (name, stem) = (service.as_str(), service.stem());
    let (program, arguments) = match (init, change) {
        (InitSystem::Systemd, Change::Enable) => ("systemctl", vec!["--quiet", "enable", name]),
        (InitSystem::Systemd, Change::Disable) => ("systemctl", vec!["--quiet", "disable", name]),
        (InitSystem::Systemd, Change::Start) => ("systemctl", vec!["--no-ask-password", "start", name]),
        (InitSystem::Systemd, Change::Stop) => ("systemctl", vec!["--no-ask-password", "stop", name]),
        (InitSystem::Systemd, Change::Restart) => ("systemctl", vec!["--no-ask-password", "restart", name]),
        (InitSystem::Systemd, Change::Reload) => ("systemctl", vec!["--no-ask-password", "reload", name]),
        (InitSystem::Openrc, Change::Enable) => ("rc-update", vec!["--quiet", "add", stem, "default"]),
        // Only for one that is there: where it is not, it fails.
        (InitSystem::Openrc, Change::Disable) => ("rc-update", vec!["--quiet", "del", stem, "default"]),
        (InitSystem::Openrc, Change::Start) => ("rc-service", vec!["--nocolor", stem, "start"]),
        (InitSystem::Openrc, Change::Stop) => ("rc-service", vec!["--nocolor", stem, "stop"]),
        (InitSystem::Openrc, Change::Restart) => ("rc-service", vec!["--nocolor", stem, "restart"]),
        (InitSystem::Openrc, Change::Reload) => ("rc-service", vec!["--nocolor", stem, "reload"]),
        // Only for one that has links: see [`orders`].
        (InitSystem::Sysvinit, Change::Enable) => ("update-rc.d", vec![stem, "enable"]),
        (InitSystem::Sysvinit, Change::Disable) => ("update-rc.d", vec![stem, "disable"]),
        (InitSystem::Sysvinit, Change::Start) => ("service", vec![stem, "start"]),
        (InitSystem::Sysvinit, Change::Stop) => ("service", vec![stem, "stop"]),
        (InitSystem::Sysvinit, Change::Restart) => ("service", vec![stem, "restart"]),
        (InitSystem::Sysvinit, Change::Reload) => ("service", vec![stem, "reload"]),
        (InitSystem::None, _) => return None,
    };
    Some(Invocation::new(program, &arguments, CHANGE_WITHIN))
}

/// Everything `init` has to be asked for `change` of `service`, in order; `None` as for [`change`]. SysVinit switches on
/// only what has links already, and makes links only where there are none yet, switched off as those may be.
#[must_use]
pub fn orders(init: InitSystem, change: Change, service: &ServiceName) -> Option<Vec<Invocation>> {
    let order = self::change(init, change, service)?;
    let links = (init == InitSystem::Sysvinit && change == Change::Enable)
        .then(|| Invocation::new("update-rc.d", &[service.stem(), "defaults"], CHANGE_WITHIN));
    Some(links.into_iter().chain([order]).collect())
}

/// Asks `init` whether `service` runs; [`activity`] reads the answer.
#[must_use]
pub fn query_activity(init: InitSystem, service: &ServiceName) -> Option<Invocation> {
    if init != InitSystem::Systemd && service.is_systemds_own() {
        return None;
    }
    let (program, arguments) = match init {
        InitSystem::Systemd => ("systemctl", vec!["is-active", service.as_str()]),
        InitSystem::Openrc => ("rc-service", vec!["--nocolor", service.stem(), "status"]),
        InitSystem::Sysvinit => ("service", vec![service.stem(), "status"]),
        InitSystem::None => return None,
    };
    Some(Invocation::new(program, &arguments, QUERY_WITHIN))
}

/// Reads the answer to [`query_activity`]: exit code and standard output.
#[must_use]
pub fn activity(init: InitSystem, code: Option<i32>, stdout: &str) -> Activity {
    match (init, code) {
        // Reloading is running; activating is on its way, and whoever waits for it asks again.
        (InitSystem::Systemd, _) if matches!(stdout.trim(), "active" | "reloading") => Activity::Running,
        (InitSystem::Systemd, Some(4)) => Activity::Unknown,
        (InitSystem::Openrc | InitSystem::Sysvinit, Some(0)) => Activity::Running,
        // Both complain and end with 1 where there is no such script. LSB scripts, which either runs, end with 1 for a
        // service that died, and say so; with 4 where they can't tell.
        (InitSystem::Openrc | InitSystem::Sysvinit, Some(1)) if !stdout.trim().is_empty() => Activity::Stopped,
        (InitSystem::Openrc | InitSystem::Sysvinit, Some(1 | 4 | 127)) => Activity::Unknown,
        _ => Activity::Stopped,
    }
}

/// Asks `init` whether `service` starts with every boot; [`is_enabled`] reads the answer.
#[must_use]
pub fn query_enabled(init: InitSystem, service: &ServiceName) -> Option<Invocation> {
    if init != InitSystem::Systemd && service.is_systemds_own() {
        return None;
    }
    let (program, arguments): (&str, &[&str]) = match init {
        InitSystem::Systemd => ("systemctl", &["is-enabled", service.as_str()]),
        InitSystem::Openrc => ("rc-update", &["--nocolor", "show"]),
        // SysVinit has no program that tells; the links themselves do.
        InitSystem::Sysvinit => ("ls", &["/etc/rc2.d", "/etc/rc3.d"]),
        InitSystem::None => return None,
    };
    Some(Invocation::new(program, arguments, QUERY_WITHIN))
}

/// Reads the answer to [`query_enabled`] about `service`: its standard output.
#[must_use]
pub fn is_enabled(init: InitSystem, service: &ServiceName, stdout: &str) -> bool {
    match init {
        // Static and indirect units are started by others, generated ones come from a script's links.
        InitSystem::Systemd => {
            let words = ["enabled", "enabled-runtime", "static", "alias", "indirect", "generated"];
            stdout.lines().any(|line| words.contains(&line.trim()))
        }
        InitSystem::Openrc => stdout.lines().any(|line| {
            let (name, levels) = line.split_once('|').unwrap_or((line, ""));
            name.trim() == service.stem() && !levels.trim().is_empty()
        }),
        InitSystem::Sysvinit => stdout.lines().any(|link| {
            let rest = link.trim().strip_prefix('S').unwrap_or_default();
            rest.len() > 2
                && rest.as_bytes()[..2].iter().all(u8::is_ascii_digit)
                && rest.get(2..) == Some(service.stem())
        }),
        InitSystem::None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITS: [InitSystem; 4] = [InitSystem::Systemd, InitSystem::Openrc, InitSystem::Sysvinit, InitSystem::None];

    fn service(name: &str) -> ServiceName {
        name.parse().expect("a name")
    }

    #[test]
    fn each_init_system_has_its_own_words() {
        let lines =
            |wanted| INITS.map(|init| change(init, wanted, &service("fail2ban.service")).map(|call| call.line()));
        let words = |systemd: &str, openrc: &str, sysvinit: &str| {
            [Some(systemd.to_owned()), Some(openrc.to_owned()), Some(sysvinit.to_owned()), None]
        };
        assert_eq!(
            lines(Change::Enable),
            words(
                "systemctl --quiet enable fail2ban.service",
                "rc-update --quiet add fail2ban default",
                "update-rc.d fail2ban enable"
            )
        );
        let orders = |init| {
            let orders = orders(init, Change::Enable, &service("fail2ban"));
            orders.map(|orders| orders.iter().map(Invocation::line).collect::<Vec<_>>())
        };
        let both = ["update-rc.d fail2ban defaults", "update-rc.d fail2ban enable"].map(str::to_owned);
        assert_eq!(orders(InitSystem::Sysvinit), Some(both.to_vec()));
        assert_eq!(orders(InitSystem::Openrc).map(|orders| orders.len()), Some(1));
        assert_eq!(orders(InitSystem::None), None);
        assert_eq!(
            lines(Change::Disable),
            words(
                "systemctl --quiet disable fail2ban.service",
                "rc-update --quiet del fail2ban default",
                "update-rc.d fail2ban disable"
            )
        );
        assert_eq!(
            lines(Change::Reload),
            words(
                "systemctl --no-ask-password reload fail2ban.service",
                "rc-service --nocolor fail2ban reload",
                "service fail2ban reload"
            )
        );
    }

    #[test]
    fn sockets_and_timers_are_systemds_alone() {
        for init in [InitSystem::Openrc, InitSystem::Sysvinit, InitSystem::None] {
            assert_eq!(change(init, Change::Start, &service("dnf-automatic.timer")), None);
            assert_eq!(query_activity(init, &service("ssh.socket")), None);
            assert_eq!(query_enabled(init, &service("ssh.socket")), None);
        }
        assert!(change(InitSystem::Systemd, Change::Start, &service("ssh.socket")).is_some());
    }

    #[test]
    fn whether_it_runs_is_read_from_each_systems_answer() {
        let cases = [
            (InitSystem::Systemd, 0, "active\n", Activity::Running),
            (InitSystem::Systemd, 0, "reloading\n", Activity::Running),
            (InitSystem::Systemd, 3, "activating\n", Activity::Stopped),
            (InitSystem::Systemd, 3, "failed\n", Activity::Stopped),
            (InitSystem::Systemd, 4, "inactive\n", Activity::Unknown),
            (InitSystem::Openrc, 0, " * status: started\n", Activity::Running),
            (InitSystem::Openrc, 3, " * status: stopped\n", Activity::Stopped),
            (InitSystem::Openrc, 32, " * status: crashed\n", Activity::Stopped),
            (InitSystem::Openrc, 1, "", Activity::Unknown),
            (InitSystem::Openrc, 1, "Docker is not running ... failed!\n", Activity::Stopped),
            (InitSystem::Sysvinit, 0, "sshd is running.\n", Activity::Running),
            (InitSystem::Sysvinit, 3, "sshd is not running ... failed!\n", Activity::Stopped),
            (InitSystem::Sysvinit, 1, "", Activity::Unknown),
            (InitSystem::Sysvinit, 1, "Docker is not running ... failed!\n", Activity::Stopped),
        ];
        for (init, code, said, expected) in cases {
            assert_eq!(activity(init, Some(code), said), expected, "{init:?} {said:?}");
        }
    }

    #[test]
    fn whether_it_starts_with_the_boot_is_read_from_each_systems_answer() {
        let fail2ban = service("fail2ban");
        assert!(is_enabled(InitSystem::Systemd, &fail2ban, "enabled\n"));
        for word in ["disabled\n", "masked\n", "not-found\n", ""] {
            assert!(!is_enabled(InitSystem::Systemd, &fail2ban, word), "{word}");
        }
        let openrc = "             fail2ban |      default                        \n            sshd | \n";
        assert!(is_enabled(InitSystem::Openrc, &fail2ban, openrc));
        assert!(!is_enabled(InitSystem::Openrc, &service("sshd"), openrc));
        assert!(!is_enabled(InitSystem::Openrc, &service("fail"), openrc));
        let links = "/etc/rc2.d:\nREADME\nS01fail2ban\nK01nginx\nS02ssh\n";
        assert!(is_enabled(InitSystem::Sysvinit, &fail2ban, links));
        assert!(!is_enabled(InitSystem::Sysvinit, &service("nginx"), links));
        assert!(!is_enabled(InitSystem::Sysvinit, &service("sh"), links));
    }

    #[test]
    fn a_name_never_becomes_an_option_or_a_path() {
        for name in ["", "-H", "--now", "a b", "a/b", "../x", "a\nb", "$(id)", "ü"] {
            assert!(name.parse::<ServiceName>().is_err(), "{name:?}");
        }
        assert_eq!(service("getty@tty1.service").as_str(), "getty@tty1.service");
    }
}
