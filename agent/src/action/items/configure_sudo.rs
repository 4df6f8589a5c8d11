//! A user may become root without a password: a drop-in for sudo, which counts only once `visudo` has found it valid
//! alone and together with all else. A broken rule makes sudo refuse everybody, so the change must be confirmed.
//!
//! The rule names the user by number: in sudo's language a name in capitals is an alias, and `ALL` is everybody.

use async_trait::async_trait;
use muster_shared::action::item::UserArgs;

use super::accounts::Accounts;
use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{Call, Owner, Step},
};

const FOLDER: &str = "/etc/sudoers.d";
const MODE: u32 = 0o440;
const QUERY_S: u64 = 15;

/// See the module.
#[derive(Debug, Clone)]
pub struct ConfigureSudo(pub UserArgs);

/// What sudo is like here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    accounts: Accounts,
    installed: bool,
    /// The main file reads the drop-ins; unknown where there is none yet.
    reads_drop_ins: Option<bool>,
    /// What `sudo --list --other-user` says.
    rights: String,
}

#[async_trait]
impl Change for ConfigureSudo {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let accounts = Accounts::read(host)?;
        let installed = host.has_program("sudo") && host.has_program("visudo");
        let main =
            host.read("/etc/sudoers").map_err(|cause| Refused::new("unreadable", format!("/etc/sudoers: {cause}")))?;
        let reads_drop_ins = main.map(|file| includes(&String::from_utf8_lossy(&file.bytes)));
        let rights = if installed && accounts.user(&self.0.user).is_ok() {
            let ask = Call::new("sudo", &["-n", "-l", "-U", self.0.user.as_str()], QUERY_S);
            host.ask(&ask).await.map_err(|why| Refused::new("sudo_unusable", why))?.stdout
        } else {
            String::new()
        };
        Ok(Evidence { accounts, installed, reads_drop_ins, rights })
    }

    fn plan(&self, found: &Evidence) -> Result<Plan, Refused> {
        let user = &self.0.user;
        let account = found.accounts.user(user)?;
        if account.uid == 0 {
            return Ok(Plan::nothing(format!("{user} is root")));
        }
        if is_free(&found.rights) {
            return Ok(Plan::nothing(format!("{user} may become root without a password")));
        }
        if found.installed && found.reads_drop_ins != Some(true) {
            let detail = format!("/etc/sudoers does not include {FOLDER}; add the line: @includedir {FOLDER}");
            return Err(Refused::new("no_drop_ins", detail));
        }
        let mut steps = Vec::new();
        if !found.installed {
            steps.push(Step::InstallPackages { names: vec!["sudo".to_owned()], keeps_data: false });
        }
        let dangerous = steps.len();
        steps.push(Step::WriteFile {
            // sudo passes over names with a dot.
            path: format!("{FOLDER}/muster-{}", account.uid),
            contents: format!("# {user}, allowed by Muster\n#{} ALL=(ALL:ALL) NOPASSWD: ALL\n", account.uid),
            mode: MODE,
            owner: Owner::ROOT,
            check: Some(Call::new("visudo", &["--check", "--quiet", "--file", "{}"], QUERY_S)),
        });
        steps.push(Step::Check {
            title: "check all of sudo's rules together".to_owned(),
            call: Call::new("visudo", &["--check"], QUERY_S),
        });
        let evidence = match found.installed {
            true => format!("{user} may not become root without a password"),
            false => "sudo is not installed".to_owned(),
        };
        Ok(Plan::of(steps, evidence).confirmed_from(dangerous))
    }
}

/// Whether sudo's main file reads the drop-ins' folder.
fn includes(main: &str) -> bool {
    main.lines().any(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("@includedir" | "#includedir")) && words.next() == Some(FOLDER)
    })
}

/// Whether what sudo lists of a user's rights has everything, as everybody, without a password.
fn is_free(rights: &str) -> bool {
    let everything = |line: &str| {
        let line: String = line.split_whitespace().collect();
        ["(ALL:ALL)NOPASSWD:ALL", "(ALL)NOPASSWD:ALL", "(root)NOPASSWD:ALL"].contains(&line.as_str())
    };
    // The last rule that matches is the one that counts.
    rights.lines().map(str::trim).rfind(|line| line.starts_with('(')).is_some_and(everything)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::host::{Said, fake::FakeHost};

    const SUDOERS: &str = "root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n";

    async fn plan(user: &str, sudoers: Option<&str>, rights: &str) -> Result<Plan, &'static str> {
        let host = FakeHost::debian();
        host.put(
            "/etc/passwd",
            "root:x:0:0::/root:/bin/sh\ndeploy:x:1000:1000::/home/deploy:/bin/sh\nALL:x:1001:1::/:/\n",
        );
        if let Some(sudoers) = sudoers {
            host.put("/etc/sudoers", sudoers);
            host.install_program("sudo");
            host.install_program("visudo");
        }
        host.answer(&format!("sudo -n -l -U {user}"), Said { code: Some(0), stdout: rights.into(), ..Said::default() });
        let change = ConfigureSudo(UserArgs { user: user.parse().expect("a name") });
        change.plan(&change.gather(&host).await.expect("read")).map_err(|refused| refused.code)
    }

    #[tokio::test]
    async fn a_rule_is_written_checked_and_must_be_confirmed() {
        let with_sudo = plan("deploy", Some(SUDOERS), "").await.expect("a plan");
        assert_eq!((with_sudo.steps.len(), with_sudo.arm_before), (2, Some(0)));
        let Step::WriteFile { path, contents, mode: MODE, check: Some(_), .. } = &with_sudo.steps[0] else { panic!() };
        assert_eq!(path, "/etc/sudoers.d/muster-1000");
        assert_eq!(contents.lines().next_back(), Some("#1000 ALL=(ALL:ALL) NOPASSWD: ALL"));
        let without = plan("deploy", None, "").await.expect("a plan");
        assert_eq!((without.steps.len(), without.arm_before), (3, Some(1)), "installing takes its time");
    }

    #[tokio::test]
    async fn a_name_that_means_everybody_to_sudo_stays_one_user() {
        let plan = plan("ALL", Some(SUDOERS), "").await.expect("a plan");
        let Step::WriteFile { contents, .. } = &plan.steps[0] else { panic!() };
        assert!(contents.lines().any(|line| line == "#1001 ALL=(ALL:ALL) NOPASSWD: ALL"), "{contents}");
    }

    #[tokio::test]
    async fn whoever_may_already_is_left_and_whoever_can_not_is_refused() {
        let free =
            "User deploy may run the following commands on host:\n    (ALL : ALL) ALL\n    (ALL : ALL) NOPASSWD: ALL\n";
        assert_eq!(plan("deploy", Some(SUDOERS), free).await.map(|plan| plan.steps.len()), Ok(0));
        let asked = "    (ALL : ALL) NOPASSWD: ALL\n    (ALL : ALL) ALL\n";
        assert_eq!(
            plan("deploy", Some(SUDOERS), asked).await.map(|plan| plan.steps.len()),
            Ok(2),
            "the last rule counts"
        );
        let narrow = "    (root) NOPASSWD: /usr/bin/id\n";
        assert_eq!(plan("deploy", Some(SUDOERS), narrow).await.map(|plan| plan.steps.len()), Ok(2));
        assert_eq!(plan("root", None, "").await.map(|plan| plan.steps.len()), Ok(0));
        assert_eq!(plan("deploy", Some("root ALL=(ALL) ALL\n"), "").await, Err("no_drop_ins"));
        assert_eq!(plan("ghost", Some(SUDOERS), "").await, Err("user_unknown"));
    }
}
