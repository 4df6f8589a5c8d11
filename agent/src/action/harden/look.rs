//! What several items read of a host.

use std::collections::BTreeSet;

use crate::action::{
    host::{File, Host},
    plan::Refused,
    step::{Call, Owner, ServiceState, Step},
};

/// The word with which an item says that it could not see what it must know.
pub(super) const UNREADABLE: &str = "unreadable";
pub(super) const QUERY_S: u64 = 10;

/// A text file; `None` where there is none. Invalid UTF-8 is refused: it could not be put back.
pub(super) fn text_file(host: &dyn Host, path: &str) -> Result<Option<(String, File)>, Refused> {
    let file = host.read(path).map_err(|cause| Refused::new(UNREADABLE, format!("{path} can't be read: {cause}")))?;
    let Some(file) = file else { return Ok(None) };
    match String::from_utf8(file.bytes.clone()) {
        Ok(text) => Ok(Some((text, file))),
        Err(_) => Err(Refused::new(UNREADABLE, format!("{path} is no text"))),
    }
}

/// The text of a file that is not put back; empty where there is none or it can't be read.
pub(super) fn text(host: &dyn Host, path: &str) -> String {
    host.read(path).ok().flatten().map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default()
}

/// Writes a configuration file of our own.
pub(super) fn write(path: &str, contents: impl Into<String>, mode: u32) -> Step {
    Step::WriteFile { path: path.to_owned(), contents: contents.into(), mode, owner: Owner::ROOT, check: None }
}

/// Replaces a file's text; its mode and owner stay.
pub(super) fn rewrite(path: &str, contents: impl Into<String>, before: &File) -> Step {
    Step::WriteFile {
        path: path.to_owned(),
        contents: contents.into(),
        mode: before.mode,
        owner: before.owner,
        check: None,
    }
}

/// What a query said; the failure is the item's.
pub(super) async fn ask(host: &dyn Host, program: &str, arguments: &[&str]) -> Result<String, Refused> {
    let said = host.ask_well(&Call::new(program, arguments, QUERY_S)).await;
    said.map(|said| said.stdout).map_err(|why| Refused::new(UNREADABLE, why))
}

/// What a query said; `None` where it failed.
pub(super) async fn ask_maybe(host: &dyn Host, program: &str, arguments: &[&str]) -> Option<String> {
    host.ask_well(&Call::new(program, arguments, QUERY_S)).await.ok().map(|said| said.stdout)
}

/// How a service stands; one that can't be asked about neither runs nor starts.
pub(super) async fn service(host: &dyn Host, unit: &str) -> ServiceState {
    let stopped = ServiceState { enabled: false, running: false };
    crate::action::engine::service_state(host, unit).await.unwrap_or(stopped)
}

/// Whether this is a container: its kernel, audit and modules are another machine's.
pub(super) fn is_container(host: &dyn Host) -> bool {
    let exists = |path: &str| host.read(path).is_ok_and(|file| file.is_some());
    exists("/run/systemd/container") || exists("/.dockerenv") || exists("/run/.containerenv")
}

/// The ports on which SSH can be reached: what sshd's effective configuration says, and where it, its socket unit or
/// another SSH server listens now. Both, since a changed configuration counts from the next start on.
pub(super) async fn ssh_ports(host: &dyn Host) -> Result<BTreeSet<u16>, Refused> {
    let configured = if host.has_program("sshd") { sshd_settings(host).await? } else { String::new() };
    let mut ports = configured_ports(&configured);
    for socket in host.listening().await.into_iter().filter(|socket| socket.protocol == "tcp") {
        let is_ssh = |name: &str| matches!(name, "sshd" | "dropbear" | "tinysshd");
        let is_sockets = |unit: &str| matches!(unit, "ssh.socket" | "sshd.socket" | "dropbear.socket");
        if socket.process.as_deref().is_some_and(is_ssh) || socket.unit.as_deref().is_some_and(is_sockets) {
            ports.insert(socket.port);
        }
    }
    Ok(ports)
}

/// sshd's effective configuration outside every `Match`. Where it was never started, the directory that its unit makes
/// for it is missing; then it says nothing but that.
pub(super) async fn sshd_settings(host: &dyn Host) -> Result<String, Refused> {
    ask(host, "sshd", &["-T"]).await
}

fn configured_ports(settings: &str) -> BTreeSet<u16> {
    let port = |line: &str| match line.split_once(' ')? {
        ("port", number) => number.trim().parse().ok(),
        ("listenaddress", address) => address.trim().rsplit_once(':')?.1.parse().ok(),
        _ => None,
    };
    settings.lines().filter_map(port).filter(|port| *port != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_that_sshd_is_told_of_counts() {
        let settings = "port 22\nport 2222\naddressfamily any\nlistenaddress [::]:22\nlistenaddress 10.0.0.7:2022\n";
        assert_eq!(configured_ports(settings), BTreeSet::from([22, 2022, 2222]));
        assert_eq!(configured_ports("portal 1\nport x\n"), BTreeSet::new());
    }
}
