//! A user may use Docker without being root. Whoever is in the group `docker` can become root through it.

use async_trait::async_trait;
use muster_shared::action::item::UserArgs;

use super::accounts::Accounts;
use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{Call, Step},
};

const GROUP: &str = "docker";
const LIMIT_S: u64 = 30;
/// How `gpasswd` says that the user was no member.
const NO_MEMBER: i32 = 3;

/// See the module.
#[derive(Debug, Clone)]
pub struct AddToDockerGroup(pub UserArgs);

/// Users and groups, and whether the host has the programs of `shadow` or BusyBox' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    accounts: Accounts,
    has_usermod: bool,
}

#[async_trait]
impl Change for AddToDockerGroup {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        Ok(Evidence { accounts: Accounts::read(host)?, has_usermod: host.has_program("usermod") })
    }

    fn plan(&self, found: &Evidence) -> Result<Plan, Refused> {
        let user = &self.0.user;
        let account = found.accounts.user(user)?;
        let (number, members) = found.accounts.group(GROUP).ok_or_else(|| {
            Refused::new("docker_not_installed", "there is no group docker; install Docker first (install_docker)")
        })?;
        if account.uid == 0 {
            return Ok(Plan::nothing("root may use Docker"));
        }
        if account.gid == number || members.contains(&user.as_str()) {
            return Ok(Plan::nothing(format!("{user} is in the group {GROUP}")));
        }
        let name = user.as_str();
        let (call, inverse) = if found.has_usermod {
            let leave = Call::new("gpasswd", &["--delete", name, GROUP], LIMIT_S).accepting(NO_MEMBER);
            (Call::new("usermod", &["--append", "--groups", GROUP, name], LIMIT_S), leave)
        } else {
            let leave = Call::new("delgroup", &[name, GROUP], LIMIT_S).accepting(1);
            (Call::new("addgroup", &[name, GROUP], LIMIT_S), leave)
        };
        let step = Step::Run { title: format!("add {name} to the group {GROUP}"), call, inverse: Some(inverse) };
        Ok(Plan::of(vec![step], format!("{name} is not in the group {GROUP}; it counts from the user's next login on")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::host::fake::FakeHost;

    async fn plan(user: &str, group: &str) -> Result<Vec<String>, &'static str> {
        let host = FakeHost::debian();
        host.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\ndeploy:x:1000:1000::/home/deploy:/bin/sh\n");
        host.put("/etc/group", group);
        let change = AddToDockerGroup(UserArgs { user: user.parse().expect("a name") });
        let plan = change.plan(&change.gather(&host).await.expect("read"));
        plan.map(|plan| plan.steps.iter().map(Step::title).collect()).map_err(|refused| refused.code)
    }

    #[tokio::test]
    async fn only_users_who_are_not_in_it_yet_are_added() {
        assert_eq!(plan("deploy", "docker:x:998:\n").await, Ok(vec!["add deploy to the group docker".to_owned()]));
        assert_eq!(plan("deploy", "docker:x:998:alice,deploy\n").await, Ok(vec![]));
        assert_eq!(plan("deploy", "docker:x:1000:\n").await, Ok(vec![]), "by primary group");
        assert_eq!(plan("root", "docker:x:998:\n").await, Ok(vec![]));
        assert_eq!(plan("deploy", "").await, Err("docker_not_installed"));
        assert_eq!(plan("ghost", "docker:x:998:\n").await, Err("user_unknown"));
    }
}
