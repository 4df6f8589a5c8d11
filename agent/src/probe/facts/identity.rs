//! Who this process is, and what it may become.

use muster_shared::facts::{Identity, Sudo};

use crate::{
    os::text,
    probe::{ProbeOptions, host::Host, program},
};

pub(in crate::probe) async fn read(host: &Host, options: &ProbeOptions) -> Identity {
    let user = rustix::process::geteuid();
    let is_root = user.is_root();
    let passwd = host.read("/etc/passwd").unwrap_or_default();
    let username = name_of(&passwd, user.as_raw()).unwrap_or_else(|| user.as_raw().to_string());
    let sudo = if options.try_sudo && !is_root && host.is_live() { Some(try_sudo(options).await) } else { None };
    Identity { username, is_root, sudo, groups: groups(host) }
}

fn groups(host: &Host) -> Vec<String> {
    let names = host.read("/etc/group").unwrap_or_default();
    let mut ids: Vec<u32> = rustix::process::getgroups().unwrap_or_default().iter().map(|id| id.as_raw()).collect();
    ids.push(rustix::process::getegid().as_raw());
    let mut groups: Vec<_> = ids.into_iter().map(|id| name_of(&names, id).unwrap_or_else(|| id.to_string())).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// The name of the entry with this id, in `/etc/passwd` or `/etc/group`: `name:x:id:…`.
fn name_of(table: &str, id: u32) -> Option<String> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| text::clean(name))
    })
}

async fn try_sudo(options: &ProbeOptions) -> Sudo {
    match program::run("sudo", &["-n", "true"], options.program_timeout).await {
        Ok(output) if output.code == Some(0) => Sudo::Passwordless,
        Ok(output) => judge_refusal(&output.stderr),
        Err(program::ProgramError::NotInstalled(_)) => Sudo::NotInstalled,
        Err(_) => Sudo::NotAllowed,
    }
}

/// `sudo -n` says the same for a user it would ask for a password and for one it knows nothing of, except where it
/// names the refusal.
fn judge_refusal(complaint: &str) -> Sudo {
    if complaint.contains("password is required") || complaint.contains("terminal is required") {
        Sudo::PasswordRequired
    } else {
        Sudo::NotAllowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_id() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\ndeploy:x:1000:1000::/home/deploy:/bin/sh\nbroken\n";
        assert_eq!(name_of(passwd, 1000), Some("deploy".to_owned()));
        assert_eq!(name_of("docker:x:998:deploy\n", 998), Some("docker".to_owned()));
        assert_eq!(name_of(passwd, 7), None);
    }

    #[test]
    fn refusals_of_sudo() {
        assert_eq!(judge_refusal("sudo: a password is required\n"), Sudo::PasswordRequired);
        assert_eq!(judge_refusal("deploy is not in the sudoers file.\n"), Sudo::NotAllowed);
    }
}
