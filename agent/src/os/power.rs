//! How each init system is asked to end the boot: argument vectors, given out here and run elsewhere.

use std::time::Duration;

use muster_shared::facts::InitSystem;

/// How the boot shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Reboot,
    PowerOff,
}

/// An order to the init system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub program: &'static str,
    pub arguments: Vec<String>,
    /// Whether the init system itself waits before it acts. Where it can't, somebody else has to, before running this.
    pub waits: bool,
}

impl Transition {
    /// The order for `init`, to be carried out `after` a while; `None` where no init system takes one.
    #[must_use]
    pub fn order(self, init: InitSystem, after: Duration) -> Option<Order> {
        let (program, arguments): (&str, &[&str]) = match (init, self) {
            (InitSystem::Systemd, Self::Reboot) => ("systemctl", &["reboot"]),
            (InitSystem::Systemd, Self::PowerOff) => ("systemctl", &["poweroff"]),
            (InitSystem::Sysvinit, Self::Reboot) => ("shutdown", &["-r", "now"]),
            (InitSystem::Sysvinit, Self::PowerOff) => ("shutdown", &["-h", "-P", "now"]),
            // OpenRC runs under its own init, BusyBox' or SysVinit's; each has these two.
            (InitSystem::Openrc, Self::Reboot) => ("reboot", &[]),
            (InitSystem::Openrc, Self::PowerOff) => ("poweroff", &[]),
            (InitSystem::None, _) => return None,
        };
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        if init != InitSystem::Systemd {
            return Some(Order { program, arguments: arguments.collect(), waits: false });
        }
        // A timer of systemd's own outlives whoever asked for it.
        let mut timed = vec!["--quiet".to_owned(), "--collect".to_owned()];
        timed.push(format!("--on-active={}ms", after.as_millis()));
        timed.extend(["--timer-property=AccuracySec=100ms".to_owned(), program.to_owned()]);
        timed.extend(arguments);
        Some(Order { program: "systemd-run", arguments: timed, waits: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(transition: Transition, init: InitSystem) -> Option<String> {
        let order = transition.order(init, Duration::from_secs(3))?;
        Some(format!("{} {}", order.program, order.arguments.join(" ")).trim_end().to_owned())
    }

    #[test]
    fn each_init_system_has_its_own_words() {
        use Transition::{PowerOff, Reboot};
        let timer = "systemd-run --quiet --collect --on-active=3000ms --timer-property=AccuracySec=100ms";
        let cases = [
            (Reboot, InitSystem::Systemd, Some(format!("{timer} systemctl reboot"))),
            (PowerOff, InitSystem::Systemd, Some(format!("{timer} systemctl poweroff"))),
            (Reboot, InitSystem::Sysvinit, Some("shutdown -r now".into())),
            (PowerOff, InitSystem::Sysvinit, Some("shutdown -h -P now".into())),
            (Reboot, InitSystem::Openrc, Some("reboot".into())),
            (PowerOff, InitSystem::Openrc, Some("poweroff".into())),
            (Reboot, InitSystem::None, None),
            (PowerOff, InitSystem::None, None),
        ];
        for (transition, init, expected) in cases {
            assert_eq!(line(transition, init), expected, "{transition:?} {init:?}");
        }
    }
}
