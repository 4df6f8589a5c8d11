//! Users and groups as `/etc/passwd` and `/etc/group` have them: a static binary has no other way to ask.

use muster_shared::action::UserName;

use crate::action::{host::Host, plan::Refused};

/// Every user and group of the host's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    passwd: String,
    group: String,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

impl Accounts {
    /// Reads both files.
    ///
    /// # Errors
    /// [`Refused`] where they can't be read.
    pub fn read(host: &dyn Host) -> Result<Self, Refused> {
        let text = |path: &str| match host.read(path) {
            Ok(Some(file)) => Ok(String::from_utf8_lossy(&file.bytes).into_owned()),
            Ok(None) => Ok(String::new()),
            Err(cause) => Err(Refused::new("unreadable", format!("{path} can't be read: {cause}"))),
        };
        Ok(Self { passwd: text("/etc/passwd")?, group: text("/etc/group")? })
    }

    /// The user named `name`.
    ///
    /// # Errors
    /// [`Refused`] where there is none.
    pub fn user(&self, name: &UserName) -> Result<Account, Refused> {
        self.find(name.as_str()).ok_or_else(|| {
            Refused::new("user_unknown", format!("there is no user {name} on this host; make one, or name another"))
        })
    }

    fn find(&self, name: &str) -> Option<Account> {
        let line = self.passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { uid, gid, home: fields.nth(1)?.to_owned() })
    }

    /// Number and members of a group; `None` where there is none.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<(u32, Vec<&str>)> {
        let line = self.group.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let number = fields.next()?.parse().ok()?;
        let members = fields.next().unwrap_or_default().split(',').map(str::trim).filter(|member| !member.is_empty());
        Some((number, members.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole() {
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\ndeploy:x:1000:1001::/home/deploy:/bin/sh\nbad:x\n".into(),
            group: "docker:x:998:alice, deploy\nempty:x:7:\n".into(),
        };
        let user = |name: &str| accounts.user(&name.parse().expect("a name"));
        assert_eq!(user("deploy"), Ok(Account { uid: 1000, gid: 1001, home: "/home/deploy".into() }));
        assert_eq!(user("dep").map_err(|refused| refused.code), Err("user_unknown"));
        assert_eq!(user("bad").map_err(|refused| refused.code), Err("user_unknown"));
        assert_eq!(accounts.group("docker"), Some((998, vec!["alice", "deploy"])));
        assert_eq!((accounts.group("empty"), accounts.group("dock")), (Some((7, vec![])), None));
    }
}
