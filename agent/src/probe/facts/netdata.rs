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
    let mut in_stream = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            in_stream = line == "[stream]";
        } else if in_stream && let Some((key, value)) = line.split_once('=') {
            if key.trim() == "enabled" {
                return value.trim() == "yes";
            }
        }
    }
    false
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
