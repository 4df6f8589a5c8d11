//! The SSH server's effective settings, as it says itself: files alone can't tell, for drop-ins and defaults.

use std::collections::BTreeMap;

use muster_shared::facts::Sshd;

use crate::{
    os::text,
    probe::{
        ProbeOptions,
        host::Host,
        program::{self, ProgramError},
    },
};

/// Most settings reported, and most occurrences of one.
const MAX_SETTINGS: usize = 256;
const MAX_VALUES: usize = 64;

/// Why sshd's settings are unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum SshdError {
    #[error("sshd is not installed")]
    NotInstalled,
    #[error("only root may ask sshd for its settings")]
    NotRoot,
    #[error("this is not the running host")]
    Recorded,
    #[error(transparent)]
    Program(#[from] ProgramError),
}

pub(super) async fn read(host: &Host, options: &ProbeOptions) -> Result<Sshd, SshdError> {
    if !host.is_live() {
        return Err(SshdError::Recorded);
    }
    if !host.has_program("sshd") {
        return Err(SshdError::NotInstalled);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(SshdError::NotRoot);
    }
    let (settings, version) = tokio::join!(
        program::run_well("sshd", &["-T"], options.program_timeout),
        // Older releases don't know the option and say their version while they complain.
        program::run("sshd", &["-V"], options.program_timeout),
    );
    let settings = parse_settings(&settings?.stdout);
    let version = version.map(|output| parse_version(&output.stderr)).unwrap_or_default();
    let ports = settings.get("port").into_iter().flatten().filter_map(|port| port.parse().ok()).collect();
    Ok(Sshd { version, ports, settings })
}

fn parse_settings(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        let keyword = text::clean(keyword).to_lowercase();
        if keyword.is_empty() || (settings.len() >= MAX_SETTINGS && !settings.contains_key(&keyword)) {
            continue;
        }
        let values = settings.entry(keyword).or_default();
        if values.len() < MAX_VALUES {
            values.push(text::clean(value));
        }
    }
    settings
}

fn parse_version(complaint: &str) -> String {
    let start = complaint.find("OpenSSH_").map_or("", |at| &complaint[at..]);
    text::clean(start.split([' ', ',', '\n']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keywords_keep_every_value() {
        let settings = parse_settings(
            "port 22\nport 2222\nlistenaddress 0.0.0.0:22\npermitrootlogin without-password\nbanner none\n",
        );
        assert_eq!(settings["port"], ["22", "2222"]);
        assert_eq!(settings["permitrootlogin"], ["without-password"]);
    }

    #[test]
    fn the_version_is_found_in_old_and_new_forms() {
        let old = "unknown option -- V\nOpenSSH_8.4p1 Debian-5+deb11u3, OpenSSL 1.1.1w  11 Sep 2023\nusage: sshd\n";
        assert_eq!(parse_version(old), "OpenSSH_8.4p1");
        assert_eq!(parse_version("OpenSSH_9.2, OpenSSL 3.0.15"), "OpenSSH_9.2");
        assert_eq!(parse_version("usage: sshd"), "");
    }
}
