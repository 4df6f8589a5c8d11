//! The clock: whether something keeps it, and its time zone.

use std::fs;

use muster_shared::facts::Clock;

use super::Processes;
use crate::{
    os::text,
    probe::{
        ProbeOptions,
        host::Host,
        program::{self, ProgramError},
    },
};

/// A process' name and the service it is.
const SERVICES: [(&str, &str); 6] = [
    ("systemd-timesyncd", "systemd-timesyncd"),
    ("chronyd", "chrony"),
    ("ntpd", "ntpd"),
    ("ntpsec", "ntpsec"),
    ("phc2sys", "linuxptp"),
    ("vmtoolsd", "vmware-tools"),
];

/// Why it is unknown whether the clock is disciplined.
#[derive(Debug, thiserror::Error)]
pub(in crate::probe) enum ClockError {
    #[error("this is not the running host")]
    Recorded,
    #[error("no program on this host tells: timedatectl, chronyc and adjtimex are missing or failed")]
    NobodyTells,
}

/// What files and processes tell.
pub(super) fn read(host: &Host, processes: &Processes) -> Clock {
    let service = SERVICES.iter().find(|(process, _)| processes.has(process)).map(|(_, service)| (*service).to_owned());
    Clock { synchronized: None, service, timezone: timezone(host) }
}

fn timezone(host: &Host) -> Option<String> {
    let link = fs::read_link(host.path("/etc/localtime")).ok();
    let linked = link.and_then(|link| Some(text::clean(link.to_str()?.split_once("zoneinfo/")?.1)));
    linked.or_else(|| host.read_word("/etc/timezone"))
}

/// Whether the kernel says that its clock is disciplined.
pub(in crate::probe) async fn is_synchronized(host: &Host, options: &ProbeOptions) -> Result<bool, ClockError> {
    if !host.is_live() {
        return Err(ClockError::Recorded);
    }
    // timesyncd leaves this mark once it has set the clock since boot.
    if host.exists("/run/systemd/timesync/synchronized") {
        return Ok(true);
    }
    let limit = options.program_timeout;
    let timedatectl = program::run_well("timedatectl", &["show", "--property=NTPSynchronized", "--value"], limit).await;
    if let Some(answer) = answer(timedatectl, |text| Some(text.trim() == "yes")) {
        return Ok(answer);
    }
    let chronyc = program::run_well("chronyc", &["-n", "tracking"], limit).await;
    if let Some(answer) = answer(chronyc, parse_chrony) {
        return Ok(answer);
    }
    let adjtimex = program::run("adjtimex", &[], limit).await;
    answer(adjtimex, parse_adjtimex).ok_or(ClockError::NobodyTells)
}

fn answer(output: Result<program::Output, ProgramError>, parse: fn(&str) -> Option<bool>) -> Option<bool> {
    parse(&output.ok()?.stdout)
}

fn parse_chrony(tracking: &str) -> Option<bool> {
    let status = tracking.lines().find_map(|line| line.strip_prefix("Leap status")?.split_once(':'))?.1;
    Some(status.trim() != "Not synchronised")
}

/// Busybox prints `return value: 0 (clock synchronized)` and 5 for a clock that is not.
fn parse_adjtimex(text: &str) -> Option<bool> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("return value:"))?;
    Some(value.split_whitespace().next()?.parse::<i32>().ok()? != 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_programs_answer() {
        assert_eq!(parse_chrony("Reference ID : 0\nLeap status     : Not synchronised\n"), Some(false));
        assert_eq!(parse_chrony("Leap status     : Normal\n"), Some(true));
        assert_eq!(parse_chrony("506 Cannot talk to daemon\n"), None);
        assert_eq!(parse_adjtimex("    mode: 0\n   return value: 5 (clock not synchronized)\n"), Some(false));
        assert_eq!(parse_adjtimex("return value: 0 (clock synchronized)\n"), Some(true));
    }
}
