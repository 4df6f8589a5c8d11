//! What the checks decide by.

use std::os::linux::fs::MetadataExt;

use muster_shared::{command::PreflightArgs, facts::Facts};

use crate::{
    os::text,
    probe::{ProbeOptions, facts, host::Host, program},
};

/// Everything but the network, gathered at once.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) facts: Facts,
    pub(super) user: User,
    /// This very run was started over SSH.
    pub(super) came_over_ssh: bool,
    /// This host's time minus the reference's, where one was given.
    pub(super) clock_offset_us: Option<i64>,
}

/// The user deployments will use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) exists: bool,
    pub(super) is_root: bool,
    /// Whether the Docker socket's permissions let them in.
    pub(super) may_use_docker: bool,
    /// What root sees of their sudo rights; `None` where that could not be asked.
    pub(super) may_sudo: Option<bool>,
}

impl Evidence {
    pub(super) async fn gather(args: &PreflightArgs, options: &ProbeOptions, now_us: i64) -> Self {
        let host = Host::new(&options.root);
        let (facts, user) =
            tokio::join!(facts::collect_without_updates(options), read_user(&host, &args.username, options));
        Self {
            facts,
            user,
            came_over_ssh: std::env::var_os("SSH_CONNECTION").is_some(),
            clock_offset_us: options.reference_time_us.map(|reference| now_us.saturating_sub(reference)),
        }
    }
}

async fn read_user(host: &Host, name: &str, options: &ProbeOptions) -> User {
    if name.is_empty() || name == "root" {
        return User {
            name: "root".to_owned(),
            exists: true,
            is_root: true,
            may_use_docker: true,
            may_sudo: Some(true),
        };
    }
    let passwd = host.read("/etc/passwd").unwrap_or_default();
    let Some(account) = find_account(&passwd, name) else {
        return User { name: text::clean(name), ..User::default() };
    };
    let groups = host.read("/etc/group").unwrap_or_default();
    let socket = std::fs::metadata(&options.docker_socket).ok();
    let may_use_docker = match &socket {
        Some(socket) => {
            let (user, group, mode) = (socket.st_uid(), socket.st_gid(), socket.st_mode());
            let writes = |bit: u32| mode & bit != 0;
            (user == account.id && writes(0o200))
                || (is_member(&groups, group, &account, name) && writes(0o020))
                || writes(0o002)
        }
        None => group_id(&groups, "docker").is_some_and(|group| is_member(&groups, group, &account, name)),
    };
    User {
        name: name.to_owned(),
        exists: true,
        is_root: account.id == 0,
        may_use_docker: may_use_docker || account.id == 0,
        may_sudo: ask_sudo(host, name, options).await,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    id: u32,
    group: u32,
}

/// `name:x:id:group:…`
fn find_account(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { id: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

/// `name:x:id:member,member`
fn group_fields(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?, fields.next()?))
    })
}

fn group_id(groups: &str, name: &str) -> Option<u32> {
    group_fields(groups).find(|(group, ..)| *group == name).map(|(_, id, _)| id)
}

fn is_member(groups: &str, group: u32, account: &Account, name: &str) -> bool {
    account.group == group
        || group_fields(groups).any(|(_, id, members)| id == group && members.split(',').any(|member| member == name))
}

/// Root may ask for another user's rights. The name is one from `/etc/passwd`, never free text.
async fn ask_sudo(host: &Host, name: &str, options: &ProbeOptions) -> Option<bool> {
    if !host.is_live() || !rustix::process::geteuid().is_root() {
        return None;
    }
    if !host.has_program("sudo") {
        return Some(false);
    }
    let rights = program::run("sudo", &["-n", "-l", "-U", name], options.program_timeout).await.ok()?;
    Some(rights.stdout.contains("may run the following"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndeploy:x:1000:1000::/home/deploy:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\ndocker:x:998:alice,deploy\ndeploy:x:1000:\n";

    #[test]
    fn accounts_are_matched_whole() {
        assert_eq!(find_account(PASSWD, "deploy"), Some(Account { id: 1000, group: 1000 }));
        assert_eq!((find_account(PASSWD, "dep"), find_account(PASSWD, "deploy:x")), (None, None));
    }

    #[test]
    fn membership_by_list_and_by_primary_group() {
        let account = Account { id: 1000, group: 1000 };
        assert_eq!(group_id(GROUPS, "docker"), Some(998));
        assert!(is_member(GROUPS, 998, &account, "deploy"));
        assert!(!is_member(GROUPS, 998, &account, "ali"));
        assert!(is_member(GROUPS, 1000, &account, "deploy"));
    }

    #[tokio::test]
    async fn an_unknown_user_is_said_to_be_unknown() {
        let root = tempfile::tempdir().expect("a directory");
        let user = read_user(&Host::new(root.path()), "ghost\u{1b}", &ProbeOptions::default()).await;
        assert_eq!((user.name.as_str(), user.exists), ("ghost", false));
    }
}
