//! The SSH server as this host runs it: what it would say to a login, whether its files are sound, and how it reads
//! them again.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::probe::program::{self, ProgramError};

/// How long sshd or the init system may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The service's names among distributions.
const UNITS: [&str; 2] = ["ssh.service", "sshd.service"];
const DEFAULT_PID_FILE: &str = "/run/sshd.pid";

/// Which ways in with a password sshd leaves open to one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passwords {
    pub(super) password: bool,
    pub(super) interactive: bool,
}

impl Passwords {
    pub(super) fn are_off(&self) -> bool {
        !self.password && !self.interactive
    }
}

/// sshd's settings as they take effect for `user`, `Include` and `Match` counted in.
pub(super) async fn passwords_of(user: &str) -> Result<Passwords, ProgramError> {
    // A user's name holds neither a comma nor an equals sign.
    let who = format!("user={user},host=localhost,addr=127.0.0.1");
    let output = program::run_well("sshd", &["-T", "-C", &who], ANSWER_WITHIN).await?;
    Ok(read(&output.stdout))
}

/// What `sshd -T` says; what it does not mention is its default, which lets passwords in.
fn read(settings: &str) -> Passwords {
    let says = |keyword: &str| {
        let mut words = settings.lines().filter_map(|line| line.split_once(' '));
        words.find(|(name, _)| name.eq_ignore_ascii_case(keyword)).map(|(_, value)| value.trim() != "no")
    };
    // Before 8.7 the two were settings of their own, and either opened the way.
    let interactive = [says("kbdinteractiveauthentication"), says("challengeresponseauthentication")];
    let interactive = interactive.into_iter().flatten().reduce(|one, other| one || other);
    Passwords { password: says("passwordauthentication").unwrap_or(true), interactive: interactive.unwrap_or(true) }
}

/// Fails where sshd would not start with its files as they are.
pub(super) async fn check() -> Result<(), ProgramError> {
    program::run_well("sshd", &["-t"], ANSWER_WITHIN).await.map(drop)
}

/// Has a running sshd read its files again; sessions stay. One that is started for each connection reads them anyway.
/// The signal is sent from here: the init system would have it wait for whatever is ordered before sshd, and what puts
/// the settings back is.
pub(super) async fn reload() {
    if let Some(pid) = running().await {
        // One that has just ended needs no signal.
        let _ = kill_process(pid, Signal::HUP);
    }
}

/// The process that listens: the init system's main process, else the one that sshd's own file names.
async fn running() -> Option<Pid> {
    for unit in UNITS {
        let asked = program::run("systemctl", &["show", "--property=MainPID", "--value", unit], ANSWER_WITHIN).await;
        if let Some(pid) = asked.ok().and_then(|output| sshd_process(&output.stdout)) {
            return Some(pid);
        }
    }
    sshd_process(&fs::read_to_string(DEFAULT_PID_FILE).ok()?)
}

/// The process of this number, where it is an sshd.
fn sshd_process(number: &str) -> Option<Pid> {
    let pid: i32 = number.trim().parse().ok().filter(|pid| *pid > 0)?;
    let name = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm")).ok()?;
    (name.trim() == "sshd").then(|| Pid::from_raw(pid)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_way_in_counts_and_silence_is_an_open_door() {
        let new = "port 22\npasswordauthentication no\nkbdinteractiveauthentication no\n";
        assert!(read(new).are_off());
        let old = "passwordauthentication no\nkbdinteractiveauthentication no\nchallengeresponseauthentication yes\n";
        assert_eq!(read(old), Passwords { password: false, interactive: true });
        assert_eq!(read(""), Passwords { password: true, interactive: true });
        assert!(!read("passwordauthentication yes\nkbdinteractiveauthentication no\n").are_off());
    }
}
