//! A Netdata agent beside this one.

use muster_shared::facts::Netdata;

use super::Processes;
use crate::probe::host::Host;

const IDENTITY: &str = "/var/lib/netdata/registry/netdata.public.unique.id";

/// `None` where there is neither a process nor a trace of an installation.
pub(super) fn read(host: &Host, processes: &Processes) -> Option<Netdata> {
    let running = processes.has("netdata");
    let is_installed = host.has_program("netdata") || host.exists("/opt/netdata/bin/netdata");
    if !running && !is_installed {
        return None;
    }
    let stream = ["/etc/netdata/stream.conf", "/opt/netdata/etc/netdata/stream.conf"];
    let streaming_enabled = stream.iter().filter_map(|path| host.read(path).ok()).any(|config| is_streaming(&config));
    let machine_guid = host.read_word(IDENTITY).or_else(|| host.read_word(&format!("/opt/netdata{IDENTITY}")));
    Some(Netdata { running, streaming_enabled, machine_guid })
}

fn is_streaming(config: &str) -> bool {
    let lines = config.lines().map(str::trim).skip_while(|line| *line != "[stream]").skip(1);
    let settings = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    settings.map(|(key, value)| (key.trim(), value.trim())).any(|setting| setting == ("enabled", "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_senders_section_decides() {
        assert!(is_streaming("[stream]\n  # enabled = no\n  enabled = yes\n  destination = parent:19999\n"));
        assert!(!is_streaming("[stream]\n    enabled = no\n[0A]\n    enabled = yes\n"));
    }
}
