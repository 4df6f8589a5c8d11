//! Whether deployments can become root.

use muster_shared::{
    facts::{Identity, Sudo},
    preflight::{CheckName, CheckResult},
};

use super::evidence::User;

const NAME: CheckName = CheckName::RootAccess;

/// What root sees of the user's rights counts first; else what this process could do itself.
pub(super) fn decide(user: &User, collected_as: &Identity) -> CheckResult {
    if !user.exists {
        let remedy = format!("Create the user {}, or name another.", user.name);
        return CheckResult::failed(NAME, format!("there is no user {} on this host", user.name), remedy);
    }
    if user.is_root && collected_as.is_root {
        return CheckResult::passed(NAME, "runs as root");
    }
    match (user.may_sudo.filter(|_| !user.is_root), collected_as.sudo) {
        (Some(true), _) => CheckResult::passed(NAME, format!("{} may use sudo", user.name)),
        (Some(false), _) => refused(&user.name),
        (None, _) if collected_as.is_root => CheckResult::passed(NAME, "runs as root"),
        (None, Some(Sudo::Passwordless)) => passed(collected_as, "may use sudo without a password"),
        (None, Some(Sudo::PasswordRequired)) if is_administrator(collected_as) => {
            passed(collected_as, "may use sudo with a password")
        }
        (None, Some(Sudo::PasswordRequired)) => CheckResult::warning(
            NAME,
            format!(
                "sudo asks {} for a password, and only the password would show whether it is allowed",
                collected_as.username
            ),
            format!("Add {} to the group sudo or wheel, or make sure that sudo lets it in.", collected_as.username),
        ),
        (None, Some(Sudo::NotInstalled)) => CheckResult::failed(
            NAME,
            format!("{} is not root and sudo is not installed", collected_as.username),
            "Install sudo and allow the user to use it, or connect as root.",
        ),
        (None, Some(Sudo::NotAllowed) | None) => refused(&collected_as.username),
    }
}

/// sudo asks everyone for a password before it refuses; these groups are the ones that distributions let in.
fn is_administrator(identity: &Identity) -> bool {
    identity.groups.iter().any(|group| ["sudo", "wheel", "admin"].contains(&group.as_str()))
}

fn passed(collected_as: &Identity, may: &str) -> CheckResult {
    CheckResult::passed(NAME, format!("{} {may}", collected_as.username))
}

fn refused(name: &str) -> CheckResult {
    let remedy =
        format!("Allow {name} to use sudo (for example by adding it to the group sudo or wheel), or connect as root.");
    CheckResult::failed(NAME, format!("{name} is not root and may not use sudo"), remedy)
}

#[cfg(test)]
mod tests {
    use muster_shared::preflight::CheckStatus;

    use super::*;

    fn identity(is_root: bool, sudo: Option<Sudo>) -> Identity {
        Identity { username: "deploy".into(), is_root, sudo, groups: Vec::new() }
    }

    fn user(name: &str, may_sudo: Option<bool>) -> User {
        User { name: name.into(), exists: true, is_root: name == "root", may_sudo, ..User::default() }
    }

    #[test]
    fn root_sees_the_named_users_rights() {
        assert!(decide(&user("deploy", Some(true)), &identity(true, None)).passed);
        let refused = decide(&user("deploy", Some(false)), &identity(true, None));
        assert!(!refused.passed && refused.fixable && refused.remedy.contains("deploy"));
        assert!(decide(&user("root", Some(true)), &identity(true, None)).passed);
    }

    #[test]
    fn others_see_their_own() {
        let root = user("root", Some(true));
        assert!(decide(&root, &identity(false, Some(Sudo::Passwordless))).passed);
        let asked = identity(false, Some(Sudo::PasswordRequired));
        assert_eq!(decide(&root, &asked).status, CheckStatus::Warning);
        let administrator = Identity { groups: vec!["sudo".into()], ..asked };
        assert_eq!(decide(&root, &administrator).status, CheckStatus::Passed);
        assert!(!decide(&root, &identity(false, Some(Sudo::NotInstalled))).passed);
        assert!(!decide(&root, &identity(false, None)).passed);
    }

    #[test]
    fn a_user_who_does_not_exist_fails() {
        assert!(!decide(&User { name: "ghost".into(), ..User::default() }, &identity(true, None)).passed);
    }
}
