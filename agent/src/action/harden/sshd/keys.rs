//! Whether anybody could log in with a key.

use super::{Effective, look};
use crate::action::host::Host;

/// Users looked at, at most.
const MAX_USERS: usize = 4096;
/// What `AuthorizedKeysFile` stands at unless told otherwise.
const USUAL: &str = ".ssh/authorized_keys .ssh/authorized_keys2";
const KEY_MARKS: [&str; 3] = ["ssh-", "ecdsa-sha2-", "sk-"];

/// Whether some user with a shell has a key that sshd would look for, or keys come from a program.
pub(super) fn somebody_has_one(host: &dyn Host, effective: &Effective) -> bool {
    if effective.value("authorizedkeyscommand").is_some_and(|command| command != "none") {
        return true;
    }
    let patterns = effective.value("authorizedkeysfile").unwrap_or(USUAL);
    let users = look::text(host, "/etc/passwd");
    let mut files = users.lines().take(MAX_USERS).filter_map(login).flat_map(|(user, home)| {
        patterns.split_whitespace().filter(|pattern| *pattern != "none").map(move |pattern| path(pattern, user, home))
    });
    files.any(|path| look::text(host, &path).lines().any(is_key))
}

/// Name and home of a user who gets a shell.
fn login(line: &str) -> Option<(&str, &str)> {
    let fields: Vec<&str> = line.split(':').collect();
    let [user, _, _, _, _, home, shell] = fields[..] else { return None };
    let has_shell = !shell.ends_with("/nologin") && !shell.ends_with("/false") && !shell.ends_with("/sync");
    has_shell.then_some((user, home))
}

fn path(pattern: &str, user: &str, home: &str) -> String {
    let full = pattern.replace("%h", home).replace("%u", user).replace("%%", "%");
    if full.starts_with('/') { full } else { format!("{}/{full}", home.trim_end_matches('/')) }
}

fn is_key(line: &str) -> bool {
    let line = line.trim();
    !line.starts_with('#') && line.split_whitespace().any(|word| KEY_MARKS.iter().any(|mark| word.starts_with(mark)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_a_shell_may_have_a_key() {
        assert_eq!(login("deploy:x:1000:1000::/home/deploy:/bin/bash"), Some(("deploy", "/home/deploy")));
        assert_eq!(login("sshd:x:101:65534::/run/sshd:/usr/sbin/nologin"), None);
        assert_eq!(login("broken"), None);
        assert_eq!(path(".ssh/authorized_keys", "root", "/root"), "/root/.ssh/authorized_keys");
        assert_eq!(path("/etc/keys/%u", "deploy", "/home/deploy"), "/etc/keys/deploy");
        assert_eq!(path("%h/keys", "deploy", "/home/deploy"), "/home/deploy/keys");
        assert!(is_key("restrict ssh-ed25519 AAAA x") && is_key("ecdsa-sha2-nistp256 AAAA"));
        assert!(!is_key("# ssh-ed25519 AAAA") && !is_key(""));
    }
}
